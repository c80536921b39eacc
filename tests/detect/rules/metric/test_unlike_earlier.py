"""A run is compared with earlier ones that held: where, with how many, and when it is not."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import torch

from tests.detect.recording import declare, declared, origin, step_record
from tests.detect.rules.metric.courses import plain
from veracity.core.finding import Finding
from veracity.core.observation import (
    EarlierRun,
    EarlierRuns,
    EarlierSeries,
    Observation,
    StateRestored,
    StepRecord,
    StepsPassed,
)
from veracity.core.profile import Course
from veracity.core.rule import Severity
from veracity.core.windows import WINDOWS
from veracity.detect.rules.metric.standing import FEWEST
from veracity.detect.rules.metric.unlike_earlier import NOT_ASKED, UnlikeEarlier, comparable

STEPS = 200
WEIGHT = torch.nn.Parameter(torch.ones(3))
DECLARED = declared(declare(torch.optim.SGD([WEIGHT], lr=0.1)))


def trained(seed: int, *, factor: float = 1.0, since: int = 0, steps: int = STEPS) -> list[Observation]:
    """Records of a run whose loss is ``factor`` times what it would be from step ``since`` on."""
    draw = random.Random(seed)
    noise = plain(draw)
    found: list[Observation] = [DECLARED]
    for step in range(steps):
        loss = math.exp(1 - 0.3 * math.log1p(step / 10) + next(noise)) * (factor if step >= since else 1.0)
        found.append(replace(step_record(step, []), loss=loss, total_norm=math.exp(next(noise))))
    return found


def kept(number: int, observations: Sequence[Observation], *, seed: str = "", bits: str = "") -> EarlierRun:
    """What the monitor keeps of a run that held."""
    course = Course()
    means: dict[str, dict[int, float]] = {}
    for observation in observations:
        for mean in course.take(observation):
            means.setdefault(mean.series, {})[mean.window] = mean.mean
    series = [EarlierSeries(name, list(found), list(found.values())) for name, found in means.items()]
    return EarlierRun(f"run-{number}", 9, "00", seed or f"seed {number}", bits, series)


def asked(*runs: EarlierRun, seed: str = "this", bits: str = "") -> EarlierRuns:
    return EarlierRuns(origin(), "likeness", seed, bits, list(runs))


def judged(observations: Sequence[Observation]) -> tuple[list[Finding], UnlikeEarlier]:
    detector = UnlikeEarlier()
    found = [finding for one in observations for finding in detector.observe(one)]
    assert list(detector.finish()) == []
    return found, detector


NINE = [kept(number, trained(number)) for number in range(9)]


def test_a_loss_that_leaves_where_the_others_went_is_noted_once() -> None:
    (found,), detector = judged([asked(*NINE), *trained(100, factor=1.4, since=120)])
    assert found.subject == "loss of optimizer 0"
    assert found.severity is Severity.NOTE
    assert not found.breaks
    assert found.first_step is not None
    assert 100 <= found.first_step <= 160
    assert "9 earlier runs" in found.message
    assert "1 in 10 runs" in found.message
    assert found.evidence[-1].excerpt == tuple(run.run for run in NINE)
    coverage = detector.coverage()
    assert coverage.checked == coverage.possible > 20


def test_one_more_run_like_them_is_not() -> None:
    found, detector = judged([asked(*NINE), *trained(100)])
    assert found == []
    assert detector.coverage().checked > 0


def test_one_wild_step_is_not() -> None:
    observations = [asked(*NINE), *trained(100)]
    step = observations[72]
    assert isinstance(step, StepRecord)
    assert step.loss is not None
    observations[72] = replace(step, loss=step.loss * 1e6)
    assert judged(observations)[0] == []


def test_eight_runs_are_too_few() -> None:
    found, detector = judged([asked(*NINE[:8]), *trained(100, factor=9.0)])
    assert found == []
    assert detector.coverage().checked == 0
    assert list(detector.coverage().reasons) == [f"8 earlier held runs of this contract, {FEWEST} are needed"]


def test_repeats_of_one_seed_are_one_run() -> None:
    repeats = [kept(20 + number, trained(0), seed="seed 0") for number in range(8)]
    found, detector = judged([asked(NINE[0], *repeats), *trained(100)])
    assert found == []
    (reason,) = detector.coverage().reasons
    assert reason.startswith("1 earlier held run of this contract")
    assert "9 with repeats" in reason
    unseeded = [replace(run, seed="") for run in (NINE[0], *repeats)]
    assert len(comparable(asked(*unseeded))) == 1


def test_a_repeat_of_nine_equal_runs_must_be_equal_but_for_the_last_bits() -> None:
    repeats = [kept(number, trained(0), seed="this", bits="here") for number in range(9)]
    for factor, count in ((1.0, 0), (1 + 1e-9, 0), (1.001, 0), (1.02, 1)):
        run = [asked(*repeats, bits="here"), *trained(0, factor=factor, since=100)]
        assert len(judged(run)[0]) == count
    # On another machine nothing says how far they may be apart.
    assert judged([asked(*repeats, bits="there"), *trained(0, factor=9.0)])[0] == []


def test_without_a_note_of_earlier_runs_nothing_is_compared() -> None:
    found, detector = judged(trained(100, factor=9.0))
    assert found == []
    assert list(detector.coverage().reasons) == [NOT_ASKED]
    # One that comes when training has begun does not count either.
    found, detector = judged([*trained(100, factor=9.0), asked(*NINE)])
    assert (found, detector.coverage().checked) == ([], 0)


def test_another_optimizer_is_not_compared_with_this_one() -> None:
    other = declared(declare(torch.optim.SGD([WEIGHT], lr=0.2)))
    found, detector = judged([asked(*NINE), other, *trained(100, factor=9.0)[1:]])
    assert (found, detector.coverage().checked) == ([], 0)
    assert list(detector.coverage().reasons) == [f"fewer than {FEWEST} earlier runs came as far"]


def test_holes_and_short_runs_are_passed_over() -> None:
    observations = trained(100)
    rest = StepsPassed(origin(), 0, 70, 40, 1)
    found, detector = judged([asked(*NINE), *observations[:71], rest, *observations[111:]])
    assert found == []
    assert 0 < detector.coverage().possible < 2 * WINDOWS
    found, detector = judged([asked(*NINE), *trained(100, steps=3)])
    assert (found, detector.coverage().possible) == ([], 0)
    shorter = [kept(number, trained(number, steps=100)) for number in range(9)]
    found, detector = judged([asked(*shorter), *trained(100, factor=9.0, since=130)])
    assert found == []
    assert 0 < detector.coverage().checked < detector.coverage().possible


def test_weights_set_back_end_the_comparison_of_that_optimizer() -> None:
    observations: list[Observation] = [asked(*NINE), *trained(100, factor=9.0, since=120)]
    observations.insert(110, StateRestored(origin(), 0, 108, True, True, [], []))
    assert judged(observations)[0] == []
    # What a run begins from is a matter of its contract.
    observations = [asked(*NINE), DECLARED, StateRestored(origin(), 0, 0, True, True, [], [])]
    assert len(judged([*observations, *trained(100, factor=9.0)[1:]])[0]) == 1


def test_other_ranks_and_later_processes_are_not_looked_at() -> None:
    for other in (origin(rank=1), origin(pid=101)):
        observations = [asked(*NINE), *trained(100)]
        strays = [replace(one, origin=other) for one in trained(100, factor=9.0)]
        assert judged([*observations[:5], *strays, *observations[5:]])[0] == []


def test_numbers_that_are_none_leave_nothing_to_compare() -> None:
    for loss in (math.nan, math.inf, -1.0, 0.0, None):
        records = [replace(step_record(step, []), loss=loss) for step in range(STEPS)]
        found, detector = judged([asked(*NINE), DECLARED, *records])
        assert (found, detector.coverage().possible) == ([], 0)
    wrong = EarlierSeries("loss of optimizer 0 x", [-1, 5, 10**9, 3], [1.0, math.nan, 2.0, 1e9])
    broken = [replace(run, series=[wrong]) for run in NINE]
    assert comparable(asked(*broken)) == []
    assert judged([asked(*broken), *trained(100)])[0] == []
