"""Windows cover all steps; each mean is of eight values from the same places, whatever steps are known."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from veracity.core.windows import BORDERS, LAST_STEP, PARTS, WINDOWS, Windows, span


def filled(values: dict[int, float]) -> dict[int, float]:
    windows = Windows()
    found = [windows.add(step, value) for step, value in sorted(values.items())]
    return dict(one for one in found if one is not None)


def test_windows_lie_side_by_side_and_are_few() -> None:
    assert span(0) == (0, 7)
    assert all(before < after and (after - before) % PARTS == 0 for before, after in pairwise(BORDERS))
    assert BORDERS[-1] >= LAST_STEP
    assert WINDOWS <= 100


def test_every_step_known_fills_every_window() -> None:
    found = filled({step: float(step // 8) for step in range(64)})
    assert found == {window: float(window) for window in range(8)}


@given(st.sets(st.integers(0, 400), max_size=400))
def test_a_window_counts_where_each_part_has_a_value(steps: set[int]) -> None:
    found = filled(dict.fromkeys(steps, 1.0))
    for window in range(20):
        first, last = span(window)
        width = (last + 1 - first) // PARTS
        parts = {(step - first) // width for step in steps if first <= step <= last}
        assert (window in found) == (len(parts) == PARTS)


@given(st.lists(st.floats() | st.just(math.nan), max_size=200))
def test_what_is_not_finite_leaves_a_hole(values: list[float]) -> None:
    found = filled(dict(enumerate(values)))
    assert all(not math.isnan(mean) for mean in found.values())
    for window in found:
        first, last = span(window)
        assert sum(math.isfinite(value) for value in values[first : last + 1]) >= PARTS


def test_one_wild_value_moves_no_window() -> None:
    values = {step: 1.0 + step % 2 for step in range(8)}
    assert filled(values) == {0: 1.5}
    assert filled({**values, 1: 1e300}) == {0: 1.5}
    assert filled({**values, 0: -1e300}) == {0: 1.5}


def test_steps_out_of_order_or_of_range_are_passed_over() -> None:
    windows = Windows()
    for step in (*range(7), 6, 0, -1, LAST_STEP * 10):
        assert windows.add(step, 1.0) is None
    assert windows.add(7, 9.0) == (0, 1.0)
    assert windows.add(7, 9.0) is None
