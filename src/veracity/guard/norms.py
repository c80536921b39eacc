"""The norm of an optimizer's gradients, as the guard computes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING

from .tensors import is_plain

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 1 << 18


def own_norm(gradients: Sequence[Tensor], order: float) -> Callable[[], float] | None:
    """The norm of all these gradients together, to be called for; None when it is not computed.

    For order 2 the squares are added up in float32 over 256 Ki elements at a time and those sums in float64.
    """
    import torch

    if order not in (2.0, inf) or not gradients:
        return None
    if not all(is_plain(one) and one.is_floating_point() for one in gradients):
        return None
    parts: list[Tensor] = []
    with torch.no_grad():
        for gradient in gradients:
            flat = gradient.detach().reshape(-1)
            for begin in range(0, flat.numel(), CHUNK):
                piece = flat[begin : begin + CHUNK]
                piece = piece if piece.dtype == torch.float64 else piece.float()
                parts.append(piece.abs().max() if order == inf else torch.dot(piece, piece))
    if order == inf:
        return lambda: max(map(float, parts), default=0.0)
    return lambda: sum(map(float, parts)) ** 0.5
