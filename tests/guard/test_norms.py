"""The guard's own norm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.guard import norms

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
    own = norms.own_norm(gradients, order)
    assert own is not None
    together = torch.cat([one.double() for one in gradients])
    assert own() == pytest.approx(float(torch.linalg.vector_norm(together, order)), rel=1e-5)


def test_pieces_and_layouts_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norms, "CHUNK", 7)
    gradient = torch.randn(12, 10).t()
    own = norms.own_norm([gradient], 2.0)
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
    assert norms.own_norm(gradients, order) is None
