"""The gradient is not that of the backward passes since the last step.

## The law

A step uses the sum of what the backward passes since the step before left: nothing older, nothing less. What
a program does with its gradients between steps, zeroing them once or never, it does at every step.

## What breaks it

A `zero_grad` that is skipped now and then, so that old gradients are used again; one that is called in the
middle of an accumulation, so that a part of the batch is lost.

## How it is checked

When a backward pass begins, the gradients of sampled elements are looked at: nothing there, what the step or
the backward pass before had left, or something else. If gradients had been zeroed before each of at least
three steps, a step that finds all of them as the last one left them, and at no backward pass since then
nothing, is an error. So is one whose gradients were thrown away between two of its backward passes, if the
number of these has always been the same and that never happened before, and what was thrown away was finite.
Fewer backward passes than usual, batches that are skipped as a whole, and backward passes that raised are no
breach. Tensors that keep their gradients while others are zeroed, and a program that never zeroes any, are
warnings.

## What fools it

Batches left out before their backward pass (`gradient-batch-left-out` counts them). Gradients that were zero
anyway. A change of both the zeroing and the number of passes at once. Steps that compute their gradients in a
closure are not covered.

## What to do

Look at where `zero_grad` is called, and compare `torch/optim/optimizer.py` and the trainer with their
distributions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.gradients import CHANGED, CLIPPED, DISCARDED, INVALID, KEPT, NOTHING, PARTLY, Gradients
from ....core.observation import Observation, OptimizerDeclared, StepRecord
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity

FIRST_STEPS = 3
NEVER_STEPS = 10
MAX_OPTIMIZERS = 4096
WORDS = {
    NOTHING: "nothing there",
    DISCARDED: "thrown away",
    INVALID: "thrown away, not finite",
    KEPT: "as they had been left",
    PARTLY: "as they had been left in some tensors, nothing in others",
    CHANGED: "changed",
    CLIPPED: "changed by a call that clips",
}
_ZEROED = frozenset((NOTHING, DISCARDED, INVALID))


@dataclass(slots=True)
class _Habit:
    """What an optimizer's steps had in common so far.

    ``passes`` is the number of backward passes per step, None once it changed.
    """

    steps: int = 0
    zeroed: int = 0
    kept: int = 0
    passes: int | None = 0
    discarded: bool = False

    def take(self, gradients: Gradients, letters: set[str]) -> None:
        """One more step."""
        self.passes = gradients.backwards if not self.steps else self.passes
        if gradients.backwards != self.passes:
            self.passes = None
        self.steps += 1
        self.zeroed += not letters.isdisjoint(_ZEROED)
        self.kept += letters == {KEPT}
        self.discarded = self.discarded or DISCARDED in gradients.starts[1:]


class Accumulation:
    """Follows what each backward pass found, from step to step."""

    rule: ClassVar[Rule] = Rule(
        "gradient-accumulation",
        "gradient-continuity",
        "The gradient is not that of the backward passes since the last step",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (OptimizerDeclared, StepRecord)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._habits: dict[tuple[int, int], _Habit] = {}
        self._reported: set[tuple[int, int, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Each kind of finding once per optimizer and process, at its first step."""
        if isinstance(observation, OptimizerDeclared):
            key = observation.origin.pid, observation.optimizer.index
            if key in self._habits or len(self._habits) < MAX_OPTIMIZERS:
                self._habits[key] = _Habit()
        elif isinstance(observation, StepRecord):
            key = observation.origin.pid, observation.optimizer
            habit = self._habits.get(key)
            if habit is not None and observation.step > 0:
                for kind, finding in self._step(habit, observation):
                    if (*key, kind) not in self._reported:
                        self._reported.add((*key, kind))
                        yield finding

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps before which it was seen what every backward pass found."""
        return self._coverage

    def _step(self, habit: _Habit, step: StepRecord) -> Iterator[tuple[str, Finding]]:
        gradients = step.gradients
        starts = gradients.starts
        reason = _why_not(gradients)
        self._coverage.count(checked=not reason, reason=reason)
        if reason:
            return
        letters = set(starts)
        usual = habit.steps >= FIRST_STEPS and habit.zeroed == habit.steps
        if usual and letters == {KEPT}:
            yield (
                "kept",
                self._finding(
                    step,
                    "the gradients of the step before were not zeroed, as before all earlier steps: they are "
                    "used a second time",
                ),
            )
        elif usual and letters <= {KEPT, PARTLY} and letters:
            yield (
                "partly",
                self._finding(step, "some tensors kept the gradients of the step before", Severity.WARNING),
            )
        elif (
            habit.steps >= FIRST_STEPS
            and not habit.discarded
            and habit.passes == gradients.backwards
            and DISCARDED in starts[1:]
        ):
            lost = starts.rindex(DISCARDED)
            yield (
                "lost",
                self._finding(
                    step,
                    f"what the first {lost} of {quantity(gradients.backwards, 'backward pass')} left was "
                    "thrown away in the middle of the accumulation",
                ),
            )
        habit.take(gradients, letters)
        if habit.kept == habit.steps == NEVER_STEPS:
            yield (
                "never",
                self._finding(
                    step, f"gradients were not zeroed before any of {NEVER_STEPS} steps", Severity.WARNING
                ),
            )

    def _finding(self, step: StepRecord, words: str, severity: Severity | None = None) -> Finding:
        found = "; ".join(WORDS.get(letter, "unknown") for letter in step.gradients.starts[:16])
        return finding_of(
            self.rule,
            f"gradients of optimizer {step.optimizer}",
            f"step {step.step}: {words}",
            rank=step.origin.rank,
            first_step=step.step,
            evidence=(Evidence("found when each backward pass began", "nothing there first", found),),
            severity=severity,
        )


def _why_not(gradients: Gradients) -> str:
    if not gradients.tensors:
        return "no gradients were read"
    if not gradients.backwards:
        return "no backward pass of torch ended between the step before and this one"
    if gradients.failed:
        return "a backward pass raised"
    if len(gradients.starts) != gradients.backwards:
        return "more backward passes than are followed, or one whose beginning was not seen"
    return ""
