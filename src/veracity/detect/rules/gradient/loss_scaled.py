"""At some steps the loss is multiplied by another number before its backward pass.

## The law

The gradient is the derivative of the loss. What a program multiplies its loss by before `backward`, it
multiplies it by at every step: one over the number of batches, a weight, nothing.

## What breaks it

A factor between loss and backward pass at some steps, in the script or by a `backward` that was exchanged in
memory; a gradient handed to `backward`; a loss that is subtracted from a constant, so that training goes
uphill while the number stays what it was; a `backward` that runs twice on one loss.

## How it is checked

Before each backward pass the guard walks from the root of the graph over nodes that multiply or divide by a
plain number, or add a constant to the loss or take it from one, to the first node that does something else;
their product is the factor, the gradient given to `backward` included, a GradScaler's scale left out. Passes
that go back from one loss more than once within a step, onto what the first had brought, make one factor,
their sum. The factors of the first ten steps are the program's habit, apart for each kind of node that they
end at. Another factor in the middle of a pass over the data that goes away within five steps, so that the
habit comes back, is a warning at its first step. So is one that comes with another function between the usual
line and torch's `backward`.

One that stays is a note: weights are annealed, phases begin. So is one whose `backward` is called at a line
of its own, a factor of zero, another whole number to divide by, one for a loss larger than any lately, and
another node than ever before; and within the first thirty steps one that came by no additional node. Nothing
is said of factors that vary, that come with a new pass over the data, or whose sum over the passes of a step
is as ever (a short last accumulation); nor of one that is divided out of the gradients before the step, as a
loss scale of the program's own is.

## What fools it

A factor from the first steps on, or one that changes with each step. A power instead of a factor. A second
pass over the same batch by a forward pass of its own. Passes over several losses at once, or from what is no
single number. A constant on another device than the CPU is not read. In closures nothing is judged.

## What to do

Look at the line named, where `backward` is called, and at what is done with the loss before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.gradients import AGAIN
from ....core.observation import BackwardRoot, LoaderStarted, Observation, StepRecord, StepsPassed
from ....core.rule import Confidence, Rule, Severity
from ...newpass import NewPasses
from .factors import Habit, Pass, among, joined

SETTLED = 10
LONG = 30
FEW = 5
MAX_HABITS = 4096
MAX_WAYS = 256
MAX_PASSES = 64
_UNREAD = "what the loss is multiplied by before its backward pass could not be read"


@dataclass(slots=True)
class _Away:
    """Steps in a row whose factor is not the habit's.

    ``at_pass``: the first of them began a pass over the data; ``edge``: one of them did, or the step behind.
    ``meant``: there is a reason to think that the program does so by design.
    """

    first: int
    what: Pass
    meant: bool
    at_pass: bool
    edge: bool
    steps: int = 0
    hole: bool = False
    factors: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Optimizer:
    """One optimizer of one process."""

    index: int
    rank: int
    habit: Habit = field(default_factory=Habit)
    away: _Away | None = None


class LossScaled:
    """Compares each step's factors with those of the first steps."""

    rule: ClassVar[Rule] = Rule(
        "gradient-loss-scaled",
        "gradient-truth",
        "At some steps the loss is multiplied by another number before its backward pass",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (BackwardRoot, LoaderStarted, StepRecord, StepsPassed)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._ways: dict[tuple[int, int], BackwardRoot] = {}
        self._optimizers: dict[tuple[int, int], _Optimizer] = {}
        self._reported: set[tuple[int, Severity]] = set()
        self._new = NewPasses()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """One finding of a kind for each optimizer, by whichever rank shows it first."""
        origin = observation.origin
        if isinstance(observation, LoaderStarted):
            self._new.begin(origin.pid)
        elif isinstance(observation, BackwardRoot):
            if len(self._ways) < MAX_HABITS and 0 <= observation.root < MAX_WAYS:
                self._ways[origin.pid, observation.root] = observation
        elif isinstance(observation, StepsPassed):
            known = self._optimizers.get((origin.pid, observation.optimizer))
            if known is not None and known.away is not None:
                known.away.hole = True
        elif isinstance(observation, StepRecord):
            key = origin.pid, observation.optimizer
            first = self._new.step(*key)
            if key in self._optimizers or len(self._optimizers) < MAX_HABITS:
                fresh = _Optimizer(observation.optimizer, origin.rank)
                yield from self._step(self._optimizers.setdefault(key, fresh), observation, first)

    def finish(self) -> Iterator[Finding]:
        """What did not go away before the end."""
        for optimizer in self._optimizers.values():
            away, optimizer.away = optimizer.away, None
            if away is not None and not away.edge:
                yield from self._stayed(optimizer, away)

    def coverage(self) -> Coverage:
        """Nothing of its own, but what could not be read."""
        return self._coverage

    def _step(self, optimizer: _Optimizer, step: StepRecord, first: bool) -> Iterator[Finding]:
        passes = self._passes(step)
        if step.closure or not passes:
            return
        habit, away = optimizer.habit, optimizer.away
        if habit.steps < SETTLED:
            habit.take(passes)
            habit.follow(passes, step)
            return
        if away is not None:
            away.edge = away.edge or first
        stranger = habit.stranger(passes)
        if stranger is not None and habit.is_divided_out(stranger, step.gradients):
            habit.take(passes)
            stranger = None
        if stranger is None:
            habit.follow(passes, step)
            optimizer.away = None
            if away is not None and not away.edge:
                if away.hole:
                    yield from self._stayed(optimizer, away)
                else:
                    yield from self._gone(optimizer, away, step.step)
            return
        if away is None:
            meant = _is_meant(habit, stranger) or habit.is_spike(passes[-1], step)
            away = optimizer.away = _Away(step.step, stranger, meant, first, first)
        away.steps += 1
        if not among(stranger.factor, away.factors):
            away.factors.append(stranger.factor)
        if away.steps > FEW:
            optimizer.away = None
            if len(away.factors) > 2:
                habit.vary(stranger.base)
            else:
                yield from self._stayed(optimizer, away)
            habit.take(passes)

    def _passes(self, step: StepRecord) -> list[Pass]:
        """The step's backward passes; none when one of them is not known."""
        found: list[Pass] = []
        for way, times, factor in (run for run in step.roots if len(run) == 3):
            root = self._ways.get((step.origin.pid, int(way))) if way is not None else None
            if root is None:
                return []
            if factor is None:
                self._coverage.skip(_UNREAD)
                return []
            if isfinite(factor):
                found += [Pass(float(factor), root)] * max(0, min(int(times or 0), MAX_PASSES))
        return joined(found, step.gradients.starts)

    def _gone(self, optimizer: _Optimizer, away: _Away, until: int) -> Iterator[Finding]:
        """The habit is back."""
        severity = Severity.NOTE if away.meant else Severity.WARNING
        yield from self._once(optimizer, away, f"from step {until} on as before", severity)

    def _stayed(self, optimizer: _Optimizer, away: _Away) -> Iterator[Finding]:
        """The habit did not come back."""
        habit = optimizer.habit
        between = bool(habit.usual(away.what)) and habit.is_between(away.what.way)
        severity = Severity.WARNING if between and not away.at_pass else Severity.NOTE
        yield from self._once(optimizer, away, "it stayed so", severity)

    def _once(self, optimizer: _Optimizer, away: _Away, until: str, severity: Severity) -> Iterator[Finding]:
        kind = optimizer.index, severity
        if kind not in self._reported and (optimizer.index, Severity.WARNING) not in self._reported:
            self._reported.add(kind)
            yield self._finding(optimizer, away, until, severity)

    def _finding(self, optimizer: _Optimizer, away: _Away, until: str, severity: Severity) -> Finding:
        one, habit = away.what, optimizer.habit
        way = one.way
        known = " or ".join(f"{factor:.6g}" for factor in habit.usual(one))
        if known and AGAIN in way.nodes:
            words = (
                f"backward ran more than once on one loss, which made {one.factor:.6g} times its gradient, "
                f"until then {known}"
            )
        elif known:
            words = (
                f"the loss was multiplied by {one.factor:.6g} before its backward pass, until then by {known}"
            )
        else:
            words = f"the backward pass began at {one.base}, as at no step before"
        if habit.is_between(way):
            words += "; a function that had not been there before called backward"
        return finding_of(
            self.rule,
            f"loss of optimizer {optimizer.index}",
            f"step {away.first}: {words}; {until}",
            rank=optimizer.rank,
            first_step=away.first,
            severity=severity,
            locations=(Location(way.path, way.line),) if way.path else (),
            evidence=(
                Evidence(
                    "product of the numbers between the root of the backward pass and the loss function",
                    expected=known or "another loss function",
                    observed=f"{one.factor:.9g} ({', '.join((*way.nodes, one.base))})",
                ),
            ),
        )


def _is_meant(habit: Habit, one: Pass) -> bool:
    """Whether programs are known to do so for a step or a few."""
    return (
        not habit.usual(one)
        or not one.factor
        or (habit.has_shape(one) and habit.steps < LONG)
        or habit.is_elsewhere(one.way)
        or habit.is_another_count(one)
        or habit.is_another_scale(one)
    )
