"""A sabotaged copy of a training script, and of torch where that is edited, in a throw-away folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from string import Template

from veracity.drill.interpreter import find_torch
from veracity.drill.sabotage import MARK, Edit
from veracity.drill.shadow import build_shadow, shadow_environment

from .planting import Target, Trigger, prelude
from .sabotages import CALLS, SGD_CALL, Sabotage, TorchEdit

_TORCH_ANCHORS = {
    "optim/adam.py": "from typing import cast\n",
    "optim/sgd.py": "from typing import cast\n",
    "optim/rmsprop.py": "from typing import cast\n",
    "nn/utils/clip_grad.py": "import functools\n",
    "utils/data/sampler.py": "import itertools\n",
    "utils/data/distributed.py": "import math\n",
}


@dataclass(frozen=True, slots=True)
class Planted:
    """What is ready to be run, and where it notes the steps at which it acts."""

    script: Path
    environment: dict[str, str]
    truth: Path


def plant(sabotage: Sabotage, target: Target, trigger: Trigger, strength: float, folder: Path) -> Planted:
    """Make the copies in ``folder``. Raises UsageError where a text to edit is not found exactly once."""
    truth = folder / "acted.txt"
    script = folder / target.script.name
    text = target.script.read_text(encoding="utf-8")
    for edit in script_edits(sabotage, target, trigger, strength, truth):
        text = edit.apply(text)
    script.write_text(text, encoding="utf-8")
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    edited = torch_texts(sabotage, target, trigger, strength, truth)
    if edited:
        package = _torch()
        environment = shadow_environment(environment, build_shadow(package, folder / "shadow", edited))
    if sabotage.site:
        site = folder / "site"
        site.mkdir()
        for name, content in sabotage.site.items():
            (site / name).write_text(content.replace("{truth}", repr(str(truth))), encoding="utf-8")
        others = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = str(site) + (os.pathsep + others if others else "")
    return Planted(script, environment, truth)


def script_edits(
    sabotage: Sabotage, target: Target, trigger: Trigger, strength: float, truth: Path
) -> Iterator[Edit]:
    """The edits of the target's script, none when only torch is edited."""
    if sabotage.lines:
        yield prelude(target, trigger, truth)
        for lines in sabotage.lines:
            yield lines.edit(target, sabotage.about, strength)


def torch_texts(
    sabotage: Sabotage, target: Target, trigger: Trigger, strength: float, truth: Path
) -> Mapping[str, str]:
    """The edited texts of torch's files."""
    edits = sabotage.torch.get(target.optimizer) or sabotage.torch.get("any") or ()
    texts: dict[str, str] = {}
    for edit in edits:
        text = texts.get(edit.file)
        if text is None:
            text = _with_prelude(edit.file, target, trigger, truth)
            if edit.file == SGD_CALL.file:
                text = _marked(SGD_CALL, 1.0, "counts calls").apply(text)
        texts[edit.file] = _marked(edit, strength, sabotage.about).apply(text)
    return texts


def _with_prelude(file: str, target: Target, trigger: Trigger, truth: Path) -> str:
    anchor = _TORCH_ANCHORS[file]
    written = prelude(target, trigger, truth).new.removesuffix(target.import_line)
    original = (_torch() / file).read_text(encoding="utf-8")
    return Edit(file, anchor, f"{written}{CALLS}{anchor}").apply(original)


def _marked(edit: TorchEdit, strength: float, about: str) -> Edit:
    """The edit with its placeholders filled in, its first new line marked."""
    new = Template(edit.new.replace("$n", f"({edit.step})") if edit.step else edit.new)
    filled = new.substitute(s=repr(strength))
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(edit.old, filled, strict=False)))
    kept = filled[:same].rpartition("\n")[0]
    head, body = (kept + "\n", filled[len(kept) + 1 :]) if kept else ("", filled)
    indent = body[: len(body) - len(body.lstrip(" "))]
    if not indent:
        # The text begins within a line: the mark follows on a line of its own before the next statement.
        return Edit(edit.file, edit.old, _mark_after(filled, about))
    return Edit(edit.file, edit.old, f"{head}{indent}{MARK} {about}\n{body}")


def _mark_after(text: str, about: str) -> str:
    first, newline, rest = text.partition("\n")
    return f"{first}  {MARK} {about}{newline}{rest}"


@cache
def _torch() -> Path:
    package = find_torch(sys.executable)
    if package is None:
        raise SystemExit(f"{sys.executable} has no torch")
    return package
