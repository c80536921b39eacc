"""Optimizer state that is smaller than its parameter, read at the sampled elements.

NAdam keeps one number per parameter, Adafactor one per row and one per column of a matrix. Each element of
the parameter has its entry in them, which is shipped with the element as if the state had the parameter's
shape; so the record needs no other form. Only states of these names are read: what a program keeps in its
optimizer under other names may be anything.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .reader import Picked, Piece, through_torch
from .tensors import is_plain

if TYPE_CHECKING:
    import torch

SPREAD = frozenset({"mu_product", "row_var", "col_var"})


def entries(name: str, value: object, parameter: torch.Tensor, picked: Picked) -> Iterator[tuple[str, Piece]]:
    """``(field, values)`` for the picked elements; with a matrix' row statistics also their mean.

    Nothing for what does not spread to the parameter's shape, or has another one than torch gives it.
    """
    import torch

    if not isinstance(value, torch.Tensor) or not is_plain(value):
        return
    if value.dim() == 0:
        code = "d" if value.dtype is torch.float64 else "f"
        yield name, (code, array(code, [value.item()]).tobytes() * picked.count)
        return
    shape = tuple(parameter.shape)
    if len(shape) < 2 or value.dim() != len(shape):
        return
    reduced = -1 if name == "row_var" else -2
    expected = list(shape)
    expected[reduced] = 1
    if list(value.shape) != expected:
        return
    yield name, through_torch(value.expand(shape), picked)
    if name == "row_var":
        yield "row_mean", through_torch(value.mean(dim=-2, keepdim=True).expand(shape), picked)
