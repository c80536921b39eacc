"""Ranks that hold the same parameters are left alone, in whichever order their records come."""

from __future__ import annotations

import random
from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.contract import OptimizerDeclaration, TensorDeclaration
from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.core.observation import Hello, Observation, OptimizerDeclared, StepRecord
from veracity.core.origin import Origin, Trust
from veracity.core.sweep import NOT_SWEPT, Sweep
from veracity.detect.rules.replica.disagrees import MAX_PENDING, ReplicaDisagrees

TENSORS, COUNT = 3, 4
Memory = list[list[float]]
Edit = tuple[int, int, int]  # the rank whose memory changes, at which step, in which tensor


def origin(rank: int) -> Origin:
    return Origin("guard", Trust.USERLAND, 1000 + rank, rank, 0, 0)


def hello(rank: int, ranks: int, *, capability: str = "AVX2") -> Hello:
    ids = {"RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks)}
    return Hello(origin(rank), 1, "rank", "", "3.11", "2.13", 0, ids, {"cpu_capability": capability})


def declared(rank: int, replicas: list[int]) -> OptimizerDeclared:
    tensors = [TensorDeclaration(f"layer.{at}", [COUNT], "float32", COUNT, 0) for at in range(TENSORS)]
    return OptimizerDeclared(
        origin(rank), OptimizerDeclaration(0, "torch.optim.sgd.SGD", "", 0, [{}], tensors, replicas)
    )


def swept(memory: Memory) -> Sweep:
    flat = [value for tensor in memory for value in tensor]
    return Sweep(COUNT, tuple(range(len(memory))), array("f", flat))


def step(rank: int, number: int, before: Sweep, after: Sweep, fingers: list[list[int]]) -> StepRecord:
    return StepRecord(
        origin(rank), 0, number, [{}], {}, 1.0, 1, {}, [], fingers, None, None, False, False,
        swept_before=before, swept_after=after,
    )  # fmt: skip


def train(
    ranks: int, steps: int, edit: Edit | None = None, *, between: bool = False, whole: bool = False
) -> list[list[Observation]]:
    """What each rank reports; ``whole``: the change is seen by the fingerprint alone."""
    reports: list[list[Observation]] = []
    for rank in range(ranks):
        chance = random.Random(5)
        memory = [[chance.random() for _ in range(COUNT)] for _ in range(TENSORS)]
        mine: list[Observation] = [hello(rank, ranks), declared(rank, list(range(ranks)))]
        hidden = 0
        for number in range(steps):
            hit = edit is not None and edit[:2] == (rank, number)
            if hit and between and edit is not None:
                memory[edit[2]][0] += 1.0
            before = swept(memory)
            memory = [[value * 0.5 + chance.random() for value in tensor] for tensor in memory]
            if hit and not between and edit is not None:
                if whole:
                    hidden = 1
                else:
                    memory[edit[2]][1] += 1.0
            fingers = [
                [at, hash((number, at)) + (hidden if edit and at == edit[2] else 0)] for at in range(TENSORS)
            ]
            mine.append(step(rank, number, before, swept(memory), fingers))
        reports.append(mine)
    return reports


def judged(reports: list[list[Observation]], seed: int = 0) -> tuple[list[Finding], Coverage]:
    """The reports in a random order that keeps each rank's own."""
    detector, chance = ReplicaDisagrees(), random.Random(seed)
    queues = [list(one) for one in reports]
    found: list[Finding] = []
    while waiting := [queue for queue in queues if queue]:
        found += detector.observe(chance.choice(waiting).pop(0))
    found += detector.finish()
    return found, detector.coverage()


@given(st.integers(2, 5), st.integers(1, 12), st.integers(0, 1000))
def test_ranks_that_agree_are_left_alone(ranks: int, steps: int, seed: int) -> None:
    found, coverage = judged(train(ranks, steps), seed)
    assert found == []
    assert (coverage.checked, coverage.possible) == (steps, steps)


@given(
    st.integers(2, 5), st.integers(0, 4), st.integers(0, 7), st.integers(0, TENSORS - 1),
    st.booleans(), st.booleans(), st.integers(0, 1000),
)  # fmt: skip
def test_the_first_step_and_the_rank_are_named(
    ranks: int, rank: int, number: int, tensor: int, between: bool, whole: bool, seed: int
) -> None:
    rank %= ranks
    found, _ = judged(
        train(ranks, 8, (rank, number, tensor), between=between, whole=whole and not between), seed
    )
    (finding,) = found
    assert finding.breaks
    assert finding.first_step == number
    assert finding.subject == f"layer.{tensor}"
    assert finding.rank == (rank if ranks > 2 else -1)
    assert ("between two steps" in finding.message) == between


def test_ranks_of_no_group_are_not_compared() -> None:
    reports = train(2, 5, (1, 2, 0))
    alone = [[one for one in mine if not isinstance(one, OptimizerDeclared)] for mine in reports]
    for rank, mine in enumerate(alone):
        mine.insert(1, declared(rank, []))
    found, coverage = judged(alone)
    assert (found, coverage.checked) == ([], 0)
    assert coverage.reasons


def test_machines_that_compute_differently_are_not_compared() -> None:
    reports = train(2, 5, (1, 2, 0))
    reports[1][0] = hello(1, 2, capability="DEFAULT")
    queues = [reports[0][:1] + reports[1][:1] + reports[0][1:], reports[1][1:]]
    found, coverage = judged(queues)
    assert (found, coverage.checked) == ([], 0)
    assert "compute differently" in "".join(coverage.reasons)


def test_a_rank_that_dies_leaves_the_others_compared() -> None:
    reports = train(3, 8, (1, 6, 0))
    del reports[2][6:]
    found, coverage = judged(reports)
    assert [one.first_step for one in found] == [6]
    assert coverage.checked == 8


def test_a_rank_that_lags_far_behind_costs_bounded_memory() -> None:
    reports = train(2, MAX_PENDING + 20)
    detector = ReplicaDisagrees()
    for one in [*reports[0][:2], *reports[1][:2], *reports[0][2:], *reports[1][2:]]:
        assert list(detector.observe(one)) == []
    assert max(len(group.pending) for group in detector._groups.values()) <= MAX_PENDING + 1
    assert "behind" in "".join(detector.coverage().reasons)


def test_ranks_that_share_an_optimizer_out_are_not_compared() -> None:
    reports = train(2, 5, (1, 2, 0))
    second = reports[1][1]
    assert isinstance(second, OptimizerDeclared)
    tensors = [replace(one, name="other." + one.name) for one in second.optimizer.tensors]
    reports[1][1] = replace(second, optimizer=replace(second.optimizer, tensors=tensors))
    found, coverage = judged(reports)
    assert (found, coverage.checked) == ([], 0)
    assert "only one rank made the step" in coverage.reasons


@pytest.mark.parametrize("ids", [{"TORCHELASTIC_RUN_ID": "second"}, {"TORCHELASTIC_RESTART_COUNT": "1"}])
def test_a_second_start_is_not_compared_with_what_the_first_left(ids: dict[str, str]) -> None:
    first, again = train(2, 6), train(2, 6, (0, 0, 1))
    del first[1][5:]  # a rank died: its last steps stay unpaired
    second = again[0]
    hello_again = second[0]
    assert isinstance(hello_again, Hello)
    second[0] = replace(hello_again, ids={**hello_again.ids, **ids})
    found, _ = judged([first[0] + second, first[1]])
    assert found == []


@pytest.mark.parametrize("sweep", [NOT_SWEPT, Sweep(2, (0, 5), array("f", [1, 2, 3, 4]))])
def test_records_of_other_tensors_are_not_compared(sweep: Sweep) -> None:
    reports = train(2, 1)
    reports[1][-1] = step(1, 0, NOT_SWEPT, sweep, [])
    found, coverage = judged(reports)
    assert (found, coverage.checked, coverage.possible) == ([], 0, 1)


def test_copies_below_another_monitor_are_said_not_to_be_compared() -> None:
    reports = train(2, 3)
    for rank, mine in enumerate(reports):
        mine[1] = declared(rank, [0, 1, 2, 3])
    findings, coverage = judged(reports)
    assert findings == []
    assert (coverage.checked, coverage.possible) == (3, 3)
    assert "ranks below other monitors hold copies too and are not compared" in coverage.reasons


def test_parts_of_sharded_parameters_are_no_copies() -> None:
    reports = train(2, 3, (1, 1, 0))
    for rank, mine in enumerate(reports):
        seen = declared(rank, [])
        mine[1] = replace(seen, optimizer=replace(seen.optimizer, sharded=TENSORS))
    findings, coverage = judged(reports)
    assert (findings, coverage.checked) == ([], 0)
    assert list(coverage.reasons) == [
        "parameters are sharded over the ranks: each holds its own part of them"
    ]
