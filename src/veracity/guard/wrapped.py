"""Looking through objects that stand in for an optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_DEPTH = 8


def optimizer_behind(outer: object) -> torch.optim.Optimizer | None:
    """The optimizer whose steps are seen when ``outer`` is stepped; None when ``outer`` is no optimizer.

    A wrapper that passes everything on (accelerate's) shares the parameter groups of the one inside and fires
    no hooks of its own. One that fires them updates by its own rules, and is itself the optimizer.
    """
    import torch

    for _ in range(MAX_DEPTH):
        if not isinstance(outer, torch.optim.Optimizer):
            return None
        inner = vars(outer).get("optimizer")
        if inner is None:
            return outer
        if getattr(type(outer).step, "hooked", False) or not isinstance(inner, torch.optim.Optimizer):
            return outer
        if inner.param_groups is not outer.param_groups:
            return outer
        outer = inner
    return None
