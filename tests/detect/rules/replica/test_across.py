"""Copies below several monitors: compared where they are of one step, and no more said than that shows."""

from __future__ import annotations

import random
from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detect.rules.replica.test_disagrees import COUNT, declared
from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.core.observation import (
    Hello,
    JobJoined,
    Observation,
    OptimizerDeclared,
    PeerReplicas,
    PeerSeen,
    ReplicaStep,
    StepRecord,
)
from veracity.core.origin import Origin, Trust
from veracity.core.sweep import Sweep
from veracity.detect.rules.replica import across
from veracity.detect.rules.replica.disagrees import ReplicaDisagrees
from veracity.monitor.nodes.ownranks import OwnRanks

SECOND = 1_000_000_000
Edit = tuple[int, int]  # the rank whose copy changes, from which step on


def origin(rank: int, at: int) -> Origin:
    return Origin("guard", Trust.USERLAND, 1000 + rank, rank, 0, at)


def hello(rank: int, *, local: int = 1, capability: str = "AVX2") -> Hello:
    ids = {"RANK": str(rank), "LOCAL_WORLD_SIZE": str(local), "MASTER_PORT": "29500"}
    numerics = {"cpu_capability": capability}
    return Hello(origin(rank, 0), 1, "rank", "", "3.11", "2.13", 0, ids, numerics)


def step(rank: int, number: int, at: int, values: array[float]) -> StepRecord:
    return StepRecord(
        origin(rank, at), 0, number, [{}], {}, 1.0, 1, {}, [], [], None, None, False, False,
        swept_after=Sweep(COUNT, (0, 1, 2), values),
    )  # fmt: skip


def says(
    ranks: int, rank: int, steps: range, edit: Edit | None = None, *, start: int = 0
) -> list[Observation]:
    """What the guard of one rank says; ``start`` is when this start of the job began."""
    first = replace(declared(rank, list(range(ranks))), origin=origin(rank, start))
    said: list[Observation] = [hello(rank), first]
    for number in steps:
        chance = random.Random(f"{start} {number}")
        values = array("f", [chance.random() for _ in range(3 * COUNT)])
        if edit is not None and rank == edit[0] and number >= edit[1]:
            values[COUNT] += 1.0
        said.append(step(rank, number, start + number * SECOND // 10 + rank, values))
    return said


def joined(nodes: int = 2) -> JobJoined:
    return JobJoined(Origin("--job", Trust.SELF_REPORT, 0, -1, -1, 0), "j", "--job", "here", nodes)


def peer(rank: int, said: list[Observation]) -> list[Observation]:
    """The same rank as its own monitor tells it to others."""
    ranks = OwnRanks(f"node{rank}")
    for observation in said:
        ranks.take(observation)
    steps = [line.step for line in ranks.ready(last=True) if line.step is not None]
    made = Origin(f"run-{rank}", Trust.USERLAND, 0, -1, -1, 0)
    return [PeerReplicas(made, f"node{rank}", [step]) for step in steps]


def began(*ranks: int, state: str = "began") -> list[Observation]:
    """Their monitors are there."""
    return [
        PeerSeen(Origin(f"run-{one}", Trust.USERLAND, 0, -1, -1, 0), f"node{one}", state) for one in ranks
    ]


def judged(*queues: list[Observation], seed: int = 0, met: bool = True) -> tuple[list[Finding], Coverage]:
    """Queues in a random order that keeps each one's own."""
    detector, chance = ReplicaDisagrees(), random.Random(seed)
    found: list[Finding] = []
    for one in [joined(), *began(*range(1, len(queues)))] if met else []:
        found += detector.observe(one)
    left = [list(queue) for queue in queues]
    while waiting := [queue for queue in left if queue]:
        found += detector.observe(chance.choice(waiting).pop(0))
    found += detector.finish()
    return found, detector.coverage()


@given(st.integers(2, 5), st.integers(1, 15), st.integers(0, 999))
def test_nodes_that_agree_are_left_alone(nodes: int, steps: int, seed: int) -> None:
    said = [says(nodes, rank, range(steps)) for rank in range(nodes)]
    found, coverage = judged(said[0], *(peer(rank, said[rank]) for rank in range(1, nodes)), seed=seed)
    assert found == []
    assert (coverage.checked, coverage.possible) == (steps, steps)
    assert coverage.reasons == {across.ACROSS: steps}


@given(st.integers(0, 9), st.integers(0, 1), st.integers(0, 999))
def test_of_two_nodes_neither_is_accused(number: int, rank: int, seed: int) -> None:
    said = [says(2, one, range(10), (rank, number)) for one in range(2)]
    (finding,), _ = judged(said[0], peer(1, said[1]), seed=seed)
    assert finding.breaks
    assert (finding.first_step, finding.rank) == (number, -1)
    assert finding.subject == "layer.1, across nodes"
    assert "rank 0 on here (this run)" in finding.message
    assert "rank 1 on node1 (run-1)" in finding.message
    assert "nobody can say" in finding.message
    assert (f"after step {number - 1}" in finding.message) == (number > 0)


@given(st.integers(0, 3), st.integers(0, 9), st.integers(0, 999))
def test_of_more_nodes_the_odd_one_is_named_and_not_convicted(rank: int, number: int, seed: int) -> None:
    said = [says(4, one, range(10), (rank, number)) for one in range(4)]
    (finding,), _ = judged(said[0], *(peer(one, said[one]) for one in range(1, 4)), seed=seed)
    assert (finding.first_step, finding.rank) == (number, rank)
    assert "3 of 4 nodes are on the first side, which does not prove it right" in finding.message


def test_without_a_job_nothing_is_different() -> None:
    said = [says(2, rank, range(5), (1, 2)) for rank in range(2)]
    found, coverage = judged(said[0], met=False)
    assert (found, coverage.possible) == ([], 0)
    assert coverage.reasons == {"only one rank of the group runs below this monitor": 1}


def test_a_node_that_says_nothing_is_coverage() -> None:
    found, coverage = judged(says(2, 0, range(5)))
    assert (found, coverage.checked, coverage.possible) == ([], 0, 5)
    assert coverage.reasons == {across.UNTOLD: 5}


def test_only_steps_that_both_looked_at_are_compared() -> None:
    mine, theirs = says(2, 0, range(0, 20, 2)), says(2, 1, range(0, 20, 3), (1, 0))
    (finding,), coverage = judged(mine, peer(1, theirs))
    assert finding.first_step == 0
    assert (coverage.checked, coverage.possible) == (4, 10)


def test_machines_that_compute_differently_are_not_compared() -> None:
    theirs = says(2, 1, range(5), (1, 0))
    theirs[0] = hello(1, capability="DEFAULT")
    found, coverage = judged(says(2, 0, range(5)), peer(1, theirs))
    assert (found, coverage.checked) == ([], 0)
    assert coverage.reasons == {across.UNLIKE_NODE: 5}


@given(st.integers(0, 999))
def test_a_second_start_is_not_taken_for_the_first(seed: int) -> None:
    """Same numbers, other values, another time; and one node was there at one start only."""
    later = 60 * SECOND
    mine = says(2, 0, range(8)) + says(2, 0, range(8), start=later)
    theirs = says(2, 1, range(3)) + says(2, 1, range(8), start=later)
    found, coverage = judged(mine, peer(1, theirs), seed=seed)
    assert found == []
    assert (coverage.checked, coverage.possible) == (11, 16)


def test_clocks_that_disagree_are_coverage() -> None:
    theirs = says(2, 1, range(5))
    for at, one in enumerate(theirs):
        theirs[at] = replace(one, origin=replace(one.origin, at=one.origin.at + 9 * SECOND))
    for seed in range(8):
        found, coverage = judged(says(2, 0, range(5)), peer(1, theirs), seed=seed)
        assert (found, coverage.checked) == ([], 0)
        assert coverage.reasons == {across.APART: 5}


def changed(told: Observation, **fields: object) -> Observation:
    assert isinstance(told, PeerReplicas)
    return replace(told, steps=[replace(step, **fields) for step in told.steps])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ranks": [7]}, across.FOREIGN),
        ({"places": "other"}, across.ELSEWHERE),
        ({"parts": "?"}, "a line of another node could not be read"),
        ({"group": "other"}, across.UNTOLD),
    ],
)
def test_lines_that_cannot_be_right_accuse_nobody(fields: dict[str, object], reason: str) -> None:
    told = [changed(one, **fields) for one in peer(1, says(2, 1, range(5), (1, 0)))]
    found, coverage = judged(says(2, 0, range(5)), list(told))
    assert (found, coverage.checked) == ([], 0)
    assert reason in coverage.reasons


@pytest.mark.parametrize("edit", [None, (1, 2)])
@pytest.mark.parametrize("seed", range(4))
def test_who_speaks_for_a_rank_of_another_hides_nothing(edit: Edit | None, seed: int) -> None:
    """A third run says that rank 1 holds what we do; the run of rank 1 may say otherwise."""
    said = [says(2, rank, range(5), edit) for rank in range(2)]
    forged = [
        replace(one, origin=replace(one.origin, source="run-9")) for one in peer(1, says(2, 1, range(5)))
    ]
    found, coverage = judged(said[0], peer(1, said[1]), forged, seed=seed)
    assert coverage.stopped == across.CLAIMED
    assert [(one.first_step, one.breaks, one.rank) for one in found] == ([(2, False, -1)] if edit else [])
    assert all(across.CLAIMED in one.message for one in found)


def test_a_node_that_fell_silent_is_waited_for_and_then_not() -> None:
    said = [says(3, rank, range(400), (1, 5)) for rank in range(3)]
    detector = ReplicaDisagrees()
    found = [*detector.observe(joined(3))]
    for one in (*began(1, 2), *peer(2, said[2])[:3], *said[0][:2]):
        found += detector.observe(one)
    number = 0
    for both in zip(said[0][2:], peer(1, said[1]), strict=True):
        for each in both:
            found += detector.observe(each)
        if found:
            break
        number += 1
    assert found[0].first_step == 5
    assert 200 < number < 220, "20 seconds of training, at ten steps in each"


def test_a_node_that_is_done_is_not_waited_for() -> None:
    said = [says(3, rank, range(8), (1, 5)) for rank in range(3)]
    detector = ReplicaDisagrees()
    found = list(detector.observe(joined(3)))
    last = began(2, state="done")
    for one in (*began(1, 2), *peer(2, said[2])[:3], *last, *said[0], *peer(1, said[1])):
        found += detector.observe(one)
    assert [one.first_step for one in found] == [5]


def test_memory_is_bounded() -> None:
    detector = ReplicaDisagrees()
    list(detector.observe(joined()))
    for one in says(2, 0, range(across.MAX_WAITING + 200)):
        list(detector.observe(one))
    beyond = [ReplicaStep(f"g{at}", at, at, [1], "m", "p", "A" * 10 + "A=") for at in range(2000)]
    list(detector.observe(PeerReplicas(Origin("run-1", Trust.USERLAND, 0, -1, -1, 0), "n", beyond)))
    assert detector._across is not None
    assert len(detector._across._groups) <= across.MAX_GROUPS + 1
    assert sum(len(group.steps) for group in detector._across._groups.values()) <= across.MAX_WAITING + 300
    list(detector.finish())
    assert detector.coverage().possible == across.MAX_WAITING + 200


def test_ranks_of_one_node_that_differ_are_told_apart_there_too() -> None:
    """Two ranks here, two there; one of ours is the odd one."""
    said = [says(4, rank, range(6), (1, 3)) for rank in range(4)]
    for rank, one in enumerate(said):
        one[0] = hello(rank, local=2)
    there = OwnRanks("there")
    for observation in [*said[2], *said[3]]:
        there.take(observation)
    steps = [line.step for line in there.ready() if line.step is not None]
    assert [step.ranks for step in steps] == [[2, 3]] * 6
    told: list[Observation] = [PeerReplicas(Origin("run-b", Trust.USERLAND, 0, -1, -1, 0), "there", steps)]
    found, coverage = judged(said[0], said[1], told)
    assert sorted(one.subject for one in found) == ["layer.1", "layer.1, across nodes"]
    assert {one.first_step for one in found} == {3}
    assert (coverage.checked, coverage.possible) == (6, 6)
    assert coverage.reasons[across.ACROSS] == 6


def test_declared_twice_is_counted_once() -> None:
    mine = says(2, 0, range(4))
    again = [one for one in mine if isinstance(one, OptimizerDeclared)]
    found, coverage = judged(mine[:2] + again + mine[2:], peer(1, says(2, 1, range(4))))
    assert (found, coverage.checked, coverage.possible) == ([], 4, 4)
