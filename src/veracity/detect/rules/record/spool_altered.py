"""What the guard wrote was cut, overwritten, removed or repeated before it was taken in.

## The law

A record is written once, in order, and never changed. The guard's spool only grows, its numbers only rise.

## What breaks it

Truncating or editing the spool to hide a step, deleting it, writing records into it that the guard did not
make, replaying older ones.

## How it is checked

The monitor reads each spool as it grows and remembers how far it was. A file that is shorter than that, is
gone, holds bytes that are no frame, or brings a number a second time is reported by the reader. What had been
taken in before is safe in the ledger.

## What fools it

An insider under the same account can edit a record in the few hundredths of a second between its being
written and being read, and give it a matching check sum. Replay on sampled segments shows that.

## What to do

Look at who had access to the run directory at that time. The run counts up to the last record taken in;
train on from a checkpoint saved before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import Goodbye, Hello, Observation, RecordDamaged
from ....core.rule import Confidence, Rule, Severity


class SpoolAltered:
    """Turns the reader's reports of damage into findings; counts spools that ended in order."""

    rule: ClassVar[Rule] = Rule(
        "record-spool-altered",
        "record",
        "What the guard wrote was altered before it was recorded",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (Goodbye, Hello, RecordDamaged)

    def __init__(self) -> None:
        self._coverage = Coverage("record", "processes")
        self._greeted: set[int] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Report damage once per process."""
        if isinstance(observation, Hello) and observation.origin.pid not in self._greeted:
            self._greeted.add(observation.origin.pid)
            self._coverage.possible += 1
        elif isinstance(observation, Goodbye) and observation.origin.pid in self._greeted:
            self._greeted.discard(observation.origin.pid)
            self._coverage.checked += 1
        elif isinstance(observation, RecordDamaged):
            yield finding_of(
                self.rule,
                f"spool of process {observation.origin.pid}",
                f"{observation.reason}; the last good record is number {observation.after_seq}",
                rank=observation.origin.rank,
                first_step=observation.step + 1 if observation.step >= 0 else None,
                evidence=(
                    Evidence(
                        "spool",
                        expected="append-only, numbers rising by one",
                        observed=observation.reason,
                    ),
                ),
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing more to say at the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Processes whose record has a beginning and an end."""
        if self._greeted:
            self._coverage.reasons["a process ended without a goodbye"] = len(self._greeted)
        return self._coverage
