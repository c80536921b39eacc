"""A pickle breaks off, or ends as no pickler ends one.

## The law

Load: what is loaded is whole.

## What breaks it

A truncated download; bytes changed on the way; and a stream that breaks on purpose after its payload, since
many scanners take an error for the absence of harm.

## How it is checked

The stream is followed to its STOP. An opcode that does not exist, an argument that is cut off, a stack that
is too short, a key that cannot be hashed end it where the unpickler would raise; the operations before are
judged like those of a whole file. Values that are left on the stack at STOP are told as well: unpicklers do
not mind them, picklers leave none.

## What fools it

Errors that depend on objects which exist in the loading process only.

## What to do

Get the file again and compare digests. If it was written like this, ask who wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import GlobalsPermitted, Observation, PickleRead
from ....core.rule import Confidence, Rule, Severity
from ...pickles import MALFORMED
from .pickled import OfPickles


class PickleMalformed(OfPickles):
    """Tells what is of this kind."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-pickle-malformed",
        "load",
        "A pickle breaks off or does not end as one",
        Severity.WARNING,
        Confidence.HIGH,
    )
    kind: ClassVar[str] = MALFORMED

    takes: ClassVar[tuple[type[Observation], ...]] = (GlobalsPermitted, PickleRead)

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one pickle, and count it."""
        yield from super().observe(observation)
        if isinstance(observation, PickleRead):
            self._coverage.count(checked=True)
