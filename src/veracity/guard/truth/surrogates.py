"""Where a forward pass itself cuts its derivative: detached tensors, gradients switched off.

Looked for at an optimizer's first check and after one that failed. A program may mean it (straight-through
estimators, stopped gradients), and whoever reads the finding must see these places first.
What is taken out of the graph is a constant to autograd, so the check can be made with it held constant.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

MAX_PLACES = 8
MAX_KEPT = 4096
_CUTS = frozenset({"detach", "detach_", "__get__"})
_NUMBERS = frozenset({"item", "tolist", "__float__", "numpy"})
_GATES = frozenset({"_set_grad_enabled", "set_grad_enabled"})


class ChangedCourseError(Exception):
    """The forward pass took other tensors out of the graph than when it was looked at."""


@dataclass(slots=True)
class Cuts:
    """The lines at which a forward pass takes tensors out of the graph, and what those held, in order."""

    places: dict[str, None] = field(default_factory=dict)
    kept: list[object] = field(default_factory=list)

    def keep(self, value: object) -> None:
        """Remember what was taken out of the graph, as it is now."""
        if len(self.kept) < MAX_KEPT:
            self.kept.append(_copy(value))

    @property
    def whole(self) -> bool:
        """Whether all that was taken out could be kept."""
        return len(self.kept) < MAX_KEPT


def cuts_in(run: Callable[[], T]) -> tuple[T, Cuts]:
    """``run()`` and what it took out of the graph."""
    found = Cuts()

    def look(function: Callable[..., object], args: Sequence[object], call: Callable[[], object]) -> object:
        cut = _cuts(function, args)
        if cut and len(found.places) < MAX_PLACES:
            place = _program_line()
            if place:
                found.places[f"detached at {place}"] = None
        result = call()
        if cut or _without_gradient():
            found.keep(_outcome(function, args, result))
        return result

    with _watching(look):
        return run(), found


def holding(cuts: Cuts, run: Callable[[], T]) -> T:
    """``run()`` with everything that it takes out of the graph as it was: constants, as autograd has it.

    Raises ChangedCourseError.
    """
    kept = iter(cuts.kept)

    def hold(function: Callable[..., object], args: Sequence[object], call: Callable[[], object]) -> object:
        cut = _cuts(function, args)
        result = call()
        if not cut and not _without_gradient():
            return result
        outcome, was = _outcome(function, args, result), next(kept, None)
        if not _alike(outcome, was):
            raise ChangedCourseError
        if not _in_place(function):
            return _copy(was) if was is not None else result
        import torch

        if isinstance(outcome, torch.Tensor) and isinstance(was, torch.Tensor):
            with torch.no_grad():
                outcome.copy_(was)
        return result

    with _watching(hold):
        return run()


def _watching(look: Callable[..., object]) -> AbstractContextManager[object]:
    """Every function of torch within goes through ``look(function, arguments, call)``."""
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self,
            function: Callable[..., object],
            types: object,
            args: Sequence[object] = (),
            kwargs: dict[str, object] | None = None,
        ) -> object:
            return look(function, args, lambda: function(*args, **(kwargs or {})))

    watch: AbstractContextManager[object] = Watch()
    return watch


def _cuts(function: Callable[..., object], args: Sequence[object]) -> bool:
    """Whether a call takes a tensor with a gradient out of the graph, or opens a part without any."""
    import torch

    name, owner = getattr(function, "__name__", ""), args[0] if args else None
    if name in _GATES:
        return owner is False
    if not isinstance(owner, torch.Tensor) or not owner.requires_grad:
        return False
    if name == "__get__":
        return getattr(function, "__self__", None) is torch.Tensor.data
    return name in _CUTS or name in _NUMBERS


def _without_gradient() -> bool:
    """Whether this is a part without gradients that is not a custom function's own forward pass."""
    import torch

    if torch.is_grad_enabled():
        return False
    path, frame = torch.autograd.function.__file__, sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "apply" and frame.f_code.co_filename == path:
            return False
        frame = frame.f_back  # type: ignore[assignment]
    return True


def _in_place(function: Callable[..., object]) -> bool:
    name = getattr(function, "__name__", "")
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


def _outcome(function: Callable[..., object], args: Sequence[object], result: object) -> object:
    """What a call made: its result, or the tensor that it wrote into."""
    return args[0] if _in_place(function) and args else result


def _copy(value: object) -> object:
    """A copy of the floating-point tensors and numbers in ``value``; None for all else."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().clone() if value.is_floating_point() else None
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        parts = [_copy(one) for one in value]
        return None if any(one is None for one in parts) else type(value)(parts)
    return value if isinstance(value, float) else None


def _alike(value: object, was: object) -> bool:
    import torch

    if isinstance(was, torch.Tensor):
        return isinstance(value, torch.Tensor) and value.shape == was.shape and value.dtype == was.dtype
    return was is None or type(value) is type(was)


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
