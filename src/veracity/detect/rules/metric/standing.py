"""How a run stands among earlier ones: is it farther from the others than each of them is?

Runs meet in pairs. In the meeting of runs a and b, both are measured against all the others: at each window
that a run has, its distance from the others' median, in units of their spread there; its score is the largest
such distance over windows, series and lengths of mean. The one with the larger score is the odder of the two.
Whatever the distribution, when runs are exchangeable each is as likely as any other to be the odder one in
all its meetings, and at most one of n + 1 runs can be: so a run is called odd by chance with a probability of
at most 1 / (n + 1). This is the argument of the jackknife+ (Barber, Candès, Ramdas and Tibshirani,
"Predictive inference with the jackknife+", 2021) at its extreme level, within conformal prediction (Vovk,
Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005).

An earlier run's score against the earlier ones without it is known before the new run begins, and a largest
distance only grows. So the new run may be asked after each window, as often as one likes: that it is ever the
odder one in all meetings is the same as that it is at its end.

Runs that ended earlier are not like one that goes on, so n counts only those that came as far, and where
fewer than ``FEWEST`` did nothing is compared.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TypeAlias

LENGTHS = (1, 4, 12)
"""Means of so many windows in a row are compared: one shows what is sudden soonest, twelve what is slow."""
FEWEST = 9
"""Earlier runs that must have come as far as a window that is compared."""
FEWEST_OTHERS = 6
"""Of these, which may have holes, so many must have the window."""
NEIGHBOURS = 3
"""Windows on either side whose spread is taken with a window's own: that of few runs is a poor guess."""
NORMAL = 1.4826
FLOOR = 1e-3
"""The least spread, relative: runs of the same seeds differ by less, in the last bits."""
LEAST = 3.0
MARGIN = 1.1
"""A run must be odder than each other by this factor, and by ``LEAST`` spreads at all."""

Profile: TypeAlias = Mapping[str, Mapping[int, float]]
"""Means of windows by series and window."""


@dataclass(frozen=True, slots=True)
class Standard:
    """What a run is measured by at one window: the others' median and spread."""

    middle: float
    spread: float


@dataclass(frozen=True, slots=True)
class Odd:
    """Where a run that is the odder one in all its meetings is farthest from the others, up to now.

    ``others`` are the earlier runs' means there, ascending; ``score`` is the distance; ``runs`` is how many
    earlier runs came as far.
    """

    series: str
    window: int
    length: int
    mean: float
    others: tuple[float, ...]
    score: float
    runs: int = 0


@dataclass(slots=True)
class _Level:
    """One series at one length of mean: the means of each earlier run, and the standards without each."""

    means: list[dict[int, float]]
    standards: dict[int, list[Standard | None]] = field(default_factory=dict)


class Standing:
    """One run among ``earlier`` ones. All that does not concern the new run is worked out at first."""

    def __init__(self, earlier: Sequence[Profile]) -> None:
        self.count = len(earlier)
        self._levels: dict[tuple[str, int], _Level] = {}
        self._own: dict[str, dict[int, float]] = {}
        self._ends: dict[str, list[int]] = {}
        names = sorted({name for profile in earlier for name in profile})
        for name in names:
            self._ends[name] = sorted(max(profile.get(name, {}), default=-1) for profile in earlier)
            for length in LENGTHS:
                level = _Level([means_of(profile.get(name, {}), length) for profile in earlier])
                level.standards = _standards(level.means)
                self._levels[name, length] = level
        self._bars = [MARGIN * max(LEAST, self._score(run)) for run in range(self.count)]
        self._scores = [0.0] * self.count
        self._farthest = Odd("", 0, 1, 0.0, (), 0.0)

    def _score(self, run: int) -> float:
        """The largest distance of an earlier run from the other earlier ones."""
        largest = 0.0
        for level in self._levels.values():
            for window, mean in level.means[run].items():
                standard = level.standards[window][run]
                if standard is not None:
                    largest = max(largest, abs(mean - standard.middle) / standard.spread)
        return largest

    def reaching(self, series: str, window: int) -> int:
        """How many earlier runs came as far."""
        ends = self._ends.get(series, [])
        return len(ends) - bisect_left(ends, window)

    def compares(self, series: str, window: int) -> bool:
        """Whether enough earlier runs came as far, and have this window."""
        level = self._levels.get((series, 1))
        enough = level is not None and self.reaching(series, window) >= FEWEST
        return enough and level is not None and any(level.standards.get(window, ()))

    def add(self, series: str, window: int, mean: float) -> Odd | None:
        """The new run's next mean; how odd the run is once it is the odder one in all meetings."""
        own = self._own.setdefault(series, {})
        own[window] = mean
        runs = self.reaching(series, window)
        if runs < FEWEST:
            return None
        for length in LENGTHS:
            level = self._levels.get((series, length))
            value = _mean_up_to(own, window, length)
            if level is None or value is None:
                continue
            largest = 0.0
            for run, standard in enumerate(level.standards.get(window, ())):
                if standard is not None:
                    score = abs(value - standard.middle) / standard.spread
                    self._scores[run] = max(self._scores[run], score)
                    largest = max(largest, score)
            if largest > self._farthest.score:
                others = tuple(sorted(means[window] for means in level.means if window in means))
                self._farthest = Odd(series, window, length, value, others, largest)
        odd = all(map(float.__gt__, self._scores, self._bars))
        return replace(self._farthest, runs=runs) if odd else None


def means_of(windows: Mapping[int, float], length: int) -> dict[int, float]:
    """Means of ``length`` windows in a row, by the last of them."""
    found = ((window, _mean_up_to(windows, window, length)) for window in windows)
    return {window: mean for window, mean in found if mean is not None}


def _mean_up_to(windows: Mapping[int, float], window: int, length: int) -> float | None:
    values = [windows[one] for one in range(window - length + 1, window + 1) if one in windows]
    return sum(values) / length if len(values) == length else None


def _standards(means: Sequence[Mapping[int, float]]) -> dict[int, list[Standard | None]]:
    """By window, the standard of all runs without each one; None where too few others have the window."""
    windows = sorted({window for run in means for window in run})
    raw = {window: _middles(means, window) for window in windows}
    found: dict[int, list[Standard | None]] = {}
    for window in windows:
        near = [raw[one] for one in range(window - NEIGHBOURS, window + NEIGHBOURS + 1) if one in raw]
        found[window] = []
        for run, here in enumerate(raw[window]):
            spreads = [one.spread for one in (middles[run] for middles in near) if one is not None]
            spread = max(FLOOR, NORMAL * median(spreads)) if spreads else FLOOR
            found[window].append(Standard(here.middle, spread) if here is not None else None)
    return found


def _middles(means: Sequence[Mapping[int, float]], window: int) -> list[Standard | None]:
    """Median, and median distance of it, of all runs but each one."""
    order = sorted((run[window], number) for number, run in enumerate(means) if window in run)
    values = [value for value, _ in order]
    found = [_middle(values)] * len(means)
    for place, (_, number) in enumerate(order):
        found[number] = _middle(values[:place] + values[place + 1 :])
    return found


def _middle(ascending: Sequence[float]) -> Standard | None:
    if len(ascending) < FEWEST_OTHERS:
        return None
    middle = median(ascending)
    return Standard(middle, median([abs(value - middle) for value in ascending]))
