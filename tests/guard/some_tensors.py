"""Tensors of any type and layout that parameters come in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool"]


@st.composite
def a_tensor(draw: st.DrawFn, dtypes: list[str] = DTYPES) -> Any:
    """A tensor of any of the layouts that parameters come in."""
    dtype = getattr(torch, draw(st.sampled_from(dtypes)))
    shape = draw(st.lists(st.integers(1, 5), min_size=0, max_size=3))
    seed = draw(st.integers(0, 1000))
    generator = torch.Generator().manual_seed(seed)
    base = (torch.randn([*shape, 3], generator=generator) * 50).to(dtype)
    layout = draw(st.sampled_from(["contiguous", "transposed", "expanded", "strided", "offset", "parameter"]))
    if layout == "transposed":
        return base.transpose(0, -1)
    if layout == "expanded":
        return base.unsqueeze(0).expand(4, *base.shape)
    if layout == "strided":
        return base[..., ::2]
    if layout == "offset":
        return base.reshape(-1)[1:]
    if layout == "parameter":
        return torch.nn.Parameter(base, requires_grad=base.is_floating_point())
    return base
