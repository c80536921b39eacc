"""Readings compared, and what the statistics of rare habits allow."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.contract import TensorDeclaration
from veracity.core.gradients import Reading
from veracity.detect.rules.gradient.links import (
    Comparison,
    Format,
    Part,
    chance,
    clamped,
    compare,
    ratio_of,
    shrunk,
    words_of,
    zeroed,
)

torch = pytest.importorskip("torch")

FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def reading(*tensors: list[float]) -> Reading:
    values = array("f", [value for one in tensors for value in one])
    return Reading(len(tensors[0]), tuple(range(len(tensors))), values)


def format_of(dtype: str) -> Format:
    return Format.of([TensorDeclaration("w", [4], dtype, 4, 0)])


@given(
    st.sampled_from(sorted(FORMATS)),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=4, max_size=40),
    st.floats(1e-3, 1e3),
)
def test_torchs_own_clipping_is_within_the_bound(dtype: str, values: list[float], limit: float) -> None:
    parameter = torch.nn.Parameter(torch.zeros(len(values), dtype=FORMATS[dtype]))
    parameter.grad = torch.tensor(values).to(FORMATS[dtype])
    before = parameter.grad.float().tolist()
    total = float(torch.nn.utils.clip_grad_norm_([parameter], limit))
    after = parameter.grad.float().tolist()
    factor = min(1.0, limit / (total + 1e-6)) if total < 1e30 else 0.0
    result = compare(reading(before), reading(after), [len(values)], format_of(dtype), lambda at: factor)
    assert total > 1e30 or result.changed == []


@given(st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=20), st.floats(1e-3, 50))
def test_torchs_own_clamping_is_within_the_bound(values: list[float], limit: float) -> None:
    for dtype in FORMATS.values():
        parameter = torch.nn.Parameter(torch.zeros(len(values), dtype=dtype))
        parameter.grad = torch.tensor(values).to(dtype)
        before = parameter.grad.float().tolist()
        torch.nn.utils.clip_grad_value_([parameter], limit)
        after = parameter.grad.float().tolist()
        assert clamped(reading(before), reading(after), limit, ()).changed == []


def test_without_a_factor_one_bit_is_a_change() -> None:
    was, rounding = reading([1.0, -2.0, 0.0]), format_of("float32")
    assert compare(was, reading([1.0, -2.0, -0.0]), [3], rounding).changed == []
    (part,) = compare(was, reading([1.0, -2.0, 1e-45]), [3], rounding).changed
    assert (part.same, part.whole) == (2, False)
    assert len(part.pairs) == 1


def test_elements_beyond_a_small_tensor_and_numbers_that_are_none_count_nothing() -> None:
    was, now = reading([1.0, float("nan"), 5.0, 5.0]), reading([1.0, 7.0, 6.0, 6.0])
    result = compare(was, now, [2], format_of("float32"))
    assert (result.changed, result.invalid) == ([], 1)


def test_a_gradient_given_up_takes_no_part_and_one_that_appears_is_a_change() -> None:
    two, one = reading([1.0], [2.0]), Reading(1, (1,), array("f", [2.0]))
    assert compare(two, one, [1, 1], format_of("float32")).changed == []
    (part,) = compare(one, two, [1, 1], format_of("float32")).changed
    assert part.pairs == ((0.0, 1.0),)


@given(st.integers(1, 30), st.integers(0, 40), st.integers(0, 400))
def test_chances_of_all_outcomes_add_up(sampled: int, before: int, more: int) -> None:
    assert chance(0, sampled, before, before + more) == pytest.approx(1.0)
    falling = [chance(some, sampled, before, before + more) for some in range(sampled + 1)]
    assert falling == sorted(falling, reverse=True)


def test_a_habit_met_late_is_likely_and_a_changed_layer_is_not() -> None:
    assert chance(1, 16, 0, 160) > 0.05
    assert chance(16, 16, 0, 48) < 1e-12
    assert chance(8, 16, 0, 160) < 1e-8
    assert chance(8, 16, 40, 160) > 0.01


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([(1.0, -1.0), (2.0, -2.0)], "their sign was turned"),
        ([(1.0, 2.5), (2.0, 5.0)], "they were multiplied by 2.5"),
        ([(1.0, 0.0), (2.0, 0.0)], "they were set to zero"),
        ([(1.0, 0.5), (2.0, 1.5)], "they were made smaller, each by another factor"),
        ([(1.0, 0.5), (2.0, -1.5)], "something was added to them, or they were replaced"),
        ([(0.0, 0.5), (2.0, 1.0)], "something was added to them, or they were replaced"),
    ],
)
def test_the_words(pairs: list[tuple[float, float]], words: str) -> None:
    comparison = Comparison({0: Part(0, 0, tuple(pairs))})
    assert words_of(comparison, format_of("float32")) == words


def test_a_ratio_needs_every_element() -> None:
    rounding = format_of("float32")
    assert ratio_of([(1.0, 2.0), (3.0, 6.0)], rounding) == 2.0
    assert ratio_of([(1.0, 2.0), (3.0, 6.1)], rounding) is None
    assert ratio_of([(1.0, 2.0), (0.0, 6.0)], rounding) is None
    assert ratio_of([(1.0, float("nan"))], rounding) is None
    assert ratio_of([], rounding) is None
    assert not shrunk([(1.0, 0.5), (1.0, 0.0)])
    assert not zeroed([(1.0, 0.0), (1.0, 0.1)])
