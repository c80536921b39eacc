from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.detect.rules.data.likeness import likeness, shown

ORDER = [4, 9, 1, 7, 0, 3, 8, 2, 6, 5]


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ([7, 0, 3, 8], "indices [1] are left out"),
        ([7, 1, 0, 3], "another order"),
        ([1, 7, 0, 9], "index 3 is replaced by 9"),
        ([1, 7, 1, 3], "index 1 is repeated in place of 0"),
        ([4, 9, 1, 7], "shifted by 2 indices back"),
        ([2, 3, 4, 5], "stored order"),
        ([0, 2, 3, 9], "sorted"),
        ([6, 6, 6, 6], "repeated"),
        ([9, 0, 4, 6], "another shuffle"),
        ([9, 0, 4, 10], "outside"),
        ([], "an empty batch"),
    ],
)
def test_words(batch: list[int], words: str) -> None:
    assert words in likeness(batch, ORDER, 2, [], 10)


def test_an_earlier_order_comes_first() -> None:
    assert likeness([1, 7], ORDER, 0, [(3, [1, 7, 0])], 10) == "the same order as in iteration 3"


def test_a_batch_of_one_index() -> None:
    assert likeness([3], ORDER, 0, [], 10) == "index 4 is replaced by 3"


@given(
    st.lists(st.integers(-3, 20), max_size=30), st.integers(0, 40), st.lists(st.integers(0, 12), max_size=30)
)
def test_there_is_always_an_answer(batch: list[int], start: int, order: list[int]) -> None:
    assert likeness(batch, order, start, [(0, order[::-1])], 13)


def test_long_lists_are_cut() -> None:
    assert shown(range(20)).endswith("15, … 4 more]")
    assert shown([1, 2]) == "[1, 2]"
