"""Of any runs at most one is the odd one; by chance a run is no more often than is stated."""

from __future__ import annotations

import math
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detect.rules.metric.courses import NOISES, course, is_odd, plain
from veracity.core.windows import WINDOWS
from veracity.detect.rules.metric.standing import FLOOR, LEAST, MARGIN, Standing, means_of

EARLIER = 9
ROUNDS = 120
BOUND = 1 / (EARLIER + 1)
MEANS = st.floats(-690, 690) | st.sampled_from([0.0, 1.0, 1.0 + FLOOR / 2])
WINDOWED = st.lists(MEANS, min_size=1, max_size=4).map(lambda means: dict(enumerate(means)))
PROFILE = st.fixed_dictionaries({"loss": WINDOWED}, optional={"norm": WINDOWED})


@given(st.lists(PROFILE, min_size=EARLIER + 1, max_size=EARLIER + 2))
def test_of_any_runs_at_most_one_is_odd_among_the_others(runs: list[dict[str, dict[int, float]]]) -> None:
    odd = [at for at, run in enumerate(runs) if is_odd(runs[:at] + runs[at + 1 :], run)]
    assert len(odd) <= 1


@pytest.mark.parametrize(
    ("noise", "looked"),
    [("plain", 1.0), ("plain", 0.3), ("sticky", 0.3), ("wandering", 1.0), ("heavy", 0.3), ("scaled", 1.0)],
)
def test_runs_that_differ_by_chance_are_odd_no_more_often_than_stated(noise: str, looked: float) -> None:
    """Monte Carlo: no more than the bound and three standard errors of it."""
    draw = random.Random(f"{noise} {looked}")
    odd = 0
    for _ in range(ROUNDS):
        runs = [
            course(draw, NOISES[noise], steps=draw.choice([90, 200, 300]), looked=looked)
            for _ in range(EARLIER + 1)
        ]
        odd += is_odd(runs[1:], runs[0])
    assert odd / ROUNDS <= BOUND + 3 * math.sqrt(BOUND * (1 - BOUND) / ROUNDS)


@pytest.mark.parametrize(("count", "speed", "least"), [(9, 0.8, 0.6), (30, 0.8, 0.6), (9, 0.5, 0.95)])
def test_slower_learning_is_found(count: int, speed: float, least: float) -> None:
    draw = random.Random(5)
    earlier = [[course(draw, plain) for _ in range(count)] for _ in range(20)]
    found = [is_odd(runs, course(draw, plain, speed=speed)) for runs in earlier]
    assert sum(found) >= least * len(found)


def test_runs_alike_to_the_last_bits_are_not_told_apart() -> None:
    draw = random.Random(1)
    run = course(draw, plain)
    earlier = [run] * EARLIER
    assert not is_odd(earlier, run)
    for size, odd in ((1e-9, False), (FLOOR, False), (1.2 * MARGIN * LEAST * FLOOR, True)):
        other = {name: {at: mean + size for at, mean in windows.items()} for name, windows in run.items()}
        assert is_odd(earlier, other) is odd


def test_what_earlier_runs_do_not_have_is_not_compared() -> None:
    draw = random.Random(2)
    earlier = [course(draw, plain, steps=100) for _ in range(EARLIER)]
    standing = Standing(earlier)
    last = max(earlier[0]["loss"])
    assert standing.compares("loss", last)
    assert not standing.compares("loss", last + 1)
    assert not standing.compares("other", 0)
    assert standing.add("loss", last + 1, 1e6) is None
    assert standing.add("other", 0, 1e6) is None
    assert not Standing([{}] * EARLIER).compares("loss", 0)


def test_runs_that_ended_earlier_neither_hide_a_run_nor_make_it_look_rarer() -> None:
    draw = random.Random(4)
    short = [course(draw, plain, steps=20) for _ in range(20)]
    long = [course(draw, plain) for _ in range(EARLIER)]
    run = course(draw, plain, speed=0.5)
    standing = Standing([*short, *long])
    found = [standing.add(name, at, run[name][at]) for at in range(8) for name in run]
    odd = next(one for one in found if one is not None)
    assert odd.runs == EARLIER
    assert standing.reaching("loss", 1) == EARLIER + 20
    assert not is_odd([*short, *long[1:]], {"loss": dict.fromkeys(range(3, 9), 1000000.0)})


def test_means_of_several_windows_need_all_of_them() -> None:
    assert means_of({0: 1.0, 1: 3.0, 2: 5.0, 4: 7.0}, 2) == {1: 2.0, 2: 4.0}


def test_sixty_four_long_runs_are_taken_in_soon() -> None:
    draw = random.Random(3)
    names = ("loss", "norm")
    runs = [{name: {at: draw.gauss(0, 1) for at in range(WINDOWS)} for name in names} for _ in range(64)]
    began = time.process_time()
    Standing(runs)
    assert time.process_time() - began < 10
