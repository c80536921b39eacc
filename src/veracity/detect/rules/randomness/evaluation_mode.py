"""A training step was made in evaluation mode.

## The law

A model that trains with dropout, batch statistics or other behaviour of its training mode does so at each of
its steps.

## What breaks it

``model.eval()`` before a forward pass that is trained on, or one that was never taken back after an
evaluation: no dropout, batch normalisation by its running statistics, no augmentation in the model. The loss
falls more smoothly than before, and the model generalises less well.

## How it is checked

At each backward pass the mode of the outermost modules that hold an optimizer's parameters is read, where a
mode changes anything: dropout with a probability, batch normalisation, code that looks at ``training``; below
a wrapper of torch's, such as DistributedDataParallel, the mode of what it holds. After
ten steps in training mode, a step none of whose backward passes ran in that mode is a finding; at the first
step of a pass over a loader, or at one for which the learning rate is set anew (to half or twice of what it
was, or beyond), a new phase may begin: a note.

## What fools it

Single layers put into evaluation mode, which programs do to freeze them. A mode that is changed for the
forward pass alone. Training in evaluation mode from the start.

## What to do

Look for ``eval()`` and ``train(False)`` on the way to the step named; evaluation code should put back the
mode that it found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.finding import Finding, finding_of
from ....core.observation import StepRecord
from ....core.rule import Confidence, Rule, Severity
from ...courses import ByOptimizer

SETTLED = 10
APART = 2.0
"""By so much a learning rate differs from that of the step before where a new phase begins."""


@dataclass(slots=True)
class _Course:
    """The steps of one optimizer in training mode so far."""

    trained: int = 0
    mixed: bool = False
    rates: list[float] = field(default_factory=list)


class EvaluationMode(ByOptimizer[_Course]):
    """Follows the mode of each optimizer's modules."""

    rule: ClassVar[Rule] = Rule(
        "randomness-evaluation-mode",
        "randomness",
        "A training step was made in evaluation mode",
        Severity.WARNING,
        Confidence.HIGH,
    )

    def __init__(self) -> None:
        super().__init__()
        self._reported: set[int] = set()

    def begin(self) -> _Course:
        """No step yet."""
        return _Course()

    def step(self, course: _Course, step: StepRecord, *, at_pass: bool) -> Iterator[Finding]:
        """One finding for each optimizer, whichever rank shows it first."""
        before, course.rates = course.rates, _rates(step)
        if step.training is None:
            return
        if step.training:
            course.trained += 1
            return
        settled = course.trained >= SETTLED and not course.mixed
        course.mixed = course.mixed or not settled
        if settled and step.optimizer not in self._reported:
            self._reported.add(step.optimizer)
            when = ", the first of a pass over the data," if at_pass else ""
            if not when and _set_anew(before, course.rates):
                when = ", for which the learning rate was set anew,"
            yield self._finding(step, course, when)

    def _finding(self, step: StepRecord, course: _Course, when: str) -> Finding:
        return finding_of(
            self.rule,
            f"optimizer {step.optimizer}",
            f"step {step.step}{when} was made with the model in evaluation mode, after {course.trained} in "
            "training mode: its dropout or batch statistics were off",
            rank=step.origin.rank,
            first_step=step.step,
            severity=Severity.NOTE if when else None,
        )


def _rates(step: StepRecord) -> list[float]:
    """The groups' learning rates; 0 where one is no number."""
    rates = (group.get("lr") for group in step.groups)
    return [float(rate) if isinstance(rate, (int, float)) else 0.0 for rate in rates]


def _set_anew(before: list[float], now: list[float]) -> bool:
    """Whether some group's rate lies far from that of the step before."""
    pairs = zip(before, now, strict=False)
    return any(max(was, rate) >= APART * min(was, rate) > 0.0 for was, rate in pairs)
