"""Reports while the guard looks at few steps: what those say is compared, the others are counted."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detect.recording import origin
from tests.detect.rules.metric.curves import PATH, Program, curve, full, hello, judge
from veracity.core.coverage import PASSED
from veracity.core.observation import MetricsLogged, MetricsOpened, Observation, ProcessEnded
from veracity.core.rule import Severity
from veracity.detect.rules.metric.loss_misreported import UNSEEN

STEPS = 1500
BEGUN = 120
"""Steps that are all looked at, before the guard rests."""


def pairs(share: float, *, begun: int = BEGUN, steps: int = STEPS, seed: int = 1) -> set[int]:
    """The first steps, and of the others two in a row now and then."""
    chance = random.Random(seed)
    firsts = [step for step in range(begun, steps - 1) if chance.random() < share / 2]
    return {*range(begun), *firsts, *(step + 1 for step in firsts)}


def run(
    report: Callable[[int, float], float] | None = None,
    *,
    share: float = 0.1,
    begun: int = BEGUN,
    since: int = 0,
) -> tuple[Program, list[Observation]]:
    """A program that logs each step's loss, or what ``report(step, loss)`` makes of it."""
    program = Program(curve(STEPS), looked=pairs(share, begun=begun))
    for step, loss in enumerate(program.losses):
        if step >= since:
            program.log(step, full(report(step, loss) if report else loss))
    return program, program.observations()


def test_what_is_looked_at_is_compared_and_the_rest_is_counted() -> None:
    program, observations = run()
    found, detector = judge(observations)
    assert found == []
    coverage = detector.coverage()
    assert program.looked is not None
    assert (coverage.checked, coverage.possible) == (len(program.looked), STEPS)
    assert coverage.passed == coverage.reasons[PASSED] == STEPS - len(program.looked)


def test_a_report_that_is_lowered_long_after_the_guard_began_to_rest() -> None:
    _, observations = run(lambda step, loss: loss * (0.95 if step >= 700 else 1.0))
    found, _ = judge(observations)
    assert [one.severity for one in found] == [Severity.ERROR]
    assert 700 <= (found[0].first_step or 0) < 760


def test_a_report_that_is_lowered_here_and_there() -> None:
    chance = random.Random(5)
    lowered = {step for step in range(500, STEPS) if chance.random() < 0.3}
    _, observations = run(lambda step, loss: loss * (0.9 if step in lowered else 1.0), share=0.3)
    found, _ = judge(observations)
    # At first it cannot be told whether the report moved.
    assert found[-1].severity is Severity.ERROR


def test_what_a_program_does_at_a_regular_distance_breaks_nothing_where_most_is_unseen() -> None:
    _, observations = run(lambda step, loss: loss * (0.5 if step % 4 == 3 else 1.0), share=0.3)
    found, _ = judge(observations)
    assert [one for one in found if one.breaks] == []


def mean_of_ten(losses: Sequence[float], step: int) -> float:
    return math.fsum(losses[step - 9 : step + 1]) / 10


def smoothed(losses: Sequence[float], step: int) -> float:
    value = losses[0]
    for loss in losses[1 : step + 1]:
        value = 0.9 * value + 0.1 * loss
    return value


def running(losses: Sequence[float], step: int) -> float:
    return math.fsum(losses[: step + 1]) / (step + 1)


@pytest.mark.parametrize("report", [mean_of_ten, smoothed, running])
def test_a_mean_with_steps_that_nobody_looked_at_is_not_judged(
    report: Callable[[Sequence[float], int], float],
) -> None:
    program = Program(curve(STEPS), looked=pairs(0.1, begun=600))
    for step in range(9, STEPS, 10):
        program.log(step, full(report(program.losses, step)))
    found, detector = judge(program.observations())
    assert found == []
    coverage = detector.coverage()
    assert (coverage.checked, coverage.possible) == (60, STEPS // 10)


def test_values_that_nothing_explains_any_more_are_counted() -> None:
    chance = random.Random(2)
    _, observations = run(lambda step, loss: loss if step < 300 else 5 + chance.random())
    found, detector = judge(observations)
    assert not any(one.breaks for one in found)
    assert detector.coverage().possible == STEPS


def test_a_program_that_begins_to_log_while_the_guard_rests() -> None:
    program, observations = run(share=0.2, since=400)
    found, detector = judge(observations)
    assert found == []
    assert program.looked is not None
    assert detector.coverage().checked >= len({step for step in program.looked if step >= 900})


def test_a_process_that_comes_after_one_that_ended_in_a_rest() -> None:
    _, observations = run()
    after = Program(curve(STEPS, seed=9), pid=200, looked=pairs(0.1, seed=4))
    for step, loss in enumerate(after.losses):
        after.log(step, full(loss), step=step + STEPS)
    ended = ProcessEnded(origin(0, STEPS, 100), "rank", "python", "signalled", 9, 1, True, "", STEPS)
    found, detector = judge([*observations, ended, *after.observations()])
    assert found == []
    assert after.looked is not None
    assert detector.coverage().checked >= len(after.looked) + BEGUN
    assert detector.coverage().possible == 2 * STEPS


def test_the_mean_over_ranks_that_rest_at_steps_of_their_own() -> None:
    ranks = [
        Program(curve(STEPS, seed=rank), 100 + rank, rank, looked=pairs(0.3, seed=rank)) for rank in range(2)
    ]
    for step in range(STEPS):
        ranks[0].log(step, full((ranks[0].losses[step] + ranks[1].losses[step]) / 2))
    streams = [list(program.observations()) for program in ranks]
    mixed = [
        one for both_ranks in zip(*map(_padded(streams), streams), strict=True) for one in both_ranks if one
    ]
    found, detector = judge([hello(100, 0, 2), hello(101, 1, 2), *mixed])
    assert found == []
    coverage = detector.coverage()
    assert coverage.possible == STEPS
    assert BEGUN - 40 <= coverage.checked <= len(pairs(0.3, seed=0) & pairs(0.3, seed=1))


def _padded(streams: list[list[Observation]]) -> Callable[[list[Observation]], list[Observation | None]]:
    length = max(map(len, streams))

    def pad(stream: list[Observation]) -> list[Observation | None]:
        return [*stream, *([None] * (length - len(stream)))]

    return pad


@given(st.sets(st.integers(40, 299)), st.integers(1, 20))
def test_every_logged_value_is_counted_once(looked: set[int], lag: int) -> None:
    program = Program(curve(300), looked={*range(40), *looked})
    for step, loss in enumerate(program.losses):
        program.log(step, full(loss))
    found, detector = judge(program.observations(lag=lag))
    assert found == []
    coverage = detector.coverage()
    assert (coverage.checked, coverage.possible) == (40 + len(looked), 300)


def test_a_file_that_is_read_long_before_what_the_guard_says() -> None:
    """The monitor may starve while two jobs share a machine; then records wait, and files grow."""
    program, observations = run()
    values = [one for one in observations if isinstance(one, MetricsLogged)]
    told = [one for one in observations if not isinstance(one, MetricsLogged)]
    found, detector = judge([*told[:BEGUN], *values, *told[BEGUN:]])
    assert found == []
    assert program.looked is not None
    assert detector.coverage().checked == len(program.looked)


def test_a_program_that_counts_its_steps_anew_while_the_guard_rests() -> None:
    program = Program(curve(STEPS), looked=pairs(0.2))
    for step, loss in enumerate(program.losses):
        program.log(step, full(loss), step=step % 500)
    found, detector = judge(program.observations())
    assert found == []
    assert program.looked is not None
    assert detector.coverage().checked >= len(program.looked) - 64


def twin(*, held: bool) -> list[Observation]:
    """Another run of the same command writes below the same folder, and goes another way from step 600 on."""
    program = Program(curve(STEPS), looked=pairs(0.2), held=held)
    for step, loss in enumerate(program.losses):
        program.log(step, full(loss * (1.1 if step >= 600 else 1)))
    return program.observations()


def test_what_may_be_another_jobs_is_neither_found_nor_counted() -> None:
    found, detector = judge(twin(held=False))
    assert found == []
    coverage = detector.coverage()
    assert (coverage.checked, coverage.possible) == (0, 0)
    assert any("another job's" in reason for reason in coverage.reasons)
    assert coverage.stopped == UNSEEN


def test_a_neighbours_file_beside_ones_own_is_no_gap() -> None:
    own = Program(curve(STEPS), looked=pairs(0.2))
    for step, loss in enumerate(own.losses):
        own.log(step, full(loss))
    theirs = [replace(one, path=PATH + "l") for one in twin(held=False) if isinstance(one, MetricsLogged)]
    found, detector = judge([*own.observations(), *theirs])
    assert found == []
    coverage = detector.coverage()
    assert coverage.checked
    assert not coverage.stopped


def test_a_file_that_the_program_opens_for_each_row_is_its_own() -> None:
    opened = MetricsOpened(origin(0, 0, 100), PATH)
    found, _ = judge([opened, *twin(held=False)])
    assert [one.severity for one in found] == [Severity.ERROR]
    found, _ = judge([MetricsOpened(origin(0, 0, 100), PATH + "l"), *twin(held=False)])
    assert found == []
