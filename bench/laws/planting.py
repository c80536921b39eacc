"""Where and when a sabotage acts: sites in a training script, triggers, and the marked lines put there.

Everything goes into a copy of the script. Each planted place is marked, and notes the step in a file of its
own whenever it acts, so that what is true of a case is measured, not assumed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Literal

from veracity.drill.sabotage import MARK, Edit

Where = Literal["before", "after", "instead"]
TRIGGERS = ("from", "every", "chance", "once")

_PRELUDE = """\
{mark} when the planted lines below act, and where they note that they did
import hashlib as drill_hashlib
import os as drill_os

DRILL = {settings}


def drill_acts(step, rank=None):  {mark} whether it is time; notes the step if so
    mine = int(drill_os.environ.get("RANK", "0"))
    start, kind = DRILL["start"], DRILL["kind"]
    if step < start or (rank is not None and rank != mine):
        return False
    if kind == "every" and (step - start) % DRILL["period"]:
        return False
    if kind == "once" and step != start:
        return False
    if kind == "chance":
        drawn = drill_hashlib.sha256(f"{{DRILL['key']}}:{{step}}".encode()).digest()
        if int.from_bytes(drawn[:4], "big") >= DRILL["chance"] * 2**32:
            return False
    with open(DRILL["truth"], "a") as file:
        file.write(f"{{mine}} {{step}}\\n")
    return True


"""


@dataclass(frozen=True, slots=True)
class Trigger:
    """When: always ``from`` step ``start``, ``every`` so many, with a keyed ``chance``, or ``once``."""

    kind: str = "from"
    start: int = 12
    period: int = 5
    chance: float = 0.3
    key: int = 0

    def steps(self, until: int) -> list[int]:
        """The steps below ``until`` at which it fires: what the planted lines compute, computed here."""
        return [step for step in range(self.start, until) if self._fires(step)]

    def _fires(self, step: int) -> bool:
        if self.kind == "every":
            return (step - self.start) % self.period == 0
        if self.kind == "once":
            return step == self.start
        if self.kind == "chance":
            drawn = hashlib.sha256(f"{self.key}:{step}".encode()).digest()
            return int.from_bytes(drawn[:4], "big") < self.chance * 2**32
        return True


@dataclass(frozen=True, slots=True)
class Target:
    """A training script: its file, the options of a short run, its sites, and what it calls things.

    ``sites`` are single statements, each with its indentation and exactly once in the script. ``names`` maps
    the placeholders of planted lines (``$model``, ``$optimizer`` …) to the script's expressions.
    """

    name: str
    script: Path
    options: tuple[str, ...]
    sites: Mapping[str, str]
    names: Mapping[str, str]
    optimizer: str
    buffers: bool = False
    accumulates: bool = False
    import_line: str = "import argparse\n"


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines put at a site. ``guarded``: under ``if drill_acts(step):``; else they decide by themselves.

    ``rank`` limits guarded lines to one rank.
    """

    site: str
    where: Where
    text: tuple[str, ...]
    guarded: bool = True
    rank: int | None = None

    def edit(self, target: Target, about: str, strength: float) -> Edit:
        """The marked edit of the target's script."""
        original = target.sites[self.site]
        indent = original[: len(original) - len(original.lstrip(" "))]
        filled = [Template(line).substitute(target.names, s=repr(strength)) for line in self.text]
        remark = f"{MARK} {about}"
        if not self.guarded:
            body = "".join(
                f"{indent}{line}  {remark}\n" if line == filled[0] else f"{indent}{line}\n" for line in filled
            )
        else:
            rank = "" if self.rank is None else f", rank={self.rank}"
            body = f"{indent}if drill_acts({target.names['step']}{rank}):  {remark}\n"
            body += "".join(f"{indent}    {line}\n" for line in filled)
        if self.where == "before":
            return Edit(target.script.name, original, body + original)
        if self.where == "after":
            return Edit(target.script.name, original, original + body)
        if not self.guarded:
            return Edit(target.script.name, original, body)
        otherwise = "".join(f"    {line}" for line in original.splitlines(keepends=True))
        return Edit(target.script.name, original, f"{body}{indent}else:\n{otherwise}")


def prelude(target: Target, trigger: Trigger, truth: Path) -> Edit:
    """The edit that brings ``drill_acts`` into the script."""
    settings = json.dumps({**asdict(trigger), "truth": str(truth)})
    text = _PRELUDE.format(mark=MARK, settings=settings)
    return Edit(target.script.name, target.import_line, text + target.import_line)


def read_truth(truth: Path) -> dict[int, list[int]]:
    """The steps at which it acted, by rank, each once and in order; empty when it never did."""
    steps: dict[int, set[int]] = {}
    if truth.exists():
        for line in truth.read_text().splitlines():
            rank, step = line.split()
            steps.setdefault(int(rank), set()).add(int(step))
    return {rank: sorted(found) for rank, found in steps.items()}
