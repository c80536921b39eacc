"""Compiled code decodes something and executes it.

## The law

Start-up purity: nothing runs that cannot be read.

## What breaks it

A ``.pyc`` file with a function that decodes a text (base64, zlib, hexadecimal, marshal) and hands it to
``exec``: source that nobody is to see, in a file that nobody reads.

## How it is checked

The file is walked through without loading it, and the names that each function uses are read. One function
that names both ``exec`` or ``eval`` and something that decodes is an error of medium confidence.

## What fools it

Two functions that share the work. Names that are put together. What the code does with its names is not
followed: compare the file with its source (``veracity seal``).

## What to do

Delete the file: Python compiles its source again. If there is none, ask who brought it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import CompiledFunction, Observation
from ....core.rule import Confidence, Rule, Severity

_EXECUTES = frozenset({"exec", "eval"})
_DECODES = frozenset(
    {
        *(
            "b64decode",
            "b32decode",
            "b16decode",
            "a85decode",
            "b85decode",
            "decodebytes",
            "urlsafe_b64decode",
        ),
        *("standard_b64decode", "decompress", "unhexlify", "a2b_base64", "fromhex", "marshal"),
    }
)


class BytecodeHides:
    """One finding for each function."""

    rule: ClassVar[Rule] = Rule(
        "environment-bytecode-hides",
        "start-up-purity",
        "Compiled code decodes something and executes it",
        Severity.ERROR,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (CompiledFunction,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "compiled functions")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one function."""
        if not isinstance(observation, CompiledFunction):
            return
        one, names = observation, set(observation.names)
        self._coverage.count(checked=True)
        if names & _EXECUTES and names & _DECODES:
            used = ", ".join(sorted(names & (_EXECUTES | _DECODES)))
            yield finding_of(
                self.rule,
                one.name,
                f"{one.function or 'a function'} in {one.name} decodes something and executes it",
                locations=(Location(one.name),),
                evidence=(Evidence("names that it uses", observed=used),),
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Functions of compiled files whose names were read."""
        return self._coverage
