from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.detect.rules.continuity.made import sample
from veracity.detect.rules.continuity.compare import change_evidence, common_factor, compare

VALUES = st.lists(st.floats(width=32), min_size=1, max_size=8)


@given(VALUES)
def test_equal_bits_are_equal_even_when_not_numbers(values: list[float]) -> None:
    former, later = sample(0, {}, {"param": values}), sample(0, {"param": values}, {}, repeated=True)
    assert compare(former, later) == (1, [])


@given(VALUES, VALUES)
def test_any_other_bits_are_a_change(old: list[float], new: list[float]) -> None:
    size = min(len(old), len(new))
    former, later = sample(0, {}, {"param": old[:size]}), sample(0, {"param": new[:size]}, {}, repeated=True)
    compared, changes = compare(former, later)
    assert compared == 1
    same = former.after["param"].tobytes() == later.before["param"].tobytes()
    assert bool(changes) is not same
    for change in changes:
        assert 1 <= change.changed <= size
        assert change.largest >= 0
        assert change_evidence(changes, [])[0].name.startswith("tensor 0 param")


def test_minus_zero_is_not_zero() -> None:
    _, changes = compare(sample(0, {}, {"param": [0.0]}), sample(0, {"param": [-0.0]}, {}, repeated=True))
    assert len(changes) == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ([1.0, -2.0, 3.0], [0.9, -1.8, 2.7], "multiplied by 0.9"),
        ([1.0, -2.0], [-1.0, 2.0], "multiplied by -1"),
        ([1.0, 2.0, 4.0], [0.0, 0.0, 0.0], ""),
        ([1.0, 2.0, 4.0], [0.502, 1.0, 2.002], "multiplied by about 0.5"),
        ([1.0, 2.0], [1.1, 2.1], ""),
        ([0.0, 2.0], [0.1, 1.0], ""),
        ([math.inf, 2.0], [1.0, 1.0], ""),
        ([3.0], [1.0], ""),
    ],
)
def test_common_factor(old: list[float], new: list[float], words: str) -> None:
    _, changes = compare(sample(0, {}, {"param": old}), sample(0, {"param": new}, {}, repeated=True))
    found = common_factor(changes)
    assert found == words or (words == "" and found == "multiplied by 0")
