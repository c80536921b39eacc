"""A .pyc that Python would load is not what its source compiles to.

## The law

Bytecode truth: what Python executes is what the source says.

## What breaks it

The body of a `.pyc` exchanged with its header kept: Python compares the header with the source's time and
size, loads the body and never reads the source. No RECORD names `.pyc` files. A `.pyc` with a hash that
Python is told not to check is loaded whatever the source says.

## How it is checked

Every `.pyc` in a `__pycache__` of the environment is compared with a fresh compile of its source, under the
environment's own interpreter, as code objects: marshalled bytes differ for honest reasons. So do code
objects that another release of the same version compiled (3.11.2 and 3.11.7 load each other's files): those
are walked side by side, and are no difference when each does the same to the same values in the same order.
A difference is an error when Python would load the file, as its header says; a warning when the file is one
that its own archive brought. Code of the same parts of which the walk could not say whether it does the same
is a gap. A file that Python would not load, since its
source changed, is counted only; where the source is as its archive has it, a note. A hash that is not
checked is a warning; a `.pyc` whose source is gone a note. One that is beyond the checker (larger than
64 MiB, no file, or made to break it) is a gap, and the exit code is 2.

## What fools it

An interpreter that was exchanged, since it compiles for us: seal it. Lines and columns that a `.pyc` claims
for its instructions are not compared, but for where a function begins: they show in tracebacks only. A
release whose compiler made something else of a source than this one's does (such faults were mended now and
then) wrote files that are found too: they do differ. A stale `.pyc` that is made valid later by setting its
source's time: times are no part of a seal, so verifying it finds nothing; the note at the seal is all there
is. `.pyc` files in another folder (PYTHONPYCACHEPREFIX). The memory of what was compared, for who can write
the home.

## What to do

Keep a copy of the file as evidence and delete the folder `__pycache__`; Python writes it anew. Find out
which account can write there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import BytecodeCompared, Observation
from ....core.rule import Confidence, Rule, Severity
from .marks import mark_evidence

MAX_FINDINGS = 500
_WHAT = {
    "forged": "is not what its source compiles to, and Python would load it",
    "archived": "is not what its source compiles to, Python would load it, and its archive has it so",
    "unchecked-hash": "is loaded whatever its source says: its hash is not to be checked",
    "orphan": "has no source any more; Python does not load it",
}
_SEVERITY = {
    "forged": Severity.ERROR,
    "archived": Severity.WARNING,
    "unchecked-hash": Severity.WARNING,
    "orphan": Severity.NOTE,
}


class BytecodeDiffers:
    """One finding for each file; one for all whose source is gone."""

    rule: ClassVar[Rule] = Rule(
        "environment-bytecode-differs",
        "bytecode-truth",
        "A .pyc that Python would load is not what its source compiles to",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (BytecodeCompared,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, ".pyc files")
        self._found = 0
        self._orphans: list[str] = []
        self._orphaned = 0
        self._waiting: list[str] = []

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge and count one file."""
        if not isinstance(observation, BytecodeCompared):
            return
        one = observation
        checked = one.standing in ("same", "forged", "archived", "unchecked-hash")
        self._coverage.count(checked=checked, reason="" if checked else one.reason)
        if one.standing == "orphan":
            self._orphaned += 1
            if len(self._orphans) < MAX_FINDINGS:
                self._orphans.append(one.path)
        elif one.standing == "waiting":
            self._waiting.append(one.path)
        elif one.standing in _WHAT:
            self._found += 1
            if self._found > MAX_FINDINGS:
                self._coverage.skip("more .pyc files differ than are listed")
                return
            yield self._finding(one)

    def _finding(self, one: BytecodeCompared) -> Finding:
        return finding_of(
            self.rule,
            one.path,
            f"{one.path} {_WHAT[one.standing]}",
            locations=(Location(one.path), Location(one.source)),
            evidence=(
                Evidence("code object", f"a fresh compile of {one.source}", one.reason),
                *mark_evidence(one.uid, one.user, one.changed_at),
            ),
            severity=_SEVERITY[one.standing],
        )

    def finish(self) -> Iterator[Finding]:
        """Tell of those without a source together, and of those that wait for a time together."""
        if self._waiting:
            first = self._waiting[0]
            yield finding_of(
                self.rule,
                first,
                f"{len(self._waiting)} .pyc files are other code than their sources, {first} among them;"
                " Python loads them once a source's time is set to theirs: delete them",
                locations=tuple(map(Location, self._waiting[:20])),
                severity=Severity.NOTE,
            )
        if self._orphaned:
            first = self._orphans[0]
            yield finding_of(
                self.rule,
                first,
                f"{self._orphaned} .pyc files have no source any more, {first} among them;"
                " Python does not load them",
                locations=tuple(map(Location, self._orphans[:20])),
                severity=Severity.NOTE,
            )

    def coverage(self) -> Coverage:
        """.pyc files that were compared with their source."""
        return self._coverage
