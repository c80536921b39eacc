"""Dropout is on and nothing is drawn for it any more.

## The law

A model in training mode whose dropout has a probability draws new masks from torch's generator at each step.

## What breaks it

A dropout function exchanged for one with a fixed mask or none, a generator of its own with a constant seed:
each step trains the same part of the model.

## How it is checked

Before each step it is read whether a dropout module of the optimizer's model would draw a mask, and the state
of torch's generator. After ten steps in a row between which the generator moved, five in a row with dropout
on and a generator that stands still are a finding, at the first of them. At the first step of a pass over a
loader it is a note.

## What fools it

Another draw from the same generator at each step (noise, augmentation in the main process). Dropout by the
program's own code rather than by modules. Masks drawn on another device's generator.

## What to do

Look for code that replaces ``torch.nn.functional.dropout`` or the forward of a module, and for a branch of
the model that is no longer taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ....core.finding import Finding, finding_of
from ....core.observation import StepRecord
from ....core.rule import Confidence, Rule, Severity
from ...courses import ByOptimizer

SETTLED = 10
STOPPED = 5


@dataclass(slots=True)
class _Course:
    """Steps in a row between which the generator moved, then those in a row for which it stood still."""

    state: str = ""
    moved: int = 0
    still: int = 0
    first: int = 0
    at_pass: bool = False


class DropoutStopped(ByOptimizer[_Course]):
    """Follows torch's generator beside the dropout of each optimizer's model."""

    rule: ClassVar[Rule] = Rule(
        "randomness-dropout-stopped",
        "randomness",
        "Dropout is on and draws nothing any more",
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
        if self._stopped(course, step, at_pass=at_pass):
            yield self._finding(step, course)

    def _stopped(self, course: _Course, step: StepRecord, *, at_pass: bool) -> bool:
        state, before = step.rng.get("torch", "")[:64], course.state
        course.state = state
        if not state or not before or not step.losses:
            return False
        # A generator that was set in between says nothing of draws; that is another rule's matter.
        if not step.dropping or state != before or step.set_to:
            course.moved = course.moved + 1 if step.dropping else 0
            course.still = 0
            return False
        if course.still == 0:
            course.first, course.at_pass = step.step, at_pass
            # What came before counts only if it was without a pause.
            course.still = 1 if course.moved >= SETTLED else 0
            course.moved = 0
            return False
        course.still += 1
        told = course.still == STOPPED and step.optimizer not in self._reported
        if told:
            self._reported.add(step.optimizer)
        return told

    def _finding(self, step: StepRecord, course: _Course) -> Finding:
        when = ", the first of a pass over the data," if course.at_pass else ""
        return finding_of(
            self.rule,
            f"optimizer {step.optimizer}",
            f"from step {course.first}{when} on nothing was drawn from torch's generator, though the model "
            "is in training mode and its dropout has a probability",
            rank=step.origin.rank,
            first_step=course.first,
            severity=Severity.NOTE if course.at_pass else None,
        )
