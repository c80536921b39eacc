"""Did a series of numbers leave its way? A sequential test with a stated rate of false alarms.

Each value is compared with a level that follows the series slowly. How far it lies off is ranked among the
distances of the last ones: the share of those that were at least as large is a p-value, which no scale or
distribution of the noise changes. A p-value becomes a bet, an e-value ``k * p ** (k - 1)``, whose mean while
nothing changes is at most 1 (a mixture of two ``k``), and the bets add up as in the rule of Shiryaev and
Roberts, ``R = (R + 1) * e``. While the distances are exchangeable, the mean number of values up to a false
alarm is at least the threshold (Shin, Ramdas and Rinaldo, "E-detectors", 2022). Real series are only nearly
so, which is why no verdict rests on it; one that crosses its level too seldom (of noise, every other value
does) is not tested while it does.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from math import isfinite, log, nan

THRESHOLD = 100_000.0
"""Values between two false alarms, on average and at least."""
KEPT = 256
LEARNED = 48
FOLLOWS = 0.05
FOLLOWS_APART = 0.2
"""The same of values that lie some dozens of steps apart."""
FAST = 0.3
BETS = (0.2, 0.5)
CROSSES = 0.3


def measure(value: float) -> float:
    """What a loss or a norm is tested as: its logarithm, not a number where it has none."""
    return log(value) if 0.0 < value < 1e300 else nan


class Course:
    """One series of which stretches are not seen.

    Stretches without a hole are one series to test, begun anew at each hole; the first values after holes
    are another: noise is the same in both, the way is not.
    """

    def __init__(self) -> None:
        self._dense, self._apart = Shift(), Shift(FOLLOWS_APART)
        self._last = -1

    def add(self, step: int, value: float) -> float | None:
        """One more value; the level that the series has left with it, None when it is on its way."""
        hole, self._last = self._last >= 0 and step != self._last + 1, step
        left: float | None = None
        if hole:
            level = self._apart.level
            left = level if self._apart.add(value) else None
            self._dense = Shift()
        level = self._dense.level
        return level if self._dense.add(value) else left


class Shift:
    """One series without holes. Keeps 256 distances; a value costs some microseconds.

    ``follows``: by how much of its distance from the level a value moves it.
    """

    def __init__(self, follows: float = FOLLOWS) -> None:
        self._follows = follows
        self._begin(None)

    def _begin(self, level: float | None) -> None:
        self._level = level
        self._seen = 0
        self._order: deque[float] = deque()
        self._sorted: list[float] = []
        self._evidence = 0.0
        self._above = False
        self._crossed: deque[bool] = deque(maxlen=KEPT)
        self._crossings = 0

    @property
    def level(self) -> float | None:
        """What the next value is compared with; None before there was any."""
        return self._level

    def add(self, value: float) -> bool:
        """One more value; True when the series has left its way, which begins the test anew there.

        What is not finite is passed over: that is not for this test to tell.
        """
        if not isfinite(value):
            return False
        if self._level is None:
            self._level = value
            return False
        distance, above = abs(value - self._level), value > self._level
        # A training falls fast at first: there the level must keep up.
        self._level += max(self._follows, FAST / (1.0 + self._seen / 16.0)) * (value - self._level)
        self._seen += 1
        if self._seen > LEARNED and self._crossings >= CROSSES * len(self._crossed):
            self._evidence = (self._evidence + 1.0) * self._bet(distance)
        if self._evidence >= THRESHOLD:
            self._begin(value)
            return True
        self._keep(distance, crossed=above != self._above)
        self._above = above
        return False

    def _bet(self, distance: float) -> float:
        """The e-value of a distance among those kept."""
        as_far = len(self._sorted) - bisect_left(self._sorted, distance)
        share = (1.0 + as_far) / (1.0 + len(self._sorted))
        bets: list[float] = [k * share ** (k - 1.0) for k in BETS]
        return sum(bets) / len(bets)

    def _keep(self, distance: float, *, crossed: bool) -> None:
        if len(self._crossed) == KEPT:
            self._crossings -= self._crossed[0]
        self._crossed.append(crossed)
        self._crossings += crossed
        self._order.append(distance)
        insort(self._sorted, distance)
        if len(self._order) > KEPT:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]
