"""A model computes with another tensor than the one that its optimizer steps on.

## The law

The parameters that an optimizer steps on are those that its model computes with.

## What breaks it

A parameter that is exchanged in its module in mid-run, so that the optimizer goes on with one that nobody
uses: the layer stands still from then on, or a matrix that two layers shared is two.

## How it is checked

When an optimizer is declared, the modules' entries that hold its parameters are noted. Before each step
these are compared. An entry that holds another parameter is counted if that one has a gradient, so that the
loss is computed with it, and no optimizer holds it. Two steps in a row at which that is so are a warning,
at the first of them; a note where it began with a pass over the data, as a new phase of a program does.

Parameters that are put in for an evaluation and taken out again, frozen ones, those that get an optimizer
of their own, and layers that are taken out are no breach.

## What fools it

An exchange before the optimizer was declared. A new parameter that is no parameter of a module, or that an
optimizer holds which never steps.

## What to do

Look for code that assigns to the module's attribute, or that loads a state with ``assign=True``. Whoever
exchanges parameters hands the new ones to the optimizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import StepRecord
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from ...courses import ByOptimizer

MAX_REPORTED = 64


@dataclass(slots=True)
class _Course:
    """One optimizer: the entries that were exchanged at its last step, and whether a pass began there."""

    away: frozenset[str] = frozenset()
    first: int = -1
    at_pass: bool = False
    reported: set[str] = field(default_factory=set)


class ParameterExchanged(ByOptimizer[_Course]):
    """Follows the entries that hold other parameters."""

    rule: ClassVar[Rule] = Rule(
        "continuity-parameter-exchanged",
        "weight-continuity",
        "A model computes with another tensor than the one that its optimizer steps on",
        Severity.WARNING,
        Confidence.HIGH,
    )

    def begin(self) -> _Course:
        """No step yet."""
        return _Course()

    def step(self, course: _Course, step: StepRecord, *, at_pass: bool) -> Iterator[Finding]:
        """One finding for what is exchanged at one time."""
        now = frozenset(step.exchanged) - course.reported
        lasting = now & course.away
        if lasting:
            if len(course.reported) < MAX_REPORTED:
                yield self._finding(course, step, sorted(lasting))
            course.reported |= lasting
        course.away, course.first, course.at_pass = now - lasting, step.step, at_pass

    def _finding(self, course: _Course, step: StepRecord, names: list[str]) -> Finding:
        others = len(names) - 1
        more = f" and of {quantity(others, 'other parameter')}" if others else ""
        return finding_of(
            self.rule,
            names[0],
            f"from step {course.first} on, another tensor stands in the place of {names[0]}{more}: the loss "
            f"is computed with it, and optimizer {step.optimizer} still steps on the one before",
            rank=step.origin.rank,
            first_step=course.first,
            severity=Severity.NOTE if course.at_pass else None,
            evidence=(
                Evidence(
                    names[0], expected="the optimizer's parameter", observed="a parameter of no optimizer"
                ),
            ),
        )
