"""By what a loss is multiplied before its backward pass: plain numbers in the graph, from its root on.

Programs divide a loss by the batches of a step, a GradScaler multiplies it. Such factors are met first when
one walks from the loss' node, up to a node that is none: the loss function. Their product is shipped with
each step's record, the way there once for each place that calls ``backward``. Nothing is judged here. The
scale of a GradScaler is left out. A pass on a loss function's result that an earlier pass of the same step
went back from as well is marked, for what both bring adds up.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from ..core.gradients import AGAIN
from . import saved
from .tensors import is_plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType, FrameType

    import torch

    from .session import Session

MAX_NODES = 8
MAX_WAYS = 64
MAX_RUNS = 64
MAX_SCALES = 4
MAX_NAME = 80

_THROUGH = frozenset({
    "ToCopyBackward0", "ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "AliasBackward0",
    "SqueezeBackward0", "SqueezeBackward1", "UnsqueezeBackward0", "CloneBackward0", "SumBackward0",
})  # fmt: skip
"""On one of these a single number stays as it is."""
_SUMS = frozenset({"SumBackward0"})
_PLUS = {
    "AddBackward0": (1.0, 1.0), "SubBackward0": (1.0, -1.0),
    "RsubBackward0": (-1.0, 1.0), "RsubBackward1": (-1.0, 1.0),
}  # fmt: skip
"""A constant is added to a number, or taken from it, or it from a constant: by what the number is multiplied,
where it is the first operand and where it is the second. ``alpha`` multiplies the one that is subtracted, or
the second of a sum."""
_GRADIENT = "gradient"
_LEAF = "AccumulateGrad"
"""A parameter's own node, which all graphs have in common."""


class Roots:
    """What the backward passes since the last step began from."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ways: dict[tuple[tuple[str, ...], str, CodeType, int], int] = {}
        self._scales: list[torch.Tensor] = []
        self._coming: tuple[int, float | None] | None = None
        self._runs: list[list[object]] = []
        self._bases: set[tuple[int, str]] = set()
        self._blind: bool | None = None

    def begins(
        self,
        of: object,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        caller: FrameType,
        *,
        partly: bool = False,
    ) -> None:
        """An outermost backward pass begins; ``args`` and ``kwargs`` are what it is given besides.

        ``partly``: it was told which tensors' gradients it is to bring, so another may bring those of others.
        """
        self._coming = None
        loss = _only(of)
        if loss is None or loss.grad_fn is None:
            return
        factors: list[float | None] = []
        nodes: list[str] = []
        given = args[0] if args else kwargs.get("gradient", kwargs.get("grad_tensors"))
        if given is not None:
            gradient = _only(given)
            factors.append(_value(gradient))
            nodes.append(_GRADIENT)
        end = self._walk(loss.grad_fn, factors, nodes)
        base = type(end).__name__
        # A number, not the node: who holds that keeps the graph.
        number = int(end._sequence_nr()), base
        if number in self._bases and not partly:
            nodes.insert(0, AGAIN)
        elif base != _LEAF and not partly and len(self._bases) < MAX_RUNS:
            self._bases.add(number)
        known = [factor for factor in factors if factor is not None]
        way = self._way(tuple(nodes), base, caller)
        self._coming = way, prod(known, start=1.0) if len(known) == len(factors) else None

    def ran(self) -> None:
        """It ended."""
        way, factor = self._coming or (-1, None)
        last = self._runs[-1] if self._runs else None
        if last is not None and last[0] == way and last[2] == factor:
            last[1] += 1  # type: ignore[operator]
        elif len(self._runs) < MAX_RUNS:
            self._runs.append([way, 1, factor])
        self._coming = None

    def told(self) -> list[list[object]]:
        """Ways, numbers of passes in a row and factors, as the record holds them."""
        return [list(run) for run in self._runs]

    def clear(self) -> None:
        """A step was made."""
        self._runs.clear()
        self._bases.clear()

    def scaled_by(self, scale: object) -> None:
        """A GradScaler multiplied a loss by this tensor, which it keeps and rewrites."""
        import torch

        if isinstance(scale, torch.Tensor) and all(scale is not known for known in self._scales):
            self._scales = [*self._scales, scale][-MAX_SCALES:]

    # --- reading ---------------------------------------------------------------------------------

    def _walk(self, root: saved.Node, factors: list[float | None], nodes: list[str]) -> saved.Node:
        """Follow factors from ``root``: the first node that is none."""
        node: saved.Node = root
        for _ in range(MAX_NODES):
            name = type(node).__name__
            below, turn = None, -1
            for at, (following, _) in enumerate(node.next_functions):
                if following is not None:
                    if below is not None:
                        return node
                    below, turn = following, at
            if below is None:
                return node
            if name == "MulBackward0":
                factors.append(self._factor(node, "_raw_saved_self" if turn else "_raw_saved_other"))
                nodes.append(name)
            elif name == "DivBackward0" and not turn:
                value = self._factor(node, "_raw_saved_other")
                factors.append(1.0 / value if value else None)
                nodes.append(name)
            elif name == "NegBackward0":
                factors.append(-1.0)
                nodes.append(name)
            elif name in _PLUS:
                factor = _beside_a_constant(node, turn)
                if factor != 1.0:
                    factors.append(factor)
                    nodes.append(name)
            elif name not in _THROUGH or (name in _SUMS and not _of_one(node)):
                return node
            node = below
        return node

    def _factor(self, node: saved.Node, attribute: str) -> float | None:
        """By what a node multiplies; None when that cannot be read."""
        if self._blind is None:
            self._blind = not saved.can_see()
        if self._blind:
            return None
        kept = saved.kept(node, attribute)
        if kept is None:
            return None
        for scale in self._scales:
            if scale.dtype is kept.dtype and scale.data_ptr() == kept.data_ptr():
                return 1.0
        return _value(kept)

    def _way(self, nodes: tuple[str, ...], base: str, caller: FrameType) -> int:
        """The number of this way to a loss function from this place in the program; -1 of one too many."""
        key = nodes, base, caller.f_code, caller.f_lasti
        way = self._ways.get(key)
        if way is None:
            if len(self._ways) >= MAX_WAYS:
                return -1
            way = self._ways[key] = len(self._ways)
            path, line = _place(caller)
            via_path, via_line = _place(caller.f_back)
            body = {"root": way, "nodes": list(nodes), "base": base[:MAX_NAME], "path": path, "line": line}
            self._session.emit("root", {**body, "via_path": via_path, "via_line": via_line})
        return way


def _place(frame: FrameType | None) -> tuple[str, int]:
    return (frame.f_code.co_filename, frame.f_lineno or 0) if frame is not None else ("", 0)


def _only(value: object) -> torch.Tensor | None:
    """The one tensor with one number that ``value`` is or holds."""
    import torch

    if isinstance(value, (list, tuple)):
        if len(value) != 1:
            return None
        value = value[0]
    if isinstance(value, torch.Tensor) and value.numel() == 1 and is_plain(value):
        return value
    return None


def _value(tensor: torch.Tensor | None) -> float | None:
    """The single number in a tensor, where asking for it waits for no device."""
    if tensor is None or not tensor.is_cpu or not is_plain(tensor):
        return None
    value = tensor.item()
    return None if isinstance(value, complex) else float(value)


def _beside_a_constant(node: saved.Node, turn: int) -> float | None:
    """By what a sum or difference with a constant multiplies its operand number ``turn``."""
    sign = _PLUS[type(node).__name__][turn]
    first_is_scaled = type(node).__name__.startswith("Rsub")
    if first_is_scaled == bool(turn):
        return sign
    alpha = getattr(node, "_saved_alpha", None)
    return sign * alpha if isinstance(alpha, (int, float)) else None


def _of_one(node: saved.Node) -> bool:
    """Whether a sum is of a single number."""
    sizes = getattr(node, "_saved_self_sym_sizes", None)
    return sizes is not None and all(size == 1 for size in sizes)
