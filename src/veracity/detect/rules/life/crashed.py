"""A process of the job ended by a fault of its own.

## The law

Life: no process of the job ends without a known cause and sender.

## What breaks it

A segmentation fault, an abort, a bus error (often: shared memory or a mapped file that became too small), an
arithmetic trap, a limit on CPU time or file size, a timer nobody handled.

## How it is checked

The monitor reads how every process of the job ended, from the kernel. These signals are normally raised by
what the process itself did, so this is a warning of medium confidence. A helper that ends by SIGPIPE is what
`yes | head` leaves behind: no finding.

## What fools it

The same signals can be sent by `kill` as well; what the kernel tells a parent does not say which it was. The
sender is not determined.

## What to do

Run again with `PYTHONFAULTHANDLER=1` for a stack, look at `dmesg` and at the space left in `/dev/shm`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import Observation, ProcessEnded
from ....core.rule import Confidence, Rule, Severity
from .signals import MAIN_ROLES, OWN_FAULTS, PIPE, signal_name

MAX_FINDINGS = 200


class Crashed:
    """One finding per process."""

    rule: ClassVar[Rule] = Rule(
        "life-crashed",
        "life",
        "A process of the job ended by a fault of its own",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ProcessEnded,)

    def __init__(self) -> None:
        self._count = 0
        self._coverage = Coverage(self.rule.law, "processes")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge the end of a process."""
        if not isinstance(observation, ProcessEnded) or observation.how != "signalled":
            return
        if observation.explained or observation.code not in OWN_FAULTS:
            return
        if observation.code == PIPE and observation.role not in MAIN_ROLES:
            return
        self._count += 1
        if self._count > MAX_FINDINGS:
            self._coverage.skip(f"more than {MAX_FINDINGS} crashes: the rest is not listed")
            return
        name = signal_name(observation.code)
        yield finding_of(
            self.rule,
            f"process {observation.origin.pid}",
            f"process {observation.origin.pid} ({observation.role}) ended by {name}, which is a fault of its "
            "own unless somebody sent it; sender not determined",
            rank=observation.origin.rank,
            first_step=observation.step if observation.step >= 0 else None,
            evidence=(
                Evidence("end", "exit of its own accord", f"signal {observation.code} ({name})"),
                Evidence("command", observed=observation.command),
            ),
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Processes are counted by ``life-killed``, once for the law."""
        return self._coverage
