"""Numbers of a chart: what to draw of 100,000 steps so that no peak gets lost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from ..core.summary import StepPoint

Dot: TypeAlias = "tuple[int, float]"
PHASES = ("data", "forward", "backward", "optimizer", "other")
_HUGE = 1e200
_LONGEST = 2**62


@dataclass(frozen=True, slots=True)
class Curve:
    """Drawable parts of one rank's series: a part ends where a value is missing or not finite.

    ``lost`` are the steps whose value was NaN or infinite, at most one per bucket.
    """

    rank: int
    parts: tuple[tuple[Dot, ...], ...]
    lost: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """The slowest step among ``first`` … ``last``: ``parts`` are its phases in ns in the order of PHASES."""

    first: int
    last: int
    step: int
    total: int
    parts: tuple[int, ...]


def by_rank(points: Iterable[StepPoint]) -> dict[int, list[StepPoint]]:
    """Points of each rank in the order of their steps; ranks in ascending order."""
    ranks: dict[int, list[StepPoint]] = {}
    for point in points:
        ranks.setdefault(point.rank, []).append(point)
    return {rank: sorted(ranks[rank], key=lambda point: point.step) for rank in sorted(ranks)}


def curve(rank: int, values: Sequence[tuple[int, float | None]], buckets: int) -> Curve:
    """At most two values per bucket, its least and its greatest, so that every spike is still there."""
    size = max(1, -(-len(values) // max(1, buckets)))
    keep_all = len(values) <= 2 * buckets
    parts: list[list[Dot]] = [[]]
    lost: list[int] = []
    for start in range(0, len(values), size):
        bucket = values[start : start + size]
        broken = [step for step, value in bucket if value is not None and not math.isfinite(value)]
        lost += broken if keep_all else broken[:1]
        if keep_all or any(value is None or not math.isfinite(value) for _, value in bucket):
            _append(parts, bucket)
        else:
            finite = [(step, bounded(value)) for step, value in bucket if value is not None]
            ends = {min(finite, key=_value), max(finite, key=_value)}
            parts[-1] += sorted(ends)
    # A bucket with holes was kept whole above; a series that is mostly holes is thinned once more.
    kept = [_thin(part, 4 * buckets) for part in parts if part][: 2 * buckets]
    return Curve(rank, tuple(kept), tuple(lost[: 2 * buckets]))


def _append(parts: list[list[Dot]], bucket: Sequence[tuple[int, float | None]]) -> None:
    for step, value in bucket:
        if value is not None and math.isfinite(value):
            parts[-1].append((step, bounded(value)))
        elif parts[-1]:
            parts.append([])


def _thin(part: list[Dot], most: int) -> tuple[Dot, ...]:
    if len(part) <= most:
        return tuple(part)
    return tuple(part[:: -(-len(part) // most)])


def _value(dot: Dot) -> float:
    return dot[1]


def bounded(value: float) -> float:
    """``value`` within what a scale can hold without overflow."""
    return min(max(value, -_HUGE), _HUGE)


def envelope(
    ranks: dict[int, list[StepPoint]], low: int, high: int, buckets: int
) -> list[tuple[int, float, float, float]]:
    """``(step, least, median, greatest)`` loss over all ranks, for each bucket of steps that has one."""
    width = max(1, -(-(high - low + 1) // max(1, buckets)))
    groups: dict[int, list[float]] = {}
    for points in ranks.values():
        for point in points:
            if point.loss is not None and math.isfinite(point.loss):
                groups.setdefault((point.step - low) // width, []).append(bounded(point.loss))
    return [
        (low + at * width, min(values), median(values), max(values)) for at, values in sorted(groups.items())
    ]


def bars(points: Sequence[StepPoint], most: int) -> list[Bar]:
    """At most ``most`` bars over ``points`` of one rank, each the slowest step of its stretch."""
    size = max(1, -(-len(points) // max(1, most)))
    made = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        slowest = max(stretch, key=lambda point: sum(phases(point)))
        parts = phases(slowest)
        made.append(Bar(stretch[0].step, stretch[-1].step, slowest.step, sum(parts), parts))
    return made


def phases(point: StepPoint) -> tuple[int, ...]:
    """The step's time by phase; what no known phase explains counts as ``other``."""
    known = [min(max(0, point.phases.get(name, 0)), _LONGEST) for name in PHASES[:-1]]
    return (*known, max(0, min(point.ns, _LONGEST) - sum(known)))


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers within ``low`` … ``high``, about ``most`` of them."""
    if high - low < 1e-290:
        return [low]
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [at * step for at in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten within ``low`` … ``high`` (both positive), with 2 and 5 between when there is room."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, -(-(last - first) // max(1, most)))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    values = [factor * 10.0**power for power in range(first, last + 1, stride) for factor in factors]
    return [value for value in values if low * 0.999 <= value <= high * 1.001] or [low, high]
