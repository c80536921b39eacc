"""A checkpoint of torch holds data that no reader of it ever looks at.

## The law

Load: a checkpoint is what its writer makes, and nothing besides.

## What breaks it

Bytes before the first member, between members or after the end of an archive: they can make the file
something else for another reader, or carry something out of sight.

## How it is checked

Bytes that are neither of a member nor of the directory are counted, zeros left out. torch writes none, so
in an archive that it wrote they are a warning. Other archives have such bytes for good reasons (programs
that unpack themselves, signatures, padding) and are not reported; what stands before a zip is read for what
it is by all readers in any case.

## What fools it

Data in extra fields of headers, in comments, or in storages that no tensor uses.

## What to do

See what the bytes are, and who added them. Loading and saving the checkpoint with torch leaves them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import ArchiveRead, Observation
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity


class ArchiveHidden:
    """One finding for each archive."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-archive-hidden",
        "load",
        "A checkpoint of torch holds data that no reader of it ever looks at",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ArchiveRead,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "archives")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge what an archive consists of."""
        if not isinstance(observation, ArchiveRead) or not observation.layout.startswith("torch"):
            return
        one = observation
        places = (
            (one.before, "before the first member"),
            (one.between, "between members"),
            (one.after, "after the end"),
        )
        found = [f"{quantity(count, 'byte')} {where}" for count, where in places if count]
        if found:
            yield finding_of(
                self.rule,
                one.name,
                f"{one.name} holds {' and '.join(found)} that are no part of the checkpoint",
                locations=(Location(one.name.partition("!")[0]),),
                evidence=(Evidence("bytes that are not zero", "0", ", ".join(found)),),
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Files are counted by who reads them."""
        return self._coverage
