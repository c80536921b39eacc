"""Single values that are not what a series reports otherwise, to all of its digits.

One value proves something only where its neighbours are the computed ones exactly, it lies where a value of
its own belongs, and nothing else that was computed explains it: not another step's (a value that was kept),
nor a mean of them, nor another source's, nor the largest norm that clipping allows, nor a round number that a
program puts in.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .departure import Odd
from .fitting import Point, Tables
from .losses import Losses
from .relations import EXACT, VALUE

MIN_EXACT = 3
# Relative: four digits that were printed, and what is far from another way of computing the same.
DIGITS = 1e-3
APART = 1e-3
ROUND_DIGITS = 3
ROUNDED = 1e-5
ALIKE = 1e-4
MAX_PENDING = 8
MAX_MEAN = 1024


def is_exact(point: Point) -> bool:
    """Whether a logged value has at least four significant digits."""
    return point.high - point.low < DIGITS * abs(point.middle)


def is_apart(odd: Odd) -> bool:
    """Whether a value is farther from the computed one than other arithmetic could bring it."""
    return abs(odd.point.middle - odd.predicted) > APART * abs(odd.predicted)


class Singles:
    """Follows the values of one series, each as the computed one or an odd one."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._exact = 0
        self._before: int | None = None
        self._pending: list[Odd] = []
        self.mixed = False

    def came(self, point: Point) -> None:
        """A value was logged: two writers of one file, or a run that begins again, repeat steps."""
        if point.step is not None:
            self.mixed = self.mixed or (self._before is not None and point.step <= self._before)
            self._before = point.step

    def matched(self, point: Point) -> list[Odd]:
        """A value is the computed one. Returns the odd ones since the last such, if they stood alone."""
        odds, self._pending = self._pending, []
        self._exact += is_exact(point)
        return odds if len(odds) == 1 and self._exact > MIN_EXACT and not self.mixed else []

    def last(self) -> list[Odd]:
        """The odd values at the end, if there are several with one factor."""
        odds = self._pending
        factors = [one.point.middle / one.predicted for one in odds if one.predicted > 0]
        alike = len(factors) > 1 and max(factors) - min(factors) <= ALIKE * abs(factors[0])
        enough = alike and len(factors) == len(odds) and self._exact >= MIN_EXACT
        return odds if enough and not self.mixed else []

    def departed(self, odd: Odd) -> None:
        """A value is not the computed one."""
        if len(self._pending) < MAX_PENDING:
            self._pending.append(odd)

    def forget(self) -> None:
        """Another explanation was found, from which the values begin anew."""
        self._exact, self._pending = 0, []

    def is_unexplained(self, odd: Odd, sources: Sequence[Losses], bounds: Collection[float]) -> bool:
        """Whether nothing that was computed gives this value, nor is it one of ``bounds``."""
        point, middle = odd.point, odd.point.middle
        if not is_exact(point) or not is_apart(odd):
            return False
        if _is_round(middle) or any(abs(middle - one) <= ROUNDED * abs(one) for one in bounds):
            return False
        if any(_has_hole(losses, odd.step) for losses in sources):
            return False  # a value of a step that was not looked at may have been kept
        error = abs(middle) * EXACT
        low, high = point.low - error, point.high + error
        return not any(
            self._tables.of(losses, VALUE).holds(low, high) or _is_mean(losses, odd.step, low, high)
            for losses in sources
        )


def _has_hole(losses: Losses, step: int) -> bool:
    """Whether some of the last steps' values are not known."""
    first = max(losses.start, step + 1 - MAX_MEAN)
    return any(losses.parts(one) == 0 for one in range(first, min(step + 1, losses.end)))


def _is_mean(losses: Losses, step: int, low: float, high: float) -> bool:
    """Whether the value is a mean over the last so many steps, as at the end of an epoch."""
    return any(low <= losses.mean(step + 1 - count, step + 1) <= high for count in range(2, MAX_MEAN))


def _is_round(value: float) -> bool:
    return abs(float(f"{value:.{ROUND_DIGITS}g}") - value) <= ROUNDED * abs(value)
