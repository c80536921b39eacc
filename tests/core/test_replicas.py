"""Digests of copies: alike for the same bits, apart for others, and back from what a line carries."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.contract import OptimizerDeclaration, TensorDeclaration
from veracity.core.observation import StepRecord
from veracity.core.origin import Origin, Trust
from veracity.core.replicas import (
    DIGEST,
    MAX_PARTS,
    group_of,
    heard,
    held_of,
    machine_of,
    one_voice,
    stretch,
    told,
)
from veracity.core.sweep import NOT_SWEPT, Sweep


def step(tensors: int, count: int = 2, *, rank: int = 0, changed: int = -1, finger: int = 7) -> StepRecord:
    values = array("f", [float(at) for at in range(tensors * count)])
    if changed >= 0:
        values[changed] += 1.0
    swept = Sweep(count, tuple(range(tensors)), values)
    return StepRecord(
        Origin("guard", Trust.USERLAND, 1000 + rank, rank, 0, 99), 0, 3, [{}], {}, 1.0, 1, {}, [],
        [[0, finger]], None, None, False, False, swept_after=swept,
    )  # fmt: skip


@given(st.integers(1, 1024), st.data())
def test_a_changed_element_changes_the_part_of_its_tensor_alone(tensors: int, data: st.DataObject) -> None:
    changed = data.draw(st.integers(0, 2 * tensors - 1))
    one, other = held_of(step(tensors)), held_of(step(tensors, changed=changed))
    assert one is not None
    assert other is not None
    assert len(one.parts) <= DIGEST * MAX_PARTS
    assert one.comparable(other)
    assert one.differing(other) == ([changed // 2 // stretch(tensors)], [])


def test_a_fingerprint_is_compared_where_both_took_one() -> None:
    one, other = held_of(step(3)), held_of(step(3, finger=8))
    assert one is not None
    assert other is not None
    assert one.differing(other) == ([], [0])
    assert one.differing(replace(other, fingers={})) == ([], [])


def test_other_places_are_not_comparable() -> None:
    one, other = held_of(step(3)), held_of(step(3, count=4))
    assert one is not None
    assert other is not None
    assert not one.comparable(other)
    assert held_of(replace(step(3), swept_after=NOT_SWEPT)) is None


def test_what_is_told_is_heard() -> None:
    made = step(5)
    held = held_of(made)
    assert held is not None
    line = told(held, "g", made, [0, 1], "m")
    assert heard(line) == held
    assert (line.step, line.at, line.ranks) == (3, 99, [0, 1])


@pytest.mark.parametrize("parts", ["", "?", "AAAA", "A" * 8 * (DIGEST * MAX_PARTS)])
def test_what_cannot_be_read_is_not_heard(parts: str) -> None:
    made = step(5)
    held = held_of(made)
    assert held is not None
    assert heard(replace(told(held, "g", made, [0], "m"), parts=parts)) is None


@pytest.mark.parametrize("fingers", [[[1]], [["a", "b"]], [[1, 2]], [[1, "a"]] * 600])
def test_fingers_of_another_form_are_not_heard(fingers: list[list[int | str]]) -> None:
    made = step(5)
    held = held_of(made)
    assert held is not None
    assert heard(replace(told(held, "g", made, [0], "m"), fingers=fingers)) is None


def test_ranks_that_hold_the_same_have_one_voice() -> None:
    made = {2: step(3, rank=2), 0: step(3), 1: step(3, rank=1, changed=0)}
    assert [ranks for ranks, _, _ in one_voice(made)] == [[0, 2], [1]]


def test_a_group_is_named_by_what_its_ranks_share() -> None:
    declared = OptimizerDeclaration(
        0, "SGD", "/here/sgd.py", 3, [{"lr": 0.1}], [TensorDeclaration("w", [2], "float32", 2, 0)], [0, 1]
    )
    name = group_of(declared, "29500")
    assert name == group_of(replace(declared, path="/there/sgd.py", groups=[{"lr": 0.2}]), "29500")
    assert name != group_of(replace(declared, index=1), "29500")
    assert name != group_of(replace(declared, replicas=[0, 1, 2]), "29500")
    assert name != group_of(replace(declared, tensors=[]), "29500")
    assert name != group_of(declared, "29501")


def test_what_decides_the_bits_is_bounded() -> None:
    assert machine_of({"cpu_capability": "AVX2", "cuda": "None"}) == "AVX2;None;;;"
    assert machine_of({"gpu": "one"}) != machine_of({"gpu": "other"})
    assert len(machine_of({"git": "\ud800" * 9999})) == 256
