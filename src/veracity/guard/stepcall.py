"""What the call of an optimizer's step says by itself: from where it came, what was hung on the optimizer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from . import tensors
from .shards import local_of, sharded_kind

if TYPE_CHECKING:
    from types import FrameType

    import torch

MAX_FRAMES = 64


def unsharded(listed: Sequence[tuple[int, torch.Tensor]], readable: Sequence[int]) -> list[int]:
    """Those of the ``readable`` places whose parameter is no part of a sharded one."""
    return [place for place in readable if tensors.is_plain(listed[place][1])]


def is_compiled(frame: FrameType | None) -> bool:
    """Whether the step is called from within a function that torch.compile runs."""
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    path = getattr(compiler, "__file__", None)
    if path is None:
        return False
    for _ in range(MAX_FRAMES):
        if frame is None:
            return False
        if frame.f_code.co_filename == path:
            return True
        frame = frame.f_back
    return False


def counts_for_a_scheduler(step: object) -> bool:
    """Whether a ``step`` on an instance is the one that torch's schedulers put there to count its calls."""
    module = sys.modules.get("torch.optim.lr_scheduler")
    code = getattr(step, "__code__", None)
    return code is not None and code.co_filename == getattr(module, "__file__", None)


def has_unreadable_gradient(parameter: torch.Tensor) -> bool:
    """Whether there is a gradient, and one that cannot be read element by element."""
    gradient = parameter.grad
    if gradient is None or tensors.is_plain(gradient):
        return False
    local = local_of(gradient, sharded_kind(), parameter)
    return local is gradient or not tensors.is_plain(cast("torch.Tensor", local))


def on_stack(frame: object, wanted: int) -> bool:
    """Whether the frame with the id ``wanted`` is ``frame`` or calls it."""
    while frame is not None:
        if id(frame) == wanted:
            return True
        frame = getattr(frame, "f_back", None)
    return False


def loss_scale(optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """What a GradScaler has put on an optimizer that divides gradients by itself."""
    scale, found = getattr(optimizer, "grad_scale", None), getattr(optimizer, "found_inf", None)
    if scale is None and found is None:
        return {"scaled": False}
    return {
        "scaled": scale is not None,
        "scale": None if scale is None else float(scale),
        "skipped": found is not None and float(found) != 0.0,
    }
