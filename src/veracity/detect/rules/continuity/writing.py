"""What a program itself writes into weights and optimizer state between steps: its way, or a departure.

Weight decay by hand, a bound on norms, slow weights that the fast ones go back to: programs write at every
step or every few steps, and show it in their first ones. A single change in these is held back until it is
known whether it comes again at the same distance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from ....core.observation import StepRecord
from ...writes import Between

EARLY = 10
"""A program that writes as it goes shows it in one of so many first steps."""
FEW = 3
"""At the end of a run, so many writes without one left out are taken for all."""

_Held = TypeVar("_Held")


class Judged(Enum):
    """What a change is, after those before it."""

    HABIT = "habit"
    HELD = "held"
    BREACH = "breach"


@dataclass(slots=True)
class Writing(Generic[_Held]):
    """The changes between one optimizer's steps so far. ``held``: what to tell if the first stays alone."""

    first: int = -1
    last: int = -1
    early: int = 0
    period: int = 0
    fields: set[str] = field(default_factory=set)
    held: _Held | None = None

    def judge(self, step: int, fields: Collection[str], finding: _Held) -> Judged:
        """Take in a change of ``fields`` seen at ``step``; held ones are in ``held``."""
        gap, self.last = step - self.last, step
        if self.first < 0:
            self.first = step
        if step <= EARLY:
            self.early += 1
            self.fields |= set(fields)
            if self.early == 1:
                self.held = finding
                return Judged.HELD
            self.period = gap if self.early == 2 or gap == self.period else 1
            self.held = None
            return Judged.HABIT
        if not self.early:
            return Judged.BREACH
        if self.early == 1 and not self.period and abs(gap - self.first) <= 1:
            # The first one was counted from the beginning, and is seen at the step after it.
            self.period = gap
        # On a beat of its own, a program that writes weights may write state beside them: whether both are
        # seen is a matter of the elements that are read.
        beat = self.period > 1 and not gap % self.period and "param" in self.fields.intersection(fields)
        if not beat and not self.fields.issuperset(fields):
            return Judged.BREACH
        if self.period and not gap % self.period:
            self.held = None
            return Judged.HABIT
        return Judged.BREACH

    def overdue(self, step: int) -> _Held | None:
        """What was held back, once it should have come again and did not."""
        if self.held is None or step <= max(EARLY, 2 * self.first + 1):
            return None
        held, self.held = self.held, None
        return held


@dataclass(slots=True)
class Written:
    """Into which tensors torch counted a write between all steps so far, whether or not it changed them.

    A bound on the norms of rows writes at each step, and changes the first weight when one grows too long.
    """

    between: Between = field(default_factory=Between)
    left_alone: set[int] = field(default_factory=set)
    times: Counter[int] = field(default_factory=Counter)

    def take(self, step: StepRecord) -> None:
        """Take in what was counted before one more step."""
        seen = self.between.take(step)
        if seen is not None:
            looked, wrote = seen
            self.times.update(looked.intersection(wrote))
            self.left_alone |= looked.difference(wrote)

    def always(self, tensors: Iterable[int], times: int = EARLY) -> bool:
        """Whether all of these were written each time they were looked at, and that ``times`` or more."""
        return all(one not in self.left_alone and self.times[one] >= times for one in tensors)
