"""Noise raises next to no alarm, whatever its shape; a change of level does, soon."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.shift import KEPT, Course, Shift, measure

LONG = 30_000


def gaussian(draw: random.Random) -> Iterator[float]:
    while True:
        yield draw.gauss(0, 1)


def heavy(draw: random.Random) -> Iterator[float]:
    while True:
        yield draw.gauss(0, 1) / max(0.05, abs(draw.gauss(0, 1)))


def falling(draw: random.Random) -> Iterator[float]:
    for step in range(10**9):
        yield math.log(2 + 6 * math.exp(-step / 300)) + 0.1 * draw.gauss(0, 1)


def smooth(draw: random.Random) -> Iterator[float]:
    for step in range(10**9):
        yield draw.random() * 1e-9 + 1.0 + (step % 5000) ** 2 * 1e-9


def sticky(draw: random.Random) -> Iterator[float]:
    value = 0.0
    while True:
        value = 0.7 * value + draw.gauss(0, 1)
        yield value


@pytest.mark.parametrize("noise", [gaussian, heavy, falling, smooth, sticky])
def test_noise_raises_next_to_no_alarm(noise: Callable[[random.Random], Iterator[float]]) -> None:
    series, values = Shift(), noise(random.Random(7))
    assert sum(series.add(next(values)) for _ in range(LONG)) <= 1


def test_a_level_that_changes_is_seen_within_a_few_values() -> None:
    delays = []
    for seed in range(40):
        draw, series = random.Random(seed), Shift()
        assert not any(series.add(draw.gauss(0, 1)) for _ in range(200))
        delays.append(next((at for at in range(60) if series.add(draw.gauss(5, 1))), 60))
    assert max(delays) < 12


def test_after_an_alarm_it_begins_anew_at_the_new_level() -> None:
    draw, series = random.Random(1), Shift()
    for _ in range(200):
        series.add(draw.gauss(0, 1))
    while not series.add(draw.gauss(9, 1)):
        pass
    assert series.level is not None
    assert abs(series.level - 9) < 4
    assert not any(series.add(draw.gauss(9, 1)) for _ in range(2 * KEPT))


@settings(max_examples=examples(40))
@given(st.lists(st.floats(), max_size=400), st.floats(0.5, 1e3))
def test_scale_does_not_matter_and_nothing_upsets_it(values: list[float], scale: float) -> None:
    one, other = Shift(), Shift()
    whole = [value for value in values if abs(value) < 1e6 or not math.isfinite(value)]
    factor = 2.0 ** round(math.log2(scale))  # exact in floating point
    assert [one.add(value) for value in whole] == [other.add(value * factor) for value in whole]


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_what_has_no_logarithm_is_passed_over(value: float) -> None:
    series = Shift()
    assert not series.add(measure(value))
    assert series.level is None


def in_pairs(draw: random.Random, steps: int, every: float) -> Iterator[int]:
    """The first 400 steps, then two in a row now and then."""
    yield from range(400)
    step = 400
    while step < steps:
        yield from (step, step + 1)
        step += 3 + int(draw.expovariate(1 / every))


@given(st.lists(st.floats(-1e3, 1e3), max_size=300), st.integers(0, 10**6))
def test_a_course_without_holes_is_one_series(values: list[float], first: int) -> None:
    course, series = Course(), Shift()
    for step, value in enumerate(values, first):
        level = series.level
        left = series.add(value)
        assert course.add(step, value) == (level if left else None)


@pytest.mark.parametrize("every", [8.0, 64.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_loss_that_falls_between_the_steps_that_are_seen_is_no_alarm(every: float, seed: int) -> None:
    draw, course = random.Random(seed), Course()
    alarms = [
        step
        for step in in_pairs(draw, 20_000, every)
        if course.add(step, math.log(1.2 + 3 / (1 + step / 60) ** 0.6) + 0.12 * draw.gauss(0, 1)) is not None
    ]
    assert alarms == []


def test_a_level_that_changes_between_the_steps_that_are_seen_is_an_alarm() -> None:
    draw, course = random.Random(5), Course()
    alarms = [
        step
        for step in in_pairs(draw, 20_000, 64.0)
        if course.add(step, draw.gauss(0 if step < 12_000 else 5, 1)) is not None
    ]
    assert alarms
    assert 12_000 <= alarms[0] < 13_500
