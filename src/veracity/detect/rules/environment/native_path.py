"""Native libraries are looked for in a folder that depends on where one stands, or that others may fill.

## The law

Native libraries: what the loader maps is the same wherever a program is started, and whoever else is on the
machine.

## What breaks it

An empty or relative element in an object's RPATH or RUNPATH, or in LD_LIBRARY_PATH: the loader takes it for
the folder in which the program is started, and whoever can put a file there has it loaded. An element below
`/tmp`, or in another place that others may write to, also one where nothing lies yet.

## How it is checked

`veracity seal --python` reads the search folders of the interpreter, of its packages' shared objects and of
what they need. Folders of the environment itself are not judged. A relative one is a warning, and a note when
an archive or a package vouches for the object that has it, or when it stands in LD_LIBRARY_PATH, where an
empty element is often left over by accident. One that others than its owner may fill is a warning.

## What fools it

Access lists and mounts. Folders that a program adds while it runs.

## What to do

Remove the element (`patchelf --set-rpath`), or the permission. If the object came in an archive, tell those
who build it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, SearchFolder
from ....core.rule import Confidence, Rule, Severity

MAX_FINDINGS = 100


class NativePath:
    """One finding for each element of one text, however many objects have it."""

    rule: ClassVar[Rule] = Rule(
        "environment-native-path",
        "native-libraries",
        "Native libraries are looked for where others may put some",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (SearchFolder,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "libraries")
        self._reported: set[tuple[str, str, bool]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one element."""
        if not isinstance(observation, SearchFolder):
            return
        one = observation
        key = (one.by, one.text, one.vouched)
        if key in self._reported:
            return
        if len(self._reported) >= MAX_FINDINGS:
            self._coverage.skip("more folders are open to others than are listed")
            return
        self._reported.add(key)
        shown = one.text or "(empty)"
        what = "depends on where the program is started" if one.relative else f"{one.writers} may write to it"
        by_accident = one.relative and (one.vouched or one.by == "LD_LIBRARY_PATH")
        yield finding_of(
            self.rule,
            one.of,
            f"libraries are looked for in {shown} by {one.by} of {one.of}: {what}",
            locations=(Location(one.of),),
            evidence=(Evidence("element", observed=shown),),
            severity=Severity.NOTE if by_accident else Severity.WARNING,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Libraries are counted by ``environment-native-unowned``, once for the law."""
        return self._coverage
