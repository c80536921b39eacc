"""A process of the job ended with an exit code other than 0.

## The law

Life: no process of the job ends without a known cause and sender.

## What breaks it

An exception that nobody caught, `sys.exit` with a code, a launcher reporting a failed rank.

## How it is checked

The monitor reads the exit code from the kernel. A program may use any code it likes, so this is a note.

## What fools it

A program that fails and still exits with 0.

## What to do

Read the program's own output around its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import Observation, ProcessEnded
from ....core.rule import Confidence, Rule, Severity
from .signals import MAIN_ROLES

MAX_FINDINGS = 200


class ExitNonzero:
    """One note per rank, launcher or root process."""

    rule: ClassVar[Rule] = Rule(
        "life-exit-nonzero",
        "life",
        "A process of the job ended with an exit code other than 0",
        Severity.NOTE,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ProcessEnded,)

    def __init__(self) -> None:
        self._count = 0
        self._coverage = Coverage(self.rule.law, "processes")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge the end of a process."""
        if not isinstance(observation, ProcessEnded) or observation.how != "exited":
            return
        if observation.code == 0 or observation.role not in MAIN_ROLES:
            return
        self._count += 1
        if self._count > MAX_FINDINGS:
            self._coverage.skip(f"more than {MAX_FINDINGS} exits: the rest is not listed")
            return
        yield finding_of(
            self.rule,
            f"process {observation.origin.pid}",
            f"process {observation.origin.pid} ({observation.role}) ended with exit code {observation.code}",
            rank=observation.origin.rank,
            first_step=observation.step if observation.step >= 0 else None,
            evidence=(
                Evidence("exit code", "0", str(observation.code)),
                Evidence("command", observed=observation.command),
            ),
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Processes are counted by ``life-killed``, once for the law."""
        return self._coverage
