"""One series of logged values, followed from its first match on.

What it shows is said as :class:`Shown`, and the rule makes findings of that.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from ....core.coverage import Coverage
from .departure import Alike, Odd, alike, jump, spaced_evenly
from .fitting import (
    MAX_POINTS,
    MIN_EXACT,
    Hypothesis,
    Point,
    Prediction,
    Tables,
    fit,
    fit_exact,
    fit_multiple,
    is_usual,
)
from .losses import Losses
from .relations import VALUE, Relation
from .single import Singles, is_apart

MAX_KEPT = 512
MAX_WAITING = 64
MAX_AHEAD = 8192
"""The same while the process may still tell of them: what is in a file may be read before."""
MAX_TRIED = 400
MAX_ODD = 64
MIN_BEFORE = 16
LOST_AFTER = 32
UNEXPLAINED = "the last values of a series are not what was computed, and too few to call it lost"
REFIT_AT = (8, 16, 32)
LOST_RESTED_AFTER = 256
REFIT_RESTED_AT = (*REFIT_AT, 64, 128, LOST_RESTED_AFTER)
"""The same where most steps are not known: the explanation may lie among those, and show itself late."""
MIN_KNOWN = 64
MIN_IDENTICAL = 3

Sources = Callable[[], Sequence[Losses]]
# Where single values are looked at: what the program may put in the place of one, None if that is anything.
Bounds = Callable[[], Collection[float] | None]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a series shows. ``kind``:

    ``multiple``: all of it is a constant multiple of what it should be; ``changed``: a factor or difference
    that many values in a row, up to the newest one, share; ``scattered``: one shared by values here and
    there, by which the report moves; ``undecided``: the same where it may be the loss that moves;
    ``weighted``: a factor by which the computed loss moved, not the reported one; ``lost``: no longer
    explained by anything; ``single``: a few values that are not what was
    computed, where all others are exactly that.
    """

    kind: str
    hypothesis: Hypothesis
    first: Odd
    count: int
    alike: Alike | None = None


class Series:
    """Follows one key of one file."""

    def __init__(
        self, path: str, key: str, pid: int, tables: Tables, sources: Sources, bounds: Bounds | None = None
    ) -> None:
        self.path = path
        self.key = key
        self.pid = pid
        self.held = False
        self.matched = 0
        self.count = 0
        self._tables = tables
        self._sources = sources
        self._points: deque[Point] = deque(maxlen=MAX_KEPT)
        self._waiting: deque[Point] = deque()
        self._prediction: Prediction | None = None
        self._before: deque[float] = deque(maxlen=MAX_ODD)
        self._enough = REFIT_AT[0]
        self._run: list[Odd] = []
        self._odd: deque[Odd] = deque(maxlen=MAX_ODD)
        self._bounds = bounds
        self._singles = Singles(tables)
        self._next_try = MIN_EXACT if bounds is not None else REFIT_AT[0]
        self._done = 0
        self._parts = 0
        self._told = False
        self._told_single = self._told_undecided = False
        self.newest_match = -1

    @property
    def hypothesis(self) -> Hypothesis | None:
        """What explains it now, None while nothing does."""
        return self._prediction.hypothesis if self._prediction is not None else None

    @property
    def ever(self) -> bool:
        """Whether it was ever found to report the loss."""
        return self.matched > 0

    def take(self, step: int | None, low: float, high: float, coverage: Coverage) -> Iterator[Shown]:
        """One more logged value."""
        point = Point(self.count, step, low, high)
        self.count += 1
        self._points.append(point)
        self._singles.came(point)
        if self._prediction is not None:
            yield from self._follow(point, coverage)
        elif self.count >= self._next_try:
            self._next_try *= 2
            yield from self._fit(coverage)

    def losses_came(self, coverage: Coverage) -> Iterator[Shown]:
        """The losses that a hypothesis rests on have grown."""
        prediction = self._prediction
        while self._waiting and prediction is not None:
            place = prediction.hypothesis.line.place(self._waiting[0])
            if place is not None and place >= prediction.hypothesis.losses.end:
                return
            yield from self._judge(self._waiting.popleft(), place, coverage)
            prediction = self._prediction

    def finish(self, coverage: Coverage) -> Iterator[Shown]:
        """The run is over: what was never explained is tried once more, with all losses there."""
        yield from self.losses_came(coverage)
        if self._prediction is not None and len(self._waiting) >= REFIT_AT[0]:
            yield from self._refit_waiting(coverage)
        if self._prediction is None:
            yield from self._fit(coverage)
        if self.hypothesis is not None:
            yield from self._stood_alone(self.hypothesis, self._singles.last())
            if len(self._run) >= REFIT_AT[0] and not self._told:
                # Too few to say that the report is lost, and no reason to count them as explained.
                coverage.checked = max(coverage.checked - len(self._run), 0)
                coverage.skip(UNEXPLAINED, len(self._run))
        self._leave(self.count, coverage)

    # --- finding a hypothesis --------------------------------------------------------------------

    def _fit(self, coverage: Coverage) -> Iterator[Shown]:
        points = list(self._points)
        sources = self._sources()
        found = fit(points, sources, self._tables)
        if found is None and not self.ever:
            found = fit(points[:MAX_POINTS], sources, self._tables)
        if found is None and self._bounds is not None:
            found = fit_exact(points, sources, self._tables)
        shown: list[Shown] = []
        if found is None:
            found = fit_multiple(points, sources, self._tables)
            if found is None:
                return
            earlier = self._was_identical(found, points)
            if earlier is not None:
                found, self._enough = earlier, MIN_IDENTICAL
            elif is_usual(found.factor, found.slack):
                coverage.skip(f"{self.key} is {found.factor:g} times {found.relation.describe()}"[:120])
            else:
                shown.append(self._multiple(found, points))
        self._adopt(found)
        yield from (one for one in shown if not self._told)
        self._told = self._told or bool(shown)
        self._leave(points[0].ordinal, coverage)
        for point in points:
            if point.ordinal >= self._done:
                yield from self._follow(point, coverage)

    def _leave(self, until: int, coverage: Coverage) -> None:
        """Values before ``until`` that were not judged will not be."""
        if self.ever and until > self._done:
            coverage.miss(until - self._done, "nothing that was computed explains the value")
            self._done = until

    def _was_identical(self, found: Hypothesis, points: Sequence[Point]) -> Hypothesis | None:
        """The hypothesis without its factor, when some of the values before fit it so."""
        plain = replace(found, factor=1.0, slack=0.0)
        prediction = Prediction(plain)
        same = 0
        for point in points:
            step = plain.line.place(point)
            value = prediction.at(step) if step is not None and step >= 0 else math.nan
            width = point.high - point.low + 2 * abs(value) * plain.tolerance
            precise = width < 0.01 * abs(value) * abs(found.factor - 1)
            same += math.isfinite(value) and precise and plain.explains(point, value)
        return plain if same >= MIN_IDENTICAL else None

    def _multiple(self, found: Hypothesis, points: Sequence[Point]) -> Shown:
        prediction = Prediction(replace(found, factor=1.0))
        odds = []
        for point in points:
            step = found.line.place(point)
            value = prediction.at(step) if step is not None and step >= 0 else math.nan
            if step is not None and math.isfinite(value) and found.explains(point, found.factor * value):
                odds.append(Odd(step, point, value))
        return Shown("multiple", found, odds[0], len(odds), Alike(True, found.factor, tuple(odds)))

    def _adopt(self, hypothesis: Hypothesis) -> None:
        self._prediction = Prediction(hypothesis)
        self._run.clear()
        self._odd.clear()
        self._singles.forget()

    # --- following it ----------------------------------------------------------------------------

    def _follow(self, point: Point, coverage: Coverage) -> Iterator[Shown]:
        prediction = self._prediction
        if prediction is None:
            return
        place = prediction.hypothesis.line.place(point)
        if self._waiting or (place is not None and place >= prediction.hypothesis.losses.end):
            self._waiting.append(point)
            losses = prediction.hypothesis.losses
            comes = not losses.ended and (place is None or place < losses.end + MAX_AHEAD)
            if len(self._waiting) > (MAX_AHEAD if comes else MAX_WAITING):
                yield from self._refit_waiting(coverage)
            return
        yield from self._judge(point, place, coverage)

    def _refit_waiting(self, coverage: Coverage) -> Iterator[Shown]:
        """Values about steps that do not come: counted anew, or of a process that came after."""
        waiting = list(self._waiting)
        self._waiting.clear()
        found = fit(waiting, self._sources(), self._tables, self._factors())
        if found is None:
            coverage.skip("values are about steps that were not seen")
            self._prediction, self._done, self._next_try = None, waiting[0].ordinal, self.count
            return
        self._adopt(found)
        for point in waiting:
            yield from self._follow(point, coverage)

    def _factors(self) -> tuple[float, ...]:
        known = self.hypothesis
        return (1.0,) if known is None or known.factor == 1.0 else (known.factor, 1.0)

    def _judge(self, point: Point, place: int | None, coverage: Coverage) -> Iterator[Shown]:
        prediction = self._prediction
        if prediction is None:
            return
        self._done = point.ordinal + 1
        if place is None or place < prediction.hypothesis.losses.start:
            coverage.count(checked=False, reason="the losses of the step are not kept, or it is no step")
            return
        losses = prediction.hypothesis.losses
        expected = prediction.at(place)
        if losses.rested and not math.isfinite(expected):
            if losses.parts(place) and math.isfinite(losses.value(place)):
                coverage.count(checked=False, reason="another step that the value is made of was passed over")
            else:
                coverage.pass_over()
            return
        if not (math.isfinite(point.low) and math.isfinite(expected)):
            both = not math.isfinite(point.low) and not math.isfinite(expected)
            coverage.count(checked=both, reason="" if both else "a loss is not a finite number")
            return
        coverage.count(checked=True)
        if prediction.hypothesis.explains(point, expected):
            self.matched += 1
            self.newest_match = place
            self._parts = prediction.hypothesis.losses.parts(place)
            self._run.clear()
            self._before.append(expected)
            yield from self._stood_alone(prediction.hypothesis, self._singles.matched(point))
            return
        odd = Odd(place, point, expected)
        self._run.append(odd)
        self._singles.departed(odd)
        # Divided by another number than that of its micro-batches, as at the end of an epoch: proves nothing.
        if prediction.hypothesis.losses.parts(place) == self._parts:
            self._odd.append(odd)
        if len(self._run) <= REFIT_AT[0] and self._starts_anew():
            return
        yield from self._departed(prediction.hypothesis, coverage)

    def _stood_alone(self, hypothesis: Hypothesis, odds: Sequence[Odd]) -> Iterator[Shown]:
        """Odd values among exact ones: the first is shown if nothing else that was computed explains them."""
        plain = hypothesis.relation == VALUE and hypothesis.factor == 1.0
        if not odds or self._bounds is None or not plain or self._told or self._told_single:
            return
        sources, bounds = self._sources(), self._bounds()
        if bounds is not None and all(self._singles.is_unexplained(odd, sources, bounds) for odd in odds):
            self._told_single = True
            yield Shown("single", hypothesis, odds[0], len(odds))

    def _starts_anew(self) -> bool:
        """Whether a running mean was begun anew just before the odd values, as at an epoch's start, or is
        one of the last so many losses, which are now that many.
        """
        prediction = self._prediction
        if prediction is None or prediction.hypothesis.relation.kind != "running" or len(self._run) < 2:
            return False
        first, second = self._run[0].step, self._run[1].step
        before = max(first - (second - first), 0)
        hypotheses = [prediction.restarted(origin).hypothesis for origin in range(before, first + 1)]
        hypotheses += [
            replace(prediction.hypothesis, relation=Relation("rolling", width=width))
            for width in range(max(before, 1), first + 1)
        ]
        for hypothesis in hypotheses[:MAX_TRIED]:
            tried = Prediction(hypothesis)
            if all(hypothesis.explains(one.point, tried.at(one.step)) for one in self._run):
                self._prediction = tried
                self._run.clear()
                return True
        return False

    def _departed(self, hypothesis: Hypothesis, coverage: Coverage) -> Iterator[Shown]:
        length, rested = len(self._run), hypothesis.losses.rested
        if length in (REFIT_RESTED_AT if rested else REFIT_AT):
            points = [one.point for one in self._run]
            if rested:  # with those that could not be judged: counted in another way they could
                points = [point for point in self._points if point.ordinal >= points[0].ordinal]
            found = fit(points, self._sources(), self._tables, self._factors())
            if found is not None:
                self.matched += length
                self._adopt(found)
                for point in points:
                    place = found.line.place(point)
                    if place is not None and self._prediction is not None:
                        self._prediction.at(place)
                return
        if self._told or self.matched < self._enough:
            return
        same = alike(tuple(self._odd), hypothesis.tolerance)
        if same is not None and self._bounds is not None and not any(map(is_apart, same.odds)):
            # A norm that the program computes itself, by other arithmetic.
            same = None
        if same is not None:
            yield from self._shared(hypothesis, same)
        elif length == (LOST_RESTED_AFTER if rested else LOST_AFTER) and self.matched >= MIN_BEFORE:
            coverage.skip("a series is no longer explained by the loss")
            if not rested or hypothesis.losses.known(MAX_KEPT) >= MIN_KNOWN:
                yield Shown("lost", hypothesis, self._run[0], length)
            self._prediction = None
            self._next_try = self.count * 2
        elif length == 1:
            coverage.skip("single values are not explained by the loss")

    def _shared(self, hypothesis: Hypothesis, same: Alike) -> Iterator[Shown]:
        """The odd values share a factor or a difference: whether it is the report that moved."""
        steps = {one.step for one in same.odds}
        row = [one for one in self._run if one.step in steps]
        if len(self._run) >= REFIT_AT[0] > len(row):
            return
        in_a_row = len(row) >= REFIT_AT[0]
        kind = "changed" if in_a_row else "scattered"
        if same.times:
            before = list(self._before)[-8:] if in_a_row else list(self._before)
            after = row[:8] if in_a_row else same.odds
            moved = jump(before, [one.predicted for one in after])
            usual = is_usual(same.amount, hypothesis.tolerance)
            # A usual factor that comes and goes is no loss scale that grew.
            regular = _regular(same, hypothesis)
            excused = usual and moved.is_undecided(same.amount) and (in_a_row or regular)
            if moved.is_the_programs(same.amount) or excused:
                kind = "weighted"
            elif not in_a_row and not moved.is_the_reports(same.amount):
                kind = "undecided"
            if kind == "weighted" and usual and in_a_row:
                # A loss scale grew, or the micro-batches of a step became more: followed as such.
                self._adopt(replace(hypothesis, factor=hypothesis.factor * same.amount))
                return
        if kind == "scattered" and _regular(same, hypothesis):
            kind = "undecided"
        if kind == "undecided" and self._told_undecided:
            return
        # What cannot be told now may be later, when more values have departed.
        self._told, self._told_undecided = kind != "undecided", True
        yield Shown(kind, hypothesis, row[0] if in_a_row else same.odds[0], len(same.odds), same)


def _regular(same: Alike, hypothesis: Hypothesis) -> bool:
    return spaced_evenly([one.step for one in same.odds], complete=not hypothesis.losses.rested)
