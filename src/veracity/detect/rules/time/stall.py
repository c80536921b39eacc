"""A line of code sleeps or spins inside training steps and takes a measurable share of the run.

## The law

A step's time is explained by what it computes, what it waits for and what the machine does meanwhile. No
single line may hold the training thread without computing anything, again and again.

## What breaks it

``time.sleep`` or an empty loop in a training path: in the script, a library, a collate function run in the
main process, a hook. Short stalls in rare steps are hard to see in a loss curve or a mean step time.

## How it is checked

The kernel says when a rank's main thread sleeps on a timer; its Python stack is then read from outside.
Sleeps too short for that are charged to the line that is read next, so to each line by how often it is
met. A step that takes much longer than the median of its rank is sampled as well, and counts as spinning
when the innermost line calls nothing but clocks and arithmetic. Time spent waiting for a processor or
for disk (from ``/proc``) is subtracted. A finding needs at least three stalls in different steps and one
per cent of the run at one line.
Steps with an evaluation, a checkpoint or a compilation in them, and the first steps, do not count; nor, for
what spins, those in which a check ran the forward pass again.
Where the guard rests, sleeps are seen all the same, since the kernel tells of them; what spins is not.

## What fools it

Sleeping in many different lines, each below one per cent; waiting on a lock or a pipe instead of a timer;
work that looks like computation. Without py-spy stalls are seen in the step times but not charged to a line.

## What to do

Open the line. If the pause is meant (a rate limit, a demonstration), move it out of the training step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import (
    BatchesDrawn,
    CheckpointLoaded,
    CheckpointSaved,
    HostLoad,
    Observation,
    StackSampled,
    StacksUnavailable,
    StepRecord,
    StepsPassed,
)
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from .interval import Intervals
from .lines import is_own_wait, spins

WARM_STEPS = 5
MIN_STALLS = 3
MIN_SHARE = 0.01
MAX_LINES = 500


@dataclass(slots=True)
class _Line:
    """What one line cost one rank."""

    sample: StackSampled
    steps: set[int] = field(default_factory=set)
    asleep: int = 0
    spinning: int = 0
    reported: bool = False


class Stall:
    """Charges stalls to source lines and reports those that cost too much."""

    rule: ClassVar[Rule] = Rule(
        "time-stall",
        "time",
        "One line stalls training steps",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        BatchesDrawn,
        CheckpointLoaded,
        CheckpointSaved,
        HostLoad,
        StackSampled,
        StacksUnavailable,
        StepRecord,
        StepsPassed,
    )

    def __init__(self) -> None:
        self._coverage = Coverage("time", "steps")
        self._intervals: dict[int, Intervals] = {}
        self._lines: dict[tuple[int, str, int], _Line] = {}
        self._waited: dict[int, int] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Collect samples; charge them when the step they fell into is complete."""
        pid = observation.origin.pid
        if isinstance(observation, HostLoad):
            self._waited[pid] = self._waited.get(pid, 0) + observation.run_queue + observation.block_io
        elif isinstance(observation, StacksUnavailable):
            self._coverage.skip(f"stalls are not charged to a line: {observation.reason}")
        else:
            interval = self._intervals.setdefault(pid, Intervals())
            interval.take(observation)
            if isinstance(observation, StepRecord) and observation.optimizer == 0:
                self._coverage.count(checked=True)
                yield from self._charge(pid, observation, interval)
            elif isinstance(observation, StepsPassed):
                for step, sample in interval.rested(observation):
                    yield from self._charge_sample(pid, step, sample, 0, interval)

    def finish(self) -> Iterator[Finding]:
        """Nothing more to say at the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps whose duration was looked at."""
        return self._coverage

    def _charge(self, pid: int, record: StepRecord, interval: Intervals) -> Iterator[Finding]:
        closed = interval.close(record)
        if not closed.calm or record.step < WARM_STEPS:
            return
        excess = closed.excess
        for sample in closed.samples:
            # Who sleeps does so beside a check, too; who spins is told by how long the step took.
            spinning = closed.ordinary and bool(sample.frames) and spins(sample.frames[0])
            if not sample.asleep and not spinning:
                continue
            yield from self._charge_sample(pid, record.step, sample, excess, interval)
            excess = excess if sample.asleep else 0

    def _charge_sample(
        self, pid: int, step: int, sample: StackSampled, excess: int, interval: Intervals
    ) -> Iterator[Finding]:
        """What one sample cost: the sleep it saw, or the ``excess`` of its step in ns when it spins."""
        if not sample.frames or (sample.asleep and is_own_wait(sample.frames[0])):
            return
        top = sample.frames[0]
        key = (pid, top.path, top.line)
        if key not in self._lines and len(self._lines) >= MAX_LINES:
            return
        line = self._lines.setdefault(key, _Line(sample))
        line.steps.add(step)
        if sample.asleep:
            line.asleep += sample.span + sample.unread
        else:
            line.spinning += excess
        yield from self._report(pid, line, sample.origin.rank, interval.total)

    def _report(self, pid: int, line: _Line, rank: int, total: int) -> Iterator[Finding]:
        net = line.asleep + max(0, line.spinning - self._waited.get(pid, 0))
        if line.reported or len(line.steps) < MIN_STALLS or total <= 0 or net < MIN_SHARE * total:
            return
        line.reported = True
        top = line.sample.frames[0]
        verb = "sleeps" if line.asleep >= line.spinning else "spins"
        yield finding_of(
            self.rule,
            f"{top.path}:{top.line}",
            f"{top.function} {verb} here: {net / 1e9:.2f} s in {quantity(len(line.steps), 'step')} so far, "
            f"{100 * net / total:.1f} % of the run",
            rank=rank,
            first_step=min(line.steps),
            locations=(Location(top.path, top.line),),
            evidence=(
                Evidence(
                    "main thread",
                    expected="computing, or waiting for data or another rank",
                    observed="asleep on a timer"
                    if verb == "sleeps"
                    else "busy in a line that computes nothing",
                    excerpt=tuple(
                        f"{frame.path}:{frame.line} {frame.function}: {frame.source}"
                        for frame in line.sample.frames[:8]
                    ),
                ),
            ),
        )
