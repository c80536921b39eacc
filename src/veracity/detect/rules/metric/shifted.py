"""Loss or gradient norm left its way in a way that noise does not.

## The law

None: this is a weak signal. A training may change its course for good reasons, and most do.

## What breaks it

A change of level of the loss or of the gradient norm within a few steps: other data, a rate that jumps,
weights that were written to; and just as well a schedule that begins a new part, or a harder file.

## How it is checked

The logarithms of the loss that backward began from and of the norm that clipping measured are compared with a
level that follows them slowly. How unusual each distance is among the last 256 becomes a bet against chance;
bets add up to an alarm that comes, on noise, once in 100,000 steps at most. Where the guard rests, the first
values after each rest are a series of their own. The guard runs the same test and
looks closely at the steps after an alarm: the sample of the update, gradient truth, its own norm. It is never
more than a note.

## What fools it

What is small beside the noise of the series, or comes slowly. Series that cross their level seldom (a smooth
loss of a whole data set) are not tested.

## What to do

Look at what the other laws say of the same steps. If they held, look at data and configuration there, or
train the steps around it again from the last checkpoint and compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import Observation, StateRestored, StepRecord
from ....core.rule import Confidence, Rule, Severity
from ....core.shift import Course, measure

MAX_SERIES = 4096
LOSS, NORM = "loss", "gradient norm"


class Shifted:
    """Follows loss and norm of each optimizer in each process."""

    rule: ClassVar[Rule] = Rule(
        "metric-shifted",
        "signals",
        "Loss or gradient norm left its way",
        Severity.NOTE,
        Confidence.LOW,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (StateRestored, StepRecord)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._series: dict[tuple[int, int, str], Course] = {}
        self._reported: set[tuple[int, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """One note for each optimizer and series, whichever rank shows it first."""
        pid = observation.origin.pid
        if isinstance(observation, StateRestored):
            for name in (LOSS, NORM):
                self._series.pop((pid, observation.optimizer, name), None)
        elif isinstance(observation, StepRecord):
            values = {LOSS: observation.loss, NORM: observation.total_norm}
            tested = any(value is not None for value in values.values())
            self._coverage.count(checked=tested, reason="" if tested else "no loss and no norm is known")
            for name, value in values.items():
                yield from self._step(pid, observation, name, value)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps with a loss or a norm."""
        return self._coverage

    def _step(self, pid: int, step: StepRecord, name: str, value: float | None) -> Iterator[Finding]:
        if value is None:
            return
        series = self._series.get((pid, step.optimizer, name))
        if series is None:
            if len(self._series) >= MAX_SERIES:
                return
            series = self._series[pid, step.optimizer, name] = Course()
        level = series.add(step.step, measure(value))
        if level is None or (step.optimizer, name) in self._reported:
            return
        self._reported.add((step.optimizer, name))
        yield finding_of(
            self.rule,
            f"{name} of optimizer {step.optimizer}",
            f"step {step.step}: the {name} has left its way, from about {exp(level):.4g} to {value:.4g}, "
            "by more than noise does once in 100,000 steps; the steps from here on were looked at closely",
            rank=step.origin.rank,
            first_step=step.step,
            evidence=(Evidence(name, expected=f"about {exp(level):.4g}", observed=f"{value:.9g}"),),
        )
