"""Where a forward pass itself cuts its derivative: detached tensors, gradients switched off.

Looked for only after a check failed. A program may mean it (straight-through estimators, stopped gradients),
and whoever reads the finding must see these places first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

MAX_PLACES = 8
_CUTS = frozenset({"detach", "detach_", "__get__", "_set_grad_enabled", "set_grad_enabled"})


def cuts_in(run: Callable[[], T]) -> tuple[T, list[str]]:
    """``run()`` and the lines within it that took a tensor with a gradient out of the graph."""
    import torch
    from torch.overrides import TorchFunctionMode

    found: dict[str, None] = {}

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self,
            function: Callable[..., object],
            types: object,
            args: Sequence[object] = (),
            kwargs: dict[str, object] | None = None,
        ) -> object:
            name = getattr(function, "__name__", "")
            if name in _CUTS and len(found) < MAX_PLACES:
                owner = args[0] if args else None
                is_data = name != "__get__" or getattr(function, "__self__", None) is torch.Tensor.data
                if is_data and (owner is False or (isinstance(owner, torch.Tensor) and owner.requires_grad)):
                    place = _program_line()
                    if place:
                        found[f"detached at {place}"] = None
            return function(*args, **(kwargs or {}))

    with Watch():
        result = run()
    return result, list(found)


def _program_line() -> str:
    """The innermost line on the stack that is neither torch's nor the guard's."""
    import torch

    package = os.path.dirname(torch.__file__) + os.sep
    own = os.path.dirname(os.path.dirname(__file__)) + os.sep
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith((package, own, "<")):
            return f"{path}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""
