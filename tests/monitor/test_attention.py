"""Close looks at the start, in bursts, and after something was seen; wide ones in between."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from veracity.monitor.attention import (
    BURST_SECONDS,
    CALM_CYCLE_SECONDS,
    CALM_WIDE_TICK,
    CLOSE_TICK,
    CYCLE_SECONDS,
    HELD_SECONDS,
    WIDE_TICK,
    Attention,
)


def looks(
    attention: Attention, begin: float, end: float, *, calm: bool = False, stretch: float = 1.0
) -> list[float]:
    """When it looks from ``begin`` to ``end``."""
    now, times = begin, []
    while now < end:
        times.append(now)
        now += attention.interval(now, calm=calm, stretch=stretch)
    return times


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


@given(st.floats(0, 1e6))
def test_a_quiet_run_is_looked_at_closely_a_quarter_of_the_time(begun: float) -> None:
    times = looks(Attention(begun), begun, begun + 10 * CYCLE_SECONDS)
    close = sum(gap <= CLOSE_TICK + 1e-6 for gap in gaps(times))
    wanted = 10 * BURST_SECONDS / CLOSE_TICK
    assert 0.8 * wanted < close < 1.2 * wanted


@given(st.floats(0, 1e6), st.floats(1, 8))
def test_while_the_guards_rest_it_is_a_sixteenth_or_less(begun: float, stretch: float) -> None:
    attention = Attention(begun)
    looks(attention, begun, begun + CYCLE_SECONDS)
    later = begun + CYCLE_SECONDS
    until = later + 10 * stretch * CALM_CYCLE_SECONDS
    times = looks(attention, later, until, calm=True, stretch=stretch)
    widest = max(gaps(times))
    assert CALM_WIDE_TICK - 1e-6 <= widest <= CALM_WIDE_TICK * stretch + 1e-6
    close = sum(gap <= CLOSE_TICK + 1e-6 for gap in gaps(times))
    wanted = 10 * BURST_SECONDS / CLOSE_TICK
    assert 0.8 * wanted < close < 1.2 * wanted


@given(st.floats(0, 1e6), st.floats(0, 20))
def test_after_something_was_seen_every_look_is_close(begun: float, at: float) -> None:
    attention = Attention(begun)
    looks(attention, begun, begun + at)
    attention.caught(begun + at)
    times = looks(attention, begun + at, begun + at + HELD_SECONDS)
    assert max(gaps(times)) <= CLOSE_TICK + 1e-6
    later = looks(attention, begun + at + HELD_SECONDS, begun + at + HELD_SECONDS + 2 * CYCLE_SECONDS)
    assert max(gaps(later)) > CLOSE_TICK + 1e-6


def test_when_a_burst_comes_is_left_to_chance() -> None:
    bursts = set()
    for _ in range(20):
        times = looks(Attention(0.0), 0.0, 2 * CYCLE_SECONDS)
        later = [time for time, gap in zip(times, gaps(times), strict=False) if gap <= CLOSE_TICK + 1e-6]
        bursts.add(round(min(time for time in later if time > CYCLE_SECONDS), 2))
    assert len(bursts) > 5


@given(st.floats(0, 1e6), st.lists(st.floats(0, 100), max_size=20))
def test_an_interval_is_never_longer_than_the_wide_one_nor_nothing(begun: float, passed: list[float]) -> None:
    attention, now = Attention(begun), begun
    for seconds in passed:
        now += seconds
        assert 0 < attention.interval(now) <= WIDE_TICK
        assert 0 < attention.interval(now, calm=True) <= CALM_WIDE_TICK
