"""Wilson's interval, the rule of three and percentiles keep what they promise."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.laws.intervals import percentile, rule_of_three, wilson


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    trials = draw(st.integers(1, 5000))
    return draw(st.integers(0, trials)), trials


@given(counts())
def test_the_interval_holds_the_share_and_stays_within_bounds(pair: tuple[int, int]) -> None:
    events, trials = pair
    low, high = wilson(events, trials)
    assert 0 <= low <= events / trials + 1e-12
    assert events / trials - 1e-12 <= high <= 1
    assert low < high


@given(counts())
def test_it_is_symmetric_and_narrows_with_more_trials(pair: tuple[int, int]) -> None:
    events, trials = pair
    low, high = wilson(events, trials)
    mirrored = wilson(trials - events, trials)
    assert low == pytest.approx(1 - mirrored[1], abs=1e-9)
    more = wilson(events * 4, trials * 4)
    assert more[1] - more[0] < high - low


def test_published_values() -> None:
    # Ten of ten: the lower end is 1 / (1 + z^2 / 10), from the score test solved for the share.
    assert wilson(10, 10)[0] == pytest.approx(1 / (1 + 1.959964**2 / 10))
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="no share"):
        wilson(3, 2)


@given(st.integers(1, 100_000))
def test_the_rule_of_three_is_about_three_in_n(trials: int) -> None:
    bound = rule_of_three(trials)
    assert (1 - bound) ** trials == pytest.approx(0.05)
    assert bound <= 3 / trials


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_one_of_the_values_with_enough_below_it(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_no_values_have_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))
