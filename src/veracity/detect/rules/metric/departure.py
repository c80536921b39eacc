"""Values that a series' hypothesis no longer explains: what they have in common, and which side moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, pstdev

from .fitting import Common, Point, common

MIN_ALIKE = 8
MAX_ODDS = 1e-9
NOISE = 4.0


@dataclass(frozen=True, slots=True)
class Odd:
    """A value that is not what was predicted for its step."""

    step: int
    point: Point
    predicted: float


@dataclass(frozen=True, slots=True)
class Alike:
    """Odd values that share a factor (``times``) or a difference to what was predicted."""

    times: bool
    amount: float
    odds: tuple[Odd, ...]

    def describe(self) -> str:
        """In words: ``0.95 times``, ``0.1 less than``."""
        if self.times:
            return f"{self.amount:.6g} times"
        return f"{abs(self.amount):.6g} {'more' if self.amount > 0 else 'less'} than"


def alike(odds: Sequence[Odd], tolerance: float) -> Alike | None:
    """What at least ``MIN_ALIKE`` of the odd values share, when that is no chance.

    The chance of one more value with the same factor is the width of the interval in which its factor lies,
    over how far the predicted values lie from their neighbours: a constant loss shows nothing. A shared
    factor must differ from 1 (a difference from 0) by several such widths, or it may be arithmetic of
    another precision.
    """
    ratios = [one for one in odds if one.predicted > 0 and one.point.low > 0]
    for times, some in ((True, ratios), (False, list(odds))):
        if len(some) < MIN_ALIKE:
            continue
        spans = [_span(one, times, tolerance) for one in some]
        shared = common(spans, 0.0)
        if shared is None or shared.count < MIN_ALIKE:
            continue
        same = [one for one, span in zip(some, spans, strict=True) if _covers(span, shared)]
        width = median(high - low for low, high in spans)
        spread = _spread([one.predicted for one in same], times)
        away = abs(math.log(shared.middle)) if times and shared.middle > 0 else abs(shared.middle)
        relative = width / shared.middle if times else width
        if away < NOISE * relative or spread <= 0:
            continue
        if (len(same) - 1) * math.log(min(1.0, max(relative, 1e-300) / spread)) < math.log(MAX_ODDS):
            return Alike(times, shared.middle, tuple(same))
    return None


def _span(one: Odd, times: bool, tolerance: float) -> tuple[float, float]:
    error = abs(one.predicted) * tolerance
    if times:
        return one.point.low / (one.predicted + error), one.point.high / (one.predicted - error)
    return one.point.low - one.predicted - error, one.point.high - one.predicted + error


def _covers(span: tuple[float, float], shared: Common) -> bool:
    return span[0] <= shared.middle <= span[1]


def _spread(values: Sequence[float], times: bool) -> float:
    """How far the values usually lie from the middle of their neighbours: a smooth curve shows nothing."""
    some = [math.log(value) for value in values] if times else values
    found = [
        abs(here - (before + after) / 2)
        for before, here, after in zip(some, some[1:], some[2:], strict=False)
    ]
    return median(found) if found else 0.0


def spaced_evenly(steps: Sequence[int], *, complete: bool = True) -> bool:
    """Whether the odd values come at a regular distance, as what a program does at the end of an epoch.

    Not ``complete``: between them may be others that nobody looked at.
    """
    gaps = {after - before for before, after in pairwise(steps)}
    return len(gaps) == 1 or (not complete and math.gcd(*gaps) > 1)


@dataclass(frozen=True, slots=True)
class Jump:
    """The level of what was computed before and after a departure by a factor, as logarithms.

    ``noise`` is the uncertainty of the difference.
    """

    computed: float
    noise: float

    def is_the_programs(self, factor: float) -> bool:
        """Whether it was the computed loss that jumped, by about 1 / factor, and the reported one went on.

        A loss scale, or a weight in the objective, was changed: the report is of what it was before.
        """
        size = math.log(factor)
        return abs(size) > NOISE * self.noise and abs(self.computed + size) < abs(size) / 2

    def is_the_reports(self, factor: float) -> bool:
        """Whether the computed loss went on, so that the report jumped."""
        size = math.log(factor)
        return abs(size) > NOISE * self.noise and abs(self.computed) < abs(size) / 2

    def is_undecided(self, factor: float) -> bool:
        """Whether the noise is too large to say which side jumped."""
        return abs(math.log(factor)) <= NOISE * self.noise


def jump(before: Sequence[float], after: Sequence[float]) -> Jump:
    """From computed values before and after; the noise is infinite when there are too few positive ones."""
    first = [math.log(value) for value in before if value > 0]
    second = [math.log(value) for value in after if value > 0]
    if len(first) < 4 or len(second) < 4:
        return Jump(0.0, math.inf)
    noise = math.hypot(pstdev(first) / len(first) ** 0.5, pstdev(second) / len(second) ** 0.5)
    return Jump(median(second) - median(first), 1.25 * noise)
