"""A module executed that is not as the seal has it which the run was started on.

## The law

Sealed code: what a run executes of its sealed parts is what was sealed.

## What breaks it

A file that is exchanged between the look before the start and its import, and put back after it; a module
put into a sealed folder while the job starts; a link on the way that leads elsewhere since.

## How it is checked

The guard captures what the import system compiles. The monitor compares the digest of that text, not of the
file as it is later, with the digest that the seal has at the module's path. Where bytecode was loaded, it is
the source that the bytecode was compared with. Another content, and a file in a sealed folder that was not
there when it was sealed, are errors of high confidence. Modules that lie in no part of the seal are counted
and not judged: seal the environment, too (`veracity seal --python`).

## What fools it

Code that is not imported as a module: `exec` of a file's text, native libraries, what runs before the guard.

## What to do

Compare what the record keeps of the module's text with the sealed file, and ask who can write to the folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Finding, Location, finding_of
from ....core.observation import ModuleChecked, Observation
from ....core.rule import Confidence, Rule, Severity
from .evidence import module_evidence

MAX_FINDINGS = 200
_IS = {
    "differs": "is not the file that was sealed there",
    "added": "was not there when its folder was sealed",
}


class UnlikeSeal:
    """One finding for each file; counts the modules of runs that are started on a seal."""

    rule: ClassVar[Rule] = Rule(
        "code-unlike-seal",
        "sealed-code",
        "A module executed that is not as it was sealed",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ModuleChecked,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "modules")
        self._reported: set[tuple[str, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge and count a checked module."""
        if not isinstance(observation, ModuleChecked) or not observation.sealed:
            return
        standing = observation.sealed
        checked = standing == "same" or standing in _IS
        reason = (
            "" if checked else "in no part of the seal" if standing == "outside" else "not read for the seal"
        )
        self._coverage.count(checked=checked, reason=reason)
        key = (observation.path, observation.source_digest)
        if standing not in _IS or key in self._reported:
            return
        if len(self._reported) >= MAX_FINDINGS:
            self._coverage.skip(f"more than {MAX_FINDINGS} modules are not as sealed: the rest is not listed")
            return
        self._reported.add(key)
        yield finding_of(
            self.rule,
            observation.module or observation.path,
            f"{observation.path}, which was executed, {_IS[standing]}",
            rank=observation.origin.rank,
            locations=(Location(observation.path, observation.first_line),),
            evidence=module_evidence(observation),
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Modules of the job, and how many of them lie in a part of the seal."""
        if not self._coverage.possible and not self._coverage.reasons:
            self._coverage.skip("the run was started without --seal")
        return self._coverage
