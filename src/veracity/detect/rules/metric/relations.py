"""What programs make of the loss before they log it: nothing, or one of the usual means of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .losses import Losses

EXACT = 2e-6
AVERAGED = 2e-5
"""Relative errors allowed: a number stored in 32 bits, and a mean that was summed in 32 bits."""


@dataclass(frozen=True, slots=True)
class Relation:
    """How a logged value comes from the losses up to a step.

    ``kind``: ``value``; ``window`` (mean since the value logged before, ``width`` steps when there is none);
    ``rolling`` (mean of the last ``width``); ``running`` (mean since step ``origin``); ``smoothed``
    (exponential average of ``decay`` that begins with the first loss), ``unbiased`` (the same begun with
    zero and divided by 1 - decay ** n).
    """

    kind: str
    width: int = 0
    origin: int = 0
    decay: float = 0.0

    @property
    def tolerance(self) -> float:
        """The relative error that the program's own arithmetic may have."""
        return EXACT if self.kind == "value" else AVERAGED

    def describe(self) -> str:
        """In words."""
        return {
            "value": "the loss",
            "window": "the mean loss since the value before",
            "rolling": f"the mean of the last {self.width} losses",
            "running": f"the mean loss since step {self.origin}",
            "smoothed": f"the exponential average of the loss (decay {self.decay:g})",
            "unbiased": f"the exponential average of the loss (decay {self.decay:g}, corrected)",
        }[self.kind]


VALUE = Relation("value")
ROLLING = tuple(Relation("rolling", width) for width in (10, 20, 50, 100))
SMOOTHED = tuple(
    Relation(kind, decay=decay)
    for decay in (0.9, 0.99, 0.95, 0.98, 0.999, 0.8, 0.5)
    for kind in ("smoothed", "unbiased")
)


def sequence(relation: Relation, losses: Losses, first: int) -> list[float]:
    """What the relation gives at each step from ``first`` to the newest; NaN where it is not known.

    ``first`` is not before the first loss that is kept.
    """
    if relation.kind == "value":
        return losses.values(first)
    if relation.kind in ("smoothed", "unbiased"):
        average = Average(relation, losses)
        return [average.at(step) for step in range(first, losses.end)]
    return [plain(relation, losses, step, step - relation.width) for step in range(first, losses.end)]


def plain(relation: Relation, losses: Losses, step: int, before: int) -> float:
    """What a relation other than an exponential average gives at ``step``; ``before``: the value before."""
    if relation.kind == "value":
        return losses.value(step)
    if relation.kind == "window":
        return losses.mean(before + 1, step + 1)
    if relation.kind == "rolling":
        return losses.mean(max(step + 1 - relation.width, 0), step + 1)
    return losses.mean(relation.origin, step + 1)


class Average:
    """An exponential average, followed from the first loss that is kept."""

    def __init__(self, relation: Relation, losses: Losses) -> None:
        self._relation = relation
        self._losses = losses
        self._next = losses.start
        self._sum = math.nan
        self._count = 0
        self._known = True

    def at(self, step: int) -> float:
        """The average after ``step``; steps are asked for in order, NaN for one before the last."""
        if step < self._next - 1 or not self._known:
            return math.nan
        decay = self._relation.decay
        while self._next <= step:
            value = self._losses.value(self._next)
            # What it would be after a step that nobody looked at cannot be known, nor what follows from it.
            self._known = self._losses.parts(self._next) > 0
            self._next += 1
            if not self._known:
                return math.nan
            if not math.isfinite(value):
                continue
            if self._count == 0:
                self._sum = value if self._relation.kind == "smoothed" else (1 - decay) * value
            else:
                self._sum = decay * self._sum + (1 - decay) * value
            self._count += 1
        if self._relation.kind == "smoothed" or not self._count:
            return self._sum
        return self._sum / (1 - decay**self._count)
