"""The job, or the monitor with it, was frozen: nothing of it ran for a while.

## The law

A step's time is explained by what it computes, what it waits for and what the machine does meanwhile.

## What breaks it

The freezer of a control group (`cgroup.freeze`, `freezer.state`), which leaves no trace in the program: its
clock jumps and it goes on. A container that is paused, a virtual machine that is held.

## How it is checked

A rank that waits in the kernel's freezer is seen by the looks at its main thread, and its group must say that
it is frozen. When the monitor stands in the same group it is frozen as well: then it notices afterwards that
it slept for longer than it had asked for, and waited neither for a processor nor for a disk meanwhile.

## What fools it

Freezing for less than the time between two looks (0.2 s; a second while there is no py-spy). Whoever stops
the monitor's clock too, as some virtual machines do. Who froze it is not known from here.

## What to do

Look at the log of the scheduler, the container runtime or the hypervisor at that time: pausing and migrating
look like this.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import MonitorHeld, Observation, ProcessHeld
from ....core.rule import Confidence, Rule, Severity

MAX_FINDINGS = 20


class Frozen:
    """One finding per process and freeze, up to a bound."""

    rule: ClassVar[Rule] = Rule(
        "time-frozen",
        "time",
        "The job was frozen for a while",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (MonitorHeld, ProcessHeld)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._count = 0

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Tell of each freeze."""
        if isinstance(observation, MonitorHeld):
            yield from self._tell(
                "the monitor",
                f"the monitor itself did not run for {observation.span / 1e9:.1f} s, "
                "nor, most likely, did the job: frozen, stopped (Ctrl-Z at its terminal is enough) "
                "or on a machine that was held",
                observation.step,
                -1,
                Confidence.MEDIUM,
            )
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

    def _tell(
        self, subject: str, message: str, step: int, rank: int, confidence: Confidence
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
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing more to say at the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps are counted by ``time-stall``, once for the law."""
        return self._coverage
