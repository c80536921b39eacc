"""What became of a gradient, told from its two sides."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.guard.relation import MAX_ELEMENTS, relation_of

finite = st.floats(-10, 10, width=32)


def told(before: torch.Tensor, after: torch.Tensor) -> str:
    found = relation_of(before, after)
    return found.kind if found is not None else "same"


@given(st.lists(finite, min_size=1, max_size=40), st.floats(0.01, 5))
@settings(max_examples=examples(200))
def test_clamping_is_told_from_all_else(values: list[float], bound: float) -> None:
    before = torch.tensor(values)
    after = before.clamp(-bound, bound)
    expected = ("same",) if torch.equal(before, after) else ("clamped", "scaled")
    assert told(before, after) in expected


@given(st.lists(finite.filter(lambda x: abs(x) > 1e-3), min_size=2, max_size=40), st.floats(0.1, 0.9))
@settings(max_examples=examples(200))
def test_a_factor_is_found(values: list[float], factor: float) -> None:
    before = torch.tensor(values)
    found = relation_of(before, before * factor)
    assert found is not None
    assert found.kind == "scaled"
    assert found.ratio == pytest.approx(factor, rel=1e-5)
    assert found.norm == pytest.approx(before.norm().item(), rel=1e-5)
    assert told(before, before * -factor) == "other"


def test_what_is_no_design_of_clipping() -> None:
    before = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    assert told(before, before.clone()) == "same"
    assert told(before, torch.zeros(6, 5)) == "other"
    assert told(before, before.roll(1, 0)) == "other"
    assert told(before, before * (torch.arange(30).reshape(6, 5) % 7 > 0)) == "other"
    assert told(before, before[:3]) == "other"
    assert told(before, before.to_sparse()) == "other"
    assert told(before, before.clamp(min=0)) == "clamped"


def test_what_is_not_finite_is_cleared() -> None:
    before = torch.tensor([1.0, float("nan"), float("inf"), -2.0])
    assert relation_of(before, before.clone()) is None
    assert told(before, torch.nan_to_num(before)) == "cleared"


def test_low_precision_rounds_a_factor() -> None:
    before = torch.randn(500, generator=torch.Generator().manual_seed(1)).bfloat16()
    assert told(before, before * 0.3) == "scaled"


def test_a_large_gradient_is_compared_in_part() -> None:
    before = torch.ones(MAX_ELEMENTS + 7)
    found = relation_of(before, before * 0.5)
    assert found is not None
    assert (found.kind, found.ratio, found.share) == ("scaled", 0.5, 1.0)
    assert found.norm == pytest.approx((MAX_ELEMENTS // 2 + 4) ** 0.5)
