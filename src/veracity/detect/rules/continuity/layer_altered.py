"""A setting of a layer was another one for a few steps.

## The law

What a layer was built with (the epsilon of a normalisation, the padding index of an embedding, how a
convolution pads) is what it computes with at each step.

## What breaks it

A line that sets such an attribute for some steps and puts it back: normalisations that squash their inputs,
an embedding that hands a token no gradient, weights that are cut to a norm whenever they are used.

## How it is checked

Of the layers that are torch's own, the attributes that torch declares as constants are read before each
optimizer step, and what torch computes with for all of them: autocast, the default dtype, the precision
of matrix products, deterministic algorithms, the number of threads. After ten steps at which a setting
stood still, one that changes in the middle of a pass over the data and is back within five steps is a
warning, if it is one that programs do not schedule: ``eps``, ``padding_idx``, ``scale_grad_by_freq``,
``max_norm``, ``norm_type``, ``approximate``, ``padding_mode``, ``groups``, ``num_groups``, autocast, the
default dtype.

Of others (the probability of a dropout, a momentum, a stride, the mode of a single layer) it is a note,
for they are annealed, frozen or switched off for a step; so is a change that stays, which may be a new
phase of the program, and one that began at the start of a pass. Settings that change in the first ten
steps, or take one value after another, are the program's own schedule.

## What fools it

A setting that is put back before the step, or that acts from the first steps on. Functions called without a
layer, layers of the program's own classes, and what stands in no constant. A change that is made and taken
back while no step is looked at.

## What to do

Look for code that sets the attribute named. A setting that is meant to change is best changed with an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.contract import Hyper
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import StepRecord
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from ...courses import ByOptimizer

SETTLED = 10
FEW = 5
MAX_AWAY = 64
FIXED = frozenset({
    "eps", "padding_idx", "scale_grad_by_freq", "max_norm", "norm_type", "approximate", "padding_mode",
    "groups", "num_groups", "autocast", "default dtype",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Away:
    """A layer's setting that is not what it was, since the step ``first``.

    ``doubtful``: that step began a pass over the data, or those before it were not looked at.
    """

    first: int
    layer: str
    before: Hyper
    after: Hyper
    doubtful: bool


@dataclass(slots=True)
class _Course:
    """One optimizer's layers: the settings that its program changes, and those that are away now."""

    rank: int = 0
    steps: int = 0
    last: int = -1
    habits: set[str] = field(default_factory=set)
    away: dict[tuple[str, str], _Away] = field(default_factory=dict)
    reported: set[tuple[str, bool]] = field(default_factory=set)


class LayerAltered(ByOptimizer[_Course]):
    """Follows the settings of layers from step to step."""

    rule: ClassVar[Rule] = Rule(
        "continuity-layer-altered",
        "weight-continuity",
        "A setting of a layer was another one for a few steps",
        Severity.WARNING,
        Confidence.HIGH,
    )

    def begin(self) -> _Course:
        """No step yet."""
        return _Course()

    def step(self, course: _Course, step: StepRecord, *, at_pass: bool) -> Iterator[Finding]:
        """One finding of a kind for each setting of an optimizer's layers, at its first step."""
        hole = course.steps > 0 and step.step != course.last + 1
        course.rank = step.origin.rank
        for told in step.settings:
            if len(told) == 4:
                yield from self._changed(course, step.step, told, doubtful=at_pass or hole)
        for key, away in list(course.away.items()):
            if step.step - away.first > FEW:
                yield from self._stayed(course, key)
        course.steps += 1
        course.last = step.step

    def finish(self) -> Iterator[Finding]:
        """What was not put back before the end."""
        for course in self._courses.values():
            for key in list(course.away):
                yield from self._stayed(course, key)

    def _changed(self, course: _Course, step: int, told: list[Hyper], *, doubtful: bool) -> Iterator[Finding]:
        layer, setting, before, after = told
        key = str(layer), str(setting)
        if course.steps < SETTLED:
            course.habits.add(key[1])
        if key[1] in course.habits:
            return
        away = course.away.pop(key, None)
        if away is None:
            if len(course.away) < MAX_AWAY:
                course.away[key] = _Away(step, key[0], before, after, doubtful)
        elif after == away.before:
            meant = away.doubtful or doubtful or key[1] not in FIXED
            when = (
                f"from step {away.first} to {step - 1}" if step - 1 > away.first else f"at step {away.first}"
            )
            yield from self._once(course, key[1], away, when, meant=meant)
        else:
            course.habits.add(key[1])

    def _stayed(self, course: _Course, key: tuple[str, str]) -> Iterator[Finding]:
        away = course.away.pop(key)
        yield from self._once(course, key[1], away, f"from step {away.first} on", meant=True)

    def _once(
        self, course: _Course, setting: str, away: _Away, when: str, *, meant: bool
    ) -> Iterator[Finding]:
        if (setting, meant) in course.reported or (setting, False) in course.reported:
            return
        course.reported.add((setting, meant))
        others = sum(1 for _, name in course.away if name == setting)
        more = f" and of {quantity(others, 'other layer')}" if others else ""
        layer = away.layer or "the module"
        yield finding_of(
            self.rule,
            f"{layer}: {setting}",
            f"{when} {setting} of {layer}{more} was {away.after} instead of {away.before}",
            rank=course.rank,
            first_step=away.first,
            severity=Severity.NOTE if meant else None,
            evidence=(Evidence(setting, expected=str(away.before), observed=str(away.after)),),
        )
