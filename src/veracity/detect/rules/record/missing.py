"""Records are missing from a guard's sequence, and no full disk explains it.

## The law

The records of a process are numbered without holes. Where one could not be kept, the guard counts a drop and
says how many there were.

## What breaks it

Removing records from the spool before they are read, switching the guard off for some steps, a disk or socket
that was full.

## How it is checked

Each jump in the numbers is noted. At the end the goodbye tells how many records the guard had to drop: jumps
that are not covered by that count are a finding, the others are a gap only.

## What fools it

The count of drops is the guard's own word; code in the training process can forge it. Then the missing
records remain visible as gaps, and the steps they held as unchecked.

## What to do

Read the gaps: they name the steps concerned. If the disk was full, free it; otherwise look for who could
write to the run directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import Goodbye, Observation, RecordsMissing
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity


class RecordMissing:
    """Holds jumps against the drops that the goodbye admits."""

    rule: ClassVar[Rule] = Rule(
        "record-missing",
        "record",
        "Records are missing and no counted drop explains it",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (Goodbye, RecordsMissing)

    def __init__(self) -> None:
        self._missing: dict[int, list[RecordsMissing]] = {}
        self._admitted: dict[int, int] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Collect jumps and admitted drops by process."""
        if isinstance(observation, RecordsMissing):
            held = self._missing.setdefault(observation.origin.pid, [])
            if len(held) < 1000:
                held.append(observation)
        elif isinstance(observation, Goodbye):
            self._admitted[observation.origin.pid] = observation.dropped
        yield from ()

    def finish(self) -> Iterator[Finding]:
        """Report what no drop explains."""
        for pid, jumps in self._missing.items():
            missing = sum(jump.got - jump.expected for jump in jumps)
            admitted = self._admitted.get(pid)
            if admitted is not None and missing <= admitted:
                continue
            first = jumps[0]
            yield finding_of(
                self.rule,
                f"records of process {pid}",
                f"{quantity(missing, 'record')} never arrived, the first after step {first.after_step}",
                rank=first.origin.rank,
                first_step=first.after_step + 1 if first.after_step >= 0 else None,
                evidence=(
                    Evidence(
                        "sequence",
                        expected="no holes, or as many as the guard counted",
                        observed=f"{missing} missing, {admitted or 'none'} admitted",
                    ),
                ),
            )

    def coverage(self) -> Coverage:
        """Counted by record-spool-altered."""
        return Coverage("record", "processes")
