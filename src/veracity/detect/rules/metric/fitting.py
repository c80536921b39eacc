"""Which relation to the computed losses explains a series of logged values, and whether that can be chance.

A hypothesis is a source of losses, a relation, a factor, and a line that leads from a logged value to its
step: from the step number written beside it, or from its place in the series. Each of the last values votes
for the lines on which it would be explained; the line with the most votes is taken when the odds that so
many values lie there by chance are below ``MAX_ODDS``. The chance of one value is the width of its interval
(printed digits and the program's arithmetic) over the usual distance of a loss from the middle of its
neighbours; the odds multiply these, times the number of ways to choose the explained values, times the
number of hypotheses there are.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median

from .losses import Losses
from .relations import EXACT, ROLLING, SMOOTHED, VALUE, Average, Relation, plain, sequence

MIN_MATCHES = 8
MIN_EXACT = 3
MOST_EXACT = 0.7
MIN_RATIO_MATCHES = 12
MOST = 0.9
PRECISE = 1e-3
MAX_POINTS = 32
MAX_RESTED = 512
"""Points that are looked at where most steps were passed over."""
MAX_STEPS = 4096
MAX_HITS = 64
FEW_HITS = 4
MAX_ODDS = 1e-9
STRIDES = (1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 128, 200, 250, 256, 500, 512, 1000)
LINES = MAX_STEPS * len(STRIDES) * (2 + len(ROLLING) + len(SMOOTHED)) * 2
# Of the values themselves, by one stride: at whatever step of a dozen sources, or at the step written beside.
LINES_EXACT = MAX_STEPS * 2 * 12
LINES_AT_ONCE = 2 * 2 * 12


@dataclass(frozen=True, slots=True)
class Point:
    """A logged value: its place in the series, its step, and the interval it stands for."""

    ordinal: int
    step: int | None
    low: float
    high: float

    @property
    def middle(self) -> float:
        """The middle of the interval."""
        return (self.low + self.high) / 2


@dataclass(frozen=True, slots=True)
class Line:
    """From a logged value to its step: ``shift + stride * (key - first) / unit``."""

    by_step: bool
    first: int
    unit: int
    stride: int
    shift: int

    def place(self, point: Point) -> int | None:
        """The step (of the optimizer, from 0) that the value is about; None when it lies between two."""
        key = point.step if self.by_step else point.ordinal
        if key is None:
            return None
        steps, rest = divmod(self.stride * (key - self.first), self.unit)
        return None if rest else self.shift + steps


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """``value = factor * relation(losses up to line(value))``; ``slack`` is the factor's relative error."""

    losses: Losses
    relation: Relation
    line: Line
    factor: float = 1.0
    slack: float = 0.0

    @property
    def tolerance(self) -> float:
        """The relative error allowed beyond what the printed digits leave open."""
        return self.relation.tolerance + self.slack

    def explains(self, point: Point, predicted: float) -> bool:
        """Whether the value is what was predicted, as far as its digits go."""
        error = abs(predicted) * self.tolerance
        return point.low - error <= predicted <= point.high + error


@dataclass(slots=True)
class Prediction:
    """A hypothesis at work: values come in order, each at a later step."""

    hypothesis: Hypothesis
    last: int = -1
    _average: Average | None = field(default=None)

    def at(self, step: int) -> float:
        """What should have been logged about ``step``; NaN when it is not known."""
        wanted, losses = self.hypothesis.relation, self.hypothesis.losses
        if wanted.kind in ("smoothed", "unbiased"):
            if self._average is None or step < self.last:
                self._average = Average(wanted, losses)
            value = self._average.at(step)
        else:
            before = self.last if 0 <= self.last < step else step - wanted.width
            value = plain(wanted, losses, step, before)
        self.last = step
        return self.hypothesis.factor * value

    def restarted(self, origin: int) -> Prediction:
        """The same for a running mean that begins anew at ``origin``."""
        relation = replace(self.hypothesis.relation, origin=origin)
        return Prediction(replace(self.hypothesis, relation=relation))


class Tables:
    """Values of a relation in order of size, for looking up the steps at which it took one.

    Made once per state of the losses: clear it when one was added.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[int, Relation, int], Table] = {}

    def of(self, losses: Losses, relation: Relation, lag: int = 0) -> Table:
        """The table of a relation, or of its ratio to itself ``lag`` steps before."""
        key = id(losses), relation, lag
        if key not in self._made:
            first = max(losses.start, losses.end - MAX_STEPS)
            values = sequence(relation, losses, first)
            if lag:
                values = [
                    values[at] / values[at - lag] if at >= lag and values[at - lag] > 0 else math.nan
                    for at in range(len(values))
                ]
            self._made[key] = Table(first, values)
        return self._made[key]

    def clear(self) -> None:
        """The losses have changed."""
        self._made.clear()


class Table:
    """A sequence by step, and the steps in order of its values."""

    def __init__(self, first: int, values: list[float]) -> None:
        self.first = first
        self.values = values
        self._known = [at for at, value in enumerate(values) if math.isfinite(value)]
        self._steps = sorted(self._known, key=values.__getitem__)
        self._sorted = [values[at] for at in self._steps]

    def __len__(self) -> int:
        """How many steps have a value."""
        return len(self._sorted)

    def steps(self, low: float, high: float) -> list[int]:
        """Steps whose value lies there; empty when there are so many that they tell nothing."""
        begin, end = bisect_left(self._sorted, low), bisect_right(self._sorted, high)
        return [self.first + at for at in self._steps[begin:end]] if end - begin <= MAX_HITS else []

    def holds(self, low: float, high: float) -> bool:
        """Whether any step's value lies there."""
        return bisect_left(self._sorted, low) < bisect_right(self._sorted, high)

    def value(self, step: int) -> float:
        """The value at a step, NaN when it is not there."""
        at = step - self.first
        return self.values[at] if 0 <= at < len(self.values) else math.nan

    def distance(self, steps: Sequence[int], stride: int) -> float:
        """How far values there usually lie from the middle of their neighbours', 0 when it is not known.

        What a smooth curve does by itself is no surprise: it fits many relations, moved a little.
        """
        found = [
            abs(self.value(step) - (self.value(step - stride) + self.value(step + stride)) / 2)
            for step in steps
        ]
        known = [one for one in found if math.isfinite(one)]
        if not known:
            known = [one for one in map(self._from_known, steps) if math.isfinite(one)]
        return median(known) if known else 0.0

    def _from_known(self, step: int) -> float:
        """The same where most steps are not known: from between the nearest known ones on either side.

        Over a gap a curve bends away in proportion to its width: as much less is believed.
        """
        at = bisect_left(self._known, step - self.first)
        if not 0 < at < len(self._known) - 1 or self._known[at] != step - self.first:
            return math.nan
        before, here, after = self._known[at - 1 : at + 2]
        share = (here - before) / (after - before)
        between = (1 - share) * self.values[before] + share * self.values[after]
        return abs(self.values[here] - between) * 2 / (after - before)


@dataclass(frozen=True, slots=True)
class Axis:
    """The keys of the points, as distances from the first in units of their greatest common divisor."""

    by_step: bool
    first: int
    unit: int
    keys: tuple[int, ...]

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps per unit that are tried: the key's own unit first."""
        return (self.unit, *(one for one in STRIDES if one != self.unit)) if self.by_step else STRIDES


def axes(points: Sequence[Point]) -> Iterator[Axis]:
    """By the steps written beside the values when they rise, and by the values' places."""
    steps = [point.step for point in points if point.step is not None]
    places = [point.ordinal for point in points]
    seen = None
    for by_step, keys in ((True, steps), (False, places)):
        gaps = [after - before for before, after in pairwise(keys)]
        if len(keys) != len(points) or not gaps or min(gaps) <= 0:
            continue
        unit = math.gcd(*gaps)
        normal = tuple((key - keys[0]) // unit for key in keys)
        if normal != seen:
            seen = normal
            yield Axis(by_step, keys[0], unit, normal)


def fit(
    points: Sequence[Point], sources: Sequence[Losses], tables: Tables, factors: Sequence[float] = (1.0,)
) -> Hypothesis | None:
    """The hypothesis with one of these factors that explains most of the points, None when none does."""
    best: tuple[int, Hypothesis] | None = None
    for rested, newest in ((False, MAX_POINTS), (True, MAX_RESTED)):
        some = [losses for losses in sources if losses.rested == rested]
        tried = [point for point in points[-newest:] if math.isfinite(point.low)]
        if some and len(tried) >= MIN_MATCHES:
            best = _best(tried, some, tables, factors, best)
    return best[1] if best is not None else None


def _best(
    points: Sequence[Point],
    sources: Sequence[Losses],
    tables: Tables,
    factors: Sequence[float],
    best: tuple[int, Hypothesis] | None,
) -> tuple[int, Hypothesis] | None:
    """The hypothesis that explains more points than ``best``, with their number; else that one."""
    for axis in axes(points):
        for factor in factors:
            for losses in sources:
                for relation, strides in _tried(axis, losses):
                    table = tables.of(losses, relation)
                    found = _vote(points, axis, strides, table, factor, relation.tolerance)
                    if found is None or (best is not None and found[0] <= best[0]):
                        continue
                    best = found[0], Hypothesis(losses, relation, found[1], factor)
                    if found[0] == len(points):
                        return best
    return best


def fit_exact(points: Sequence[Point], sources: Sequence[Losses], tables: Tables) -> Hypothesis | None:
    """The hypothesis that few points are the values themselves, to four digits and more each.

    ``MIN_EXACT`` of them, and most of all: such values meet by chance as seldom as many less precise ones.
    """
    points = [point for point in points[-MAX_POINTS:] if math.isfinite(point.low)]
    exact = sum(point.high - point.low < PRECISE * abs(point.middle) for point in points)
    if len(points) < MIN_EXACT or exact < len(points):
        return None
    enough = max(MIN_EXACT, math.ceil(MOST_EXACT * len(points)))
    for axis in axes(points):
        for losses in sources:
            table = tables.of(losses, VALUE)
            strides = axis.strides[:1]
            found = _vote(points, axis, strides, table, 1.0, VALUE.tolerance, enough, LINES_EXACT)
            if found is not None:
                return Hypothesis(losses, VALUE, found[1])
    return None


def _tried(axis: Axis, losses: Losses) -> Iterator[tuple[Relation, tuple[int, ...]]]:
    """Relations with the strides for which each is looked at, the likely ones first."""
    yield VALUE, axis.strides
    for stride in axis.strides:
        sensible = not axis.by_step or axis.unit % stride == 0
        if sensible and 1 < stride <= MAX_STEPS // MIN_MATCHES:
            yield Relation("window", stride), (stride,)
    if losses.start == 0:
        yield Relation("running"), axis.strides
    for relation in (*ROLLING, *SMOOTHED):
        yield relation, axis.strides


def _vote(
    points: Sequence[Point],
    axis: Axis,
    strides: Sequence[int],
    table: Table,
    factor: float,
    tolerance: float,
    enough: int = MIN_MATCHES,
    lines: int = LINES,
) -> tuple[int, Line] | None:
    if len(table) < enough:  # of a line, no two points lie at one step
        return None
    found: list[tuple[int, list[int]]] = []
    for point, key in zip(points, axis.keys, strict=True):
        low, high = point.low / factor, point.high / factor
        error = max(abs(low), abs(high)) * tolerance
        hits = table.steps(low - error, high + error)
        if hits:
            found.append((key, hits))
    if len(found) < enough:  # a point votes for a line once at most
        return None
    votes: Counter[tuple[int, int]] = Counter()
    for key, hits in found:
        # A value that fits many steps says little about an unusual stride, and costs much.
        for stride in strides if len(hits) <= FEW_HITS else strides[:1]:
            for step in hits:
                votes[stride, step - stride * key] += 1
    (stride, shift), count = max(votes.items(), key=lambda one: (one[1], -strides.index(one[0][0])))
    if count < enough:
        return None
    widths, steps = [], []
    for point, key in zip(points, axis.keys, strict=True):
        value = table.value(shift + stride * key)
        error = abs(value) * tolerance
        if point.low / factor - error <= value <= point.high / factor + error:
            steps.append(shift + stride * key)
            widths.append((point.high - point.low) / factor + 2 * error)
    if lines < LINES and axis.by_step and abs(shift - axis.first) <= 1:
        lines = LINES_AT_ONCE
    if not improbable(widths, table.distance(steps, stride), len(points), lines):
        return None
    return len(steps), Line(axis.by_step, axis.first, axis.unit, stride, shift)


def improbable(widths: Sequence[float], distance: float, tried: int, lines: int = LINES) -> bool:
    """Whether it is no chance that values with these widths were all hit, out of ``tried``."""
    if not widths or distance <= 0 or not math.isfinite(distance):
        return False
    odds = math.log(math.comb(tried, len(widths))) + math.log(lines)
    odds += sum(math.log(min(1.0, max(width, 1e-300) / distance)) for width in widths)
    return odds < math.log(MAX_ODDS)


def fit_multiple(points: Sequence[Point], sources: Sequence[Losses], tables: Tables) -> Hypothesis | None:
    """A hypothesis with whatever constant factor the points share, None when they share none.

    Found by the ratios of neighbours, which no factor changes. Only for the loss itself and its means over
    the logging interval.
    """
    points = [point for point in points[-MAX_POINTS:] if point.low > 0 and math.isfinite(point.high)]
    if len(points) < MIN_RATIO_MATCHES + 1:
        return None
    for axis in axes(points):
        if axis.keys[-1] != len(points) - 1:
            continue
        for losses in sources:
            for stride in axis.strides[:2]:
                for relation in (VALUE, Relation("window", stride)):
                    line = _vote_by_ratio(points, axis, stride, tables.of(losses, relation, stride), relation)
                    found = line and _multiple(points, losses, relation, line, tables.of(losses, relation))
                    if found:
                        return found
    return None


def _vote_by_ratio(
    points: Sequence[Point], axis: Axis, stride: int, table: Table, relation: Relation
) -> Line | None:
    votes: Counter[int] = Counter()
    error = 2 * relation.tolerance
    for number, (before, point) in enumerate(pairwise(points), 1):
        for step in table.steps(point.low / before.high * (1 - error), point.high / before.low * (1 + error)):
            votes[step - stride * number] += 1
    if not votes:
        return None
    shift, count = votes.most_common(1)[0]
    if count < MIN_RATIO_MATCHES:
        return None
    return Line(axis.by_step, axis.first, axis.unit, stride, shift)


def _multiple(
    points: Sequence[Point], losses: Losses, relation: Relation, line: Line, table: Table
) -> Hypothesis | None:
    ratios = []
    steps = []
    for point in points:
        step = line.place(point)
        value = table.value(step) if step is not None else math.nan
        if step is not None and value > 0:
            steps.append(step)
            ratios.append((point.low / value, point.high / value))
    if len(ratios) < MIN_RATIO_MATCHES:
        return None
    shared = common(ratios, relation.tolerance)
    if shared is None or shared.count < max(MIN_RATIO_MATCHES, MOST * len(points)):
        return None
    width = median(high - low for low, high in ratios) / shared.middle + 2 * relation.tolerance
    if width > PRECISE:
        return None
    distance = table.distance(steps, line.stride) / max(table.value(steps[0]), 1e-300)
    if not improbable([width] * shared.count, distance, len(points)):
        return None
    slack = (shared.high - shared.low) / 2 / shared.middle
    return Hypothesis(losses, relation, line, shared.middle, slack)


@dataclass(frozen=True, slots=True)
class Common:
    """What ``count`` of several intervals share."""

    low: float
    high: float
    count: int

    @property
    def middle(self) -> float:
        """The middle of what is shared."""
        return (self.low + self.high) / 2


def common(intervals: Sequence[tuple[float, float]], relative: float) -> Common | None:
    """The place that most of the intervals cover, each widened by a relative error; None without any."""
    ends: list[tuple[float, int]] = []
    for low, high in intervals:
        error = max(abs(low), abs(high)) * relative
        # At one place, what begins there counts before what ends there.
        ends += [(low - error, 0), (high + error, 1)]
    ends.sort()
    depth, best, found = 0, 0, None
    for at, (place, closes) in enumerate(ends):
        depth += -1 if closes else 1
        if depth > best and not closes:
            best, found = depth, Common(place, ends[at + 1][0], depth)
    return found


LN2_AS_WRITTEN = 5e-4
"""Programs write it as 0.693, or 0.6931."""


def is_usual(factor: float, slack: float) -> bool:
    """Factors with an everyday reason: an integer or one over it (batches, ranks, tokens), a power of two
    (loss scaling), bits for nats.
    """
    error = slack + 2 * EXACT
    for one in (factor, 1 / factor):
        nearest = round(one)
        if 1 <= nearest <= 100_000 and abs(one - nearest) <= one * error:
            return True
        if abs(one * math.log(2) - 1) <= max(error, LN2_AS_WRITTEN):
            return True
    power = math.log2(factor)
    return abs(power) < 64 and abs(power - round(power)) <= 2 * error
