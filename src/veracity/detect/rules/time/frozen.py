"""The job, or the monitor with it, was frozen: nothing of it ran for a while.

## The law

A step's time is explained by what it computes, what it waits for and what the machine does meanwhile.

## What breaks it

The freezer of a control group (`cgroup.freeze`, `freezer.state`), which leaves no trace in the program: its
clock jumps and it goes on. A container that is paused, a virtual machine that is held.

## How it is checked

A rank that waits in the kernel's freezer is seen by the looks at its main thread, and its group must say that
it is frozen. When the monitor stands in the same group it is frozen as well: then it notices afterwards that
it slept for longer than it had asked for, and waited neither for a processor nor for a disk meanwhile. If a
step lasted through that time, the job stood still as well; if steps ended in it, only the monitor did (a
processor of a virtual machine that its host took away): coverage says so. Where no step tells, it is a note.

## What fools it

Freezing for less than the time between two looks (0.2 s; a second while there is no py-spy). Whoever stops
the monitor's clock too, as some virtual machines do. Who froze it is not known from here.

## What to do

Look at the log of the scheduler, the container runtime or the hypervisor at that time: pausing and migrating
look like this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import accumulate
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import MonitorHeld, Observation, ProcessHeld, StepRecord, StepsPassed
from ....core.rule import Confidence, Rule, Severity

MAX_FINDINGS = 20
MAX_STEPS = 512
# Of the time in which the monitor did not run, so much at each end may be told wrongly.
EDGE = 0.1
RAN_ON = "the monitor did not run for a while, and the job ran on"

_Step = tuple[int, int]
"""When a step began and ended, in ns."""


class Frozen:
    """One finding per process and freeze, up to a bound."""

    rule: ClassVar[Rule] = Rule(
        "time-frozen",
        "time",
        "The job was frozen for a while",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (MonitorHeld, ProcessHeld, StepRecord, StepsPassed)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._count = 0
        self._steps: deque[_Step] = deque(maxlen=MAX_STEPS)
        self._waiting: list[MonitorHeld] = []

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Tell of each freeze, and of one of the monitor when a step says that the job was frozen as well."""
        if isinstance(observation, (StepRecord, StepsPassed)):
            steps = [_step(observation)] if isinstance(observation, StepRecord) else _steps(observation)
            self._steps.extend(steps[-MAX_STEPS:])
            for held in list(self._waiting):
                yield from self._judge(held, steps)
        elif isinstance(observation, MonitorHeld):
            if len(self._waiting) < MAX_FINDINGS:
                self._waiting.append(observation)
                yield from self._judge(observation, list(self._steps))
        elif isinstance(observation, ProcessHeld) and observation.how == "frozen":
            still = "" if observation.over else ", and still is"
            yield from self._tell(
                f"process {observation.origin.pid}",
                f"the control group of process {observation.origin.pid} ({observation.role}) was frozen for "
                f"at least {observation.span / 1e9:.1f} s{still}; by whom is not known",
                observation.step,
                observation.origin.rank,
                Confidence.HIGH,
            )

    def _judge(self, held: MonitorHeld, steps: list[_Step]) -> Iterator[Finding]:
        """Do these steps say whether the job ran while the monitor was held?"""
        edge = int(EDGE * held.span)
        first, last = held.origin.at - held.span + edge, held.origin.at - edge
        if any(first < ended < last for _, ended in steps):
            self._waiting.remove(held)
            self._coverage.skip(RAN_ON)
        elif any(began <= first and last <= ended for began, ended in steps):
            self._waiting.remove(held)
            yield from self._tell_of_monitor(held, "nor did the job, of which a step lasted as long")

    def _tell_of_monitor(
        self, held: MonitorHeld, job: str, severity: Severity | None = None
    ) -> Iterator[Finding]:
        yield from self._tell(
            "the monitor",
            f"the monitor itself did not run for {held.span / 1e9:.1f} s, {job}: frozen, stopped (Ctrl-Z at "
            "its terminal is enough) or on a machine that was held",
            held.step,
            -1,
            Confidence.MEDIUM,
            severity,
        )

    def _tell(
        self,
        subject: str,
        message: str,
        step: int,
        rank: int,
        confidence: Confidence,
        severity: Severity | None = None,
    ) -> Iterator[Finding]:
        self._count += 1
        if self._count > MAX_FINDINGS:
            self._coverage.skip(f"frozen more than {MAX_FINDINGS} times: the rest is not listed")
            return
        yield finding_of(
            self.rule,
            subject,
            message,
            rank=rank,
            first_step=step if step >= 0 else None,
            evidence=(
                Evidence("process", expected="running, or waiting of its own accord", observed="held"),
            ),
            confidence=confidence,
            severity=severity,
        )

    def finish(self) -> Iterator[Finding]:
        """The monitor was held, and no step says whether the job was."""
        for held in self._waiting:
            yield from self._tell_of_monitor(held, "and whether the job did is not known", Severity.NOTE)

    def coverage(self) -> Coverage:
        """Steps are counted by ``time-stall``, once for the law."""
        return self._coverage


def _step(record: StepRecord) -> _Step:
    return record.origin.at - sum(record.phases.values()), record.origin.at


def _steps(passed: StepsPassed) -> list[_Step]:
    """Those that passed unseen, as far as it is known how long each took."""
    if not passed.count or len(passed.each) != passed.count:
        return []
    ends = [1000 * end for end in accumulate(passed.each)]
    begun = passed.origin.at - passed.since - ends[-1]
    return [(begun + end - 1000 * took, begun + end) for end, took in zip(ends, passed.each, strict=True)]
