"""Loading a checkpoint started a program or opened a socket.

## The law

Channels: a checkpoint is data. Reading it starts no program and connects to nothing.

## What breaks it

A pickled checkpoint that calls `os.system`, `subprocess.Popen` or `socket.connect` while it is unpickled:
whoever can write to a shared checkpoint runs code in every job that loads it.

## How it is checked

The interpreter announces programs, sockets and native libraries before they are opened (PEP 578). Where that
happens below `torch.load` and nothing but the unpickler, or code made from text, stands in between, the file
itself asked for it: an error. A program started by a class of the program or of a library, while one of its
objects is restored, is a warning. Imports on the way are not counted: modules may start programs when they
are imported, and what they are is for *code identity*. Files that are read over a network connect from their
own code.

## What fools it

`pickle.load` without torch; a payload that only prepares something and acts later, when the load is over; one
that goes through a log handler, which honest warnings do as well; one that calls native code; one that
deceives the guard from within.

## What to do

Do not load the file again. Load only weights (`weights_only=True`), and find out who wrote the file and which
other jobs have loaded it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import CallFrame, ChannelUsed, Observation
from ....core.rule import Confidence, Rule, Severity
from .callers import OPENS, is_textual, place_of, said, stack

MAX_FINDINGS = 50
_UNPICKLER = "/torch/serialization.py"


class InLoad:
    """One finding per place and target."""

    rule: ClassVar[Rule] = Rule(
        "channel-in-load",
        "channels",
        "Loading a checkpoint opened a way out of the process",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ChannelUsed,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "looks")
        self._told: set[tuple[str, str, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one call below ``torch.load``."""
        if not isinstance(observation, ChannelUsed) or observation.inside != "load" or observation.importing:
            return
        if observation.kind not in OPENS or not observation.frames:
            return
        inner = observation.frames[0].path
        direct = inner.endswith(_UNPICKLER) or is_textual(inner)
        key = (observation.kind, observation.target, inner)
        if key in self._told:
            return
        # A handler of a signal that arrives during a load stands on the unpickler as well.
        restored = observation.kind == "spawn" and _restores(observation.frames)
        if not direct and not restored:
            return
        if len(self._told) >= MAX_FINDINGS:
            self._coverage.skip(f"more than {MAX_FINDINGS} calls in loads: the rest is not listed")
            return
        self._told.add(key)
        by = "a checkpoint, while it is loaded," if direct else "an object restored from a checkpoint"
        yield finding_of(
            self.rule,
            f"{observation.kind} {observation.target}",
            f"{by} {said(observation)}",
            rank=observation.origin.rank,
            first_step=observation.step if observation.step >= 0 else None,
            locations=place_of(observation.frames),
            evidence=(
                Evidence("load", expected="reads data", observed=said(observation)),
                stack(observation.frames),
            ),
            severity=Severity.ERROR if direct else Severity.WARNING,
            confidence=Confidence.HIGH if direct else Confidence.MEDIUM,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Looks are counted by ``channel-unexpected``, once for the law."""
        return self._coverage


def _restores(frames: Sequence[CallFrame]) -> bool:
    """Whether the unpickler called a special method, as it does to build or restore an object."""
    depth = next((at for at, frame in enumerate(frames) if frame.path.endswith(_UNPICKLER)), 0)
    return depth > 0 and frames[depth - 1].function.startswith("__")
