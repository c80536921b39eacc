"""One rank that holds the others up, among ranks that are slow together, by turns, or for good reasons."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import (
    CheckpointSaved,
    HostLoad,
    Observation,
    StackFrame,
    StackSampled,
    StepRecord,
)
from veracity.core.origin import Origin, Trust
from veracity.detect.rules.time.slow_rank import MAX_OPEN, SlowRank

MS = 1_000_000
Phases = dict[str, int]
Made = Callable[[int, int], Phases]


def origin(rank: int) -> Origin:
    return Origin("guard", Trust.USERLAND, 100 + rank, rank, 0, 0)


def step(rank: int, number: int, phases: Phases) -> StepRecord:
    nanoseconds = {name: ms * MS for name, ms in phases.items()}
    return StepRecord(
        origin(rank), 0, number, [], nanoseconds, 1.0, 1, {}, [], [], None, None, False, False, []
    )


def phases(
    data: int = 1, forward: int = 10, backward: int = 20, optimizer: int = 3, other: int = 1
) -> Phases:
    names = ("data", "forward", "backward", "optimizer", "other")
    return dict(zip(names, (data, forward, backward, optimizer, other), strict=True))


def run(ranks: int, steps: int, made: Made) -> Iterator[Observation]:
    for number in range(steps):
        for rank in range(ranks):
            yield step(rank, number, made(rank, number))


def judged(observations: Iterator[Observation]) -> list[Finding]:
    detector = SlowRank()
    return [finding for one in observations for finding in detector.observe(one)]


@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize(
    ("phase", "where"), [("data", "fetching"), ("forward", "backward"), ("other", "between steps")]
)
def test_the_rank_the_phase_and_the_first_step_are_named(ranks: int, phase: str, where: str) -> None:
    def made(rank: int, number: int) -> Phases:
        if number < 30:
            return phases()
        return phases(**{phase: 25}) if rank == 1 else phases(backward=20 + 25)

    (finding,) = judged(run(ranks, 90, made))
    assert (finding.rank, finding.first_step) == (1, 30)
    assert where in finding.message
    assert not finding.breaks


def test_where_it_was_seen_and_a_busy_host_are_named() -> None:
    place = StackFrame("/home/u/train.py", 31, "step", "time.sleep(0.02)")

    def records() -> Iterator[Observation]:
        for one in run(2, 80, lambda rank, _: phases(forward=30) if rank == 1 else phases(backward=40)):
            if one.origin.rank == 1 and isinstance(one, StepRecord):
                yield StackSampled(origin(1), one.step, 0, True, 20 * MS, [place])
                yield HostLoad(origin(1), 1000 * MS, 600 * MS, 0, 100 * MS)
            yield one

    (finding,) = judged(records())
    assert (finding.locations[0].path, finding.locations[0].line) == (place.path, place.line)
    assert "look at its host" in finding.message


def test_ranks_that_are_slow_by_turns_are_none() -> None:
    chance = random.Random(3)
    slow = [chance.randrange(2) for _ in range(2000)]

    def made(rank: int, number: int) -> Phases:
        return phases(forward=35) if slow[number] == rank else phases(backward=45)

    assert judged(run(2, 2000, made)) == []


def test_all_slow_alike_noise_and_seldom_are_none() -> None:
    chance = random.Random(4)
    assert judged(run(4, 200, lambda _, number: phases(data=1 + number % 7 * 10))) == []
    assert judged(run(4, 200, lambda _, __: phases(forward=10 + chance.randrange(4)))) == []
    every_tenth = judged(
        run(2, 300, lambda rank, n: phases(backward=45) if rank or n % 10 else phases(forward=35))
    )
    assert every_tenth == []


def test_slow_inside_backward_and_ranks_that_do_not_wait_for_each_other_are_none() -> None:
    assert judged(run(2, 200, lambda rank, _: phases(backward=20 + 30 * rank))) == []
    assert judged(run(2, 200, lambda rank, _: phases(forward=10 + 30 * rank))) == []
    assert judged(run(1, 200, lambda _, number: phases(forward=10 + number % 2 * 50))) == []


def test_a_rank_that_saves_for_all_is_none() -> None:
    def records() -> Iterator[Observation]:
        for one in run(2, 200, lambda rank, _: phases(backward=45) if rank else phases(other=26)):
            if one.origin.rank == 0:
                yield CheckpointSaved(origin(0), "x.pt", 0, [], False)
            yield one

    assert judged(records()) == []


def test_steps_that_other_ranks_never_make_are_forgotten() -> None:
    detector = SlowRank()
    list(detector.observe(step(1, 0, phases())))
    for number in range(500):
        list(detector.observe(step(0, number, phases())))
    assert len(detector._open) <= MAX_OPEN + 1
