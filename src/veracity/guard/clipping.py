"""Calls between backward pass and step that may change gradients: clipping, and a GradScaler's unscaling.

Gradients are read on both sides of such a call. Of ``clip_grad_norm_`` the norm it returns is kept, and at
the first calls and about every eighth later one, as a key decides, the guard computes its own before.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Sequence
from math import inf
from types import GeneratorType, ModuleType
from typing import TYPE_CHECKING, cast

from .gradients import Event, Trail
from .patching import replace
from .session import Session
from .shards import local_of, sharded_kind
from .steps import Steps
from .tensors import is_plain

if TYPE_CHECKING:
    from torch import Tensor
    from torch.amp.grad_scaler import GradScaler
    from torch.optim import Optimizer

ALWAYS = 4
CHUNK = 1 << 18
SITE = "gradient"
Opened = list[tuple[Trail, int, Event]]


def watch_clipping(session: Session, steps: Steps, torch: ModuleType) -> None:
    """Wrap ``clip_grad_norm_`` and ``clip_grad_value_`` in both places where they are found."""
    run = session.shield.run
    watch = Watch(session.config.key, steps)

    def make_norm(original: Callable[..., object]) -> Callable[..., object]:
        def clip_grad_norm_(parameters: object, max_norm: object, *args: object, **kwargs: object) -> object:
            handed, listed = _listed(parameters, torch)
            opened = run(SITE, watch.norm, listed, max_norm, args, kwargs)
            total = original(handed, max_norm, *args, **kwargs)
            run("step", clipped, max_norm, total)
            run(SITE, watch.close, opened, total)
            return total

        return clip_grad_norm_

    def make_value(original: Callable[..., object]) -> Callable[..., object]:
        def clip_grad_value_(
            parameters: object, clip_value: object, *args: object, **kwargs: object
        ) -> object:
            handed, listed = _listed(parameters, torch)
            opened = run(SITE, watch.open, "value", listed, clip_value)
            result = original(handed, clip_value, *args, **kwargs)
            run(SITE, watch.close, opened, None)
            return result

        return clip_grad_value_

    def clipped(max_norm: object, total: object) -> None:
        # A norm of sharded gradients may still have to be summed over the ranks: asking for its value would
        # start a collective.
        total = local_of(total, sharded_kind())
        if isinstance(total, torch.Tensor) and total.numel() == 1 and is_plain(total):
            steps.clipped = (float(cast("float", max_norm)), total.detach())

    for owner in (torch.nn.utils, torch.nn.utils.clip_grad):
        replace(owner, "clip_grad_norm_", make_norm)
        replace(owner, "clip_grad_value_", make_value)


def watch_unscaling(session: Session, steps: Steps, torch: ModuleType) -> None:
    """Wrap ``GradScaler.unscale_``, which ``GradScaler.step`` calls too, and ``GradScaler.scale``."""
    run = session.shield.run

    def make(original: Callable[..., object]) -> Callable[..., object]:
        def unscale_(self: GradScaler, optimizer: Optimizer) -> object:
            opened = run(SITE, begins, self, optimizer)
            result = original(self, optimizer)
            run(SITE, Watch.close, opened, None)
            return result

        return unscale_

    def begins(scaler: GradScaler, optimizer: Optimizer) -> Opened:
        tracked = steps.roster.of(optimizer)
        scale = scaler._scale
        if tracked is None or tracked.pending is not None or not scaler.is_enabled() or scale is None:
            return []
        event = tracked.trail.opened(tracked.steps, "unscale", scale.detach().clone())
        return [(tracked.trail, tracked.steps, event)] if event is not None else []

    def make_scale(original: Callable[..., object]) -> Callable[..., object]:
        def scale(self: GradScaler, outputs: object) -> object:
            result = original(self, outputs)
            run("gradient root", steps.roots.scaled_by, getattr(self, "_scale", None))
            return result

        return scale

    # Up to torch 2.2 there is but the one for CUDA; from 2.3 on that one inherits this method.
    for name in ("torch.amp.grad_scaler", "torch.cuda.amp.grad_scaler"):
        kind = getattr(sys.modules.get(name), "GradScaler", None)
        if kind is not None and "unscale_" in vars(kind):
            replace(kind, "unscale_", make)
            replace(kind, "scale", make_scale)


class Watch:
    """Opens and closes the events of the optimizers that a call concerns."""

    def __init__(self, key: bytes, steps: Steps) -> None:
        self._key = key + b"norm"
        self._steps = steps
        self._calls = 0

    def norm(
        self,
        listed: Sequence[Tensor],
        max_norm: object,
        args: Sequence[object],
        kwargs: dict[str, object],
    ) -> Opened:
        """``clip_grad_norm_`` is about to run."""
        opened = self.open("norm", listed, max_norm)
        order = float(cast("float", args[0] if args else kwargs.get("norm_type", 2.0)))
        due = self._due()
        gradients = [one.grad for one in listed if one.grad is not None] if opened else []
        own = own_norm(gradients, order) if due and opened else None
        for _, _, event in opened:
            event.norm_type, event.own = order, own
            event.largest = max((one.numel() for one in gradients), default=0)
        return opened

    def open(self, kind: str, listed: Sequence[Tensor], limit: object) -> Opened:
        """A call on these tensors is about to run."""
        ids = frozenset(map(id, listed))
        opened: Opened = []
        for _, tracked in self._steps.roster.known():
            if tracked.pending is not None or ids.isdisjoint(map(id, tracked.parameters)):
                continue
            event = tracked.trail.opened(tracked.steps, kind, limit)
            if event is None:
                continue
            event.concerned = ids
            event.repeated = len(ids) < len(listed)
            event.outside = [
                tensor
                for tensor in tracked.trail.chosen(tracked.steps)
                if id(tracked.parameters[tensor]) not in ids
            ]
            opened.append((tracked.trail, tracked.steps, event))
        return opened

    @staticmethod
    def close(opened: Opened | None, total: Tensor | None) -> None:
        """It has returned; ``total`` is the norm it gave."""
        readable = total is not None and is_plain(total)
        for trail, step, event in opened or []:
            event.norm = total.detach() if total is not None and readable else None
            trail.closed(step, event)

    def _due(self) -> bool:
        """Whether the guard computes its own norm at this call."""
        self._calls += 1
        seed = self._key + self._calls.to_bytes(8, "little")
        return self._calls <= ALWAYS or hashlib.sha256(seed).digest()[0] < 32


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


def _listed(parameters: object, torch: ModuleType) -> tuple[object, list[Tensor]]:
    """What to hand on, and the tensors in it: a generator is run through once, and another handed on."""
    if isinstance(parameters, torch.Tensor):
        return parameters, [parameters]
    listed = list(cast("Iterable[Tensor]", parameters))
    return ((one for one in listed) if isinstance(parameters, GeneratorType) else listed), listed
