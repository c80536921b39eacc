"""A module executed that is not as the seal has it which the run was started on.

## The law

Sealed code: what a run executes of its sealed parts is what was sealed.

## What breaks it

A file that is exchanged between the look before the start and its import, and put back after it; a module put
into a sealed folder while the job starts; a link on the way that leads elsewhere since. The same with the
program's own file.

## How it is checked

The guard captures what the import system compiles. The monitor compares the digest of that text, not of the
file as it is later, with the digest that the seal has at the module's path. Where bytecode was loaded, it is
the source that the bytecode was compared with. Of the program itself (`__main__`) it captures the code object
that runs, which is compared with a compile of the sealed text; a program that was edited while it ran is
compared with what was sealed, where the monitor kept that. Another content, and a file in a sealed folder
that was not there when it was sealed, are errors of high confidence. Modules that lie in no part of the seal
are counted and not judged: seal the environment, too (`veracity seal --python`). A program that does is a
note.

## What fools it

Code that is not imported as a module: `exec` of a file's text, what runs before the guard. A program without
a file (`-c`, standard input): it is counted. A program that puts another frame in the place of its own before
it imports torch. For native libraries see `code-library-unlike-seal`.

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
MAIN = "__main__"
WITHOUT = "the run was started without --seal"
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
        self._coverage.count(checked=checked, reason="" if checked else _why(observation))
        key = (observation.path, observation.source_digest)
        elsewhere = standing == "outside" and observation.module == MAIN and observation.source != "true"
        if (standing not in _IS and not elsewhere) or key in self._reported:
            return
        if len(self._reported) >= MAX_FINDINGS:
            self._coverage.skip(f"more than {MAX_FINDINGS} modules are not as sealed: the rest is not listed")
            return
        self._reported.add(key)
        yield finding_of(
            self.rule,
            observation.module or observation.path,
            f"{observation.path}, which was executed, {_IS.get(standing, 'lies in no part of the seal')}",
            rank=observation.origin.rank,
            locations=(Location(observation.path, observation.first_line),),
            evidence=module_evidence(observation),
            severity=Severity.NOTE if elsewhere else None,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Modules of the job, and how many of them lie in a part of the seal."""
        if not self._coverage.possible and not self._coverage.reasons:
            self._coverage.skip(WITHOUT)
        return self._coverage


def _why(module: ModuleChecked) -> str:
    """Why a module was not compared with the seal."""
    if module.sealed == "outside":
        return "in no part of the seal"
    return f"the program: {module.reason}" if module.module == MAIN else "not read for the seal"
