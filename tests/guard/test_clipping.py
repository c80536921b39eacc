"""The guard's own norm, and when it is computed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.guard import clipping
from veracity.guard.schedule import NORM, Schedule
from veracity.guard.steps import Steps

pytest.importorskip("torch")

import torch


@settings(max_examples=examples(30))
@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=6),
    st.sampled_from(["float32", "float64", "bfloat16"]),
    st.sampled_from([2.0, float("inf")]),
)
def test_the_own_norm_is_that_of_all_together(sizes: list[int], dtype: str, order: float) -> None:
    torch.manual_seed(1)
    kind = getattr(torch, dtype)
    gradients = [torch.randn(size).to(kind) for size in sizes]
    own = clipping.own_norm(gradients, order)
    assert own is not None
    together = torch.cat([one.double() for one in gradients])
    assert own() == pytest.approx(float(torch.linalg.vector_norm(together, order)), rel=1e-5)


def test_pieces_and_layouts_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipping, "CHUNK", 7)
    gradient = torch.randn(12, 10).t()
    own = clipping.own_norm([gradient], 2.0)
    assert own is not None
    assert own() == pytest.approx(float(gradient.norm()), rel=1e-5)


@pytest.mark.parametrize(
    ("gradients", "order"),
    [
        ([], 2.0),
        ([torch.ones(3)], 3.0),
        ([torch.ones(3).to_sparse()], 2.0),
        ([torch.ones(2, dtype=int)], 2.0),
    ],
)
def test_no_own_norm_of_what_it_cannot_read(gradients: list[Any], order: float) -> None:
    assert clipping.own_norm(gradients, order) is None


def test_it_is_due_at_the_first_calls_and_then_by_a_key() -> None:
    def watched(key: bytes) -> list[bool]:
        steps = cast("Steps", SimpleNamespace(norms=Schedule(key * 32, 0.01, NORM)))
        watch = clipping.Watch(steps)
        return [watch._own([torch.ones(3)], 2.0) is not None for _ in range(500)]

    first, second = watched(b"a"), watched(b"b")
    assert first[: clipping.ALWAYS] == second[: clipping.ALWAYS] == [True] * clipping.ALWAYS
    assert first != second
    assert 30 < sum(first) < 100
