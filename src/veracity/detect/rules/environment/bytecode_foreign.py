"""Compiled code uses names that the source beside it does not have.

## The law

Code identity: what executes is what its source says.

## What breaks it

A ``.pyc`` in ``__pycache__`` with another body than its source and the source's time and size in its header:
Python loads it and never looks at the source.

## How it is checked

When Python would load the file (its header fits the source beside it, or says that nothing is to be
checked), each name that its functions use has to stand somewhere in that source. Names that Python makes
itself do not count. One that does not stand there is an error.

## What fools it

A body that makes do with the names of the source: ``veracity seal`` compares the code itself. A compiled
file that lies in an archive, or is read without its folder.

## What to do

Delete the file: Python compiles its source again. Find out who could write it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import CompiledFunction, Observation
from ....core.rule import Confidence, Rule, Severity


class BytecodeForeign:
    """One finding for each function."""

    rule: ClassVar[Rule] = Rule(
        "environment-bytecode-foreign",
        "code-identity",
        "Compiled code uses names that the source beside it does not have",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (CompiledFunction,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "compiled functions")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one function."""
        if not isinstance(observation, CompiledFunction):
            return
        one = observation
        self._coverage.count(checked=True)
        if one.foreign:
            yield finding_of(
                self.rule,
                one.name,
                f"{one.function or 'a function'} in {one.name} uses names that its source does not have: "
                f"{', '.join(one.foreign[:5])}",
                locations=(Location(one.name),),
                evidence=(Evidence("names", observed=", ".join(one.foreign)),),
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Functions of compiled files whose names were read."""
        return self._coverage
