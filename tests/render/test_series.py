from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.summary import StepPoint
from veracity.render import series

VALUES = st.lists(st.one_of(st.none(), st.floats()), max_size=300)


@given(VALUES, st.integers(1, 40))
def test_a_curve_keeps_the_extremes_and_stays_small(values: list[float | None], buckets: int) -> None:
    line = series.curve(0, list(enumerate(values)), buckets)
    drawn = [value for part in line.parts for _, value in part]
    finite = [series.bounded(value) for value in values if value is not None and math.isfinite(value)]
    assert all(math.isfinite(value) for value in drawn)
    assert set(drawn) <= set(finite)
    if len(finite) == len(values) and finite:
        assert (min(drawn), max(drawn)) == (min(finite), max(finite))
        assert len(drawn) <= 2 * buckets
    if any(value is not None and not math.isfinite(value) for value in values):
        assert line.lost


def test_a_curve_breaks_where_a_value_is_missing() -> None:
    line = series.curve(3, [(0, 1.0), (1, math.nan), (2, 2.0), (3, None), (4, 3.0), (5, 4.0)], 100)
    assert line.parts == (((0, 1.0),), ((2, 2.0),), ((4, 3.0), (5, 4.0)))
    assert line.lost == (1,)


def test_bars_keep_the_slowest_step_of_each_stretch() -> None:
    points = [
        StepPoint(0, step, None, None, 10 + (90 if step == 777 else 0), {"data": 4}) for step in range(1000)
    ]
    made = series.bars(points, 60)
    assert len(made) <= 60
    slow = max(made, key=lambda bar: bar.total)
    assert (slow.step, slow.total, slow.parts) == (777, 100, (4, 0, 0, 0, 96))


def test_phases_add_up_even_when_they_claim_more_than_the_step() -> None:
    assert series.phases(StepPoint(0, 0, None, None, 5, {"data": 9, "forward": -3})) == (9, 0, 0, 0, 0)
    assert series.phases(StepPoint(0, 0, None, None, -5, {})) == (0, 0, 0, 0, 0)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=examples(300))
def test_ticks_lie_within_their_range_and_are_few(one: float, other: float) -> None:
    low, high = sorted((series.bounded(one), series.bounded(other)))
    marks = series.ticks(low, high, 5)
    assert 1 <= len(marks) <= 12
    room = (high - low) * 1e-6 + abs(high) * 1e-12
    assert all(low - room <= mark <= high + room for mark in marks)


@given(st.floats(1e-300, 1e200), st.floats(50, 1e80))
def test_log_ticks_are_few_and_positive(low: float, ratio: float) -> None:
    high = min(low * ratio, 1e200)
    marks = series.log_ticks(min(low, high), high, 5)
    assert 1 <= len(marks) <= 12
    assert all(mark > 0 for mark in marks)


def test_the_envelope_of_many_ranks() -> None:
    ranks = {rank: [StepPoint(rank, step, float(rank), None, 1) for step in range(10)] for rank in range(3)}
    assert series.envelope(ranks, 0, 9, 5) == [(step, 0.0, 1.0, 2.0) for step in range(0, 10, 2)]
