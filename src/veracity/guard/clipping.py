"""Calls between backward pass and step that may change gradients: clipping, and a GradScaler's unscaling.

Gradients are read on both sides of such a call. Of ``clip_grad_norm_`` the norm it returns is kept, and at
the first calls, and at later ones that a key and the measured cost decide, the guard computes its own before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns
from types import GeneratorType, ModuleType
from typing import TYPE_CHECKING, cast

from .norms import own_norm
from .patching import replace
from .session import Session
from .shards import local_of, sharded_kind
from .steps import Steps
from .tensors import is_plain

if TYPE_CHECKING:
    from torch import Tensor
    from torch.amp.grad_scaler import GradScaler
    from torch.optim import Optimizer

    from .gradients import Event, Trail

    Opened = list[tuple[Trail, int, Event]]

ALWAYS = 4
SITE = "gradient"


def watch_clipping(session: Session, steps: Steps, torch: ModuleType) -> None:
    """Wrap ``clip_grad_norm_`` and ``clip_grad_value_`` in both places where they are found."""
    run, rest = session.shield.run, steps.rest
    watch = Watch(steps)

    def make_norm(original: Callable[..., object]) -> Callable[..., object]:
        def clip_grad_norm_(parameters: object, max_norm: object, *args: object, **kwargs: object) -> object:
            if rest.on:
                return original(parameters, max_norm, *args, **kwargs)
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
            if rest.on:
                return original(parameters, clip_value, *args, **kwargs)
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
        if steps.rest.on:
            return []
        tracked = steps.roster.of(optimizer)
        # One that is not enabled has no scale at all, and its calls do nothing.
        scale = scaler._scale if scaler.is_enabled() else None
        if tracked is None or tracked.pending is not None or scale is None:
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

    def __init__(self, steps: Steps) -> None:
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
        gradients = [one.grad for one in listed if one.grad is not None] if opened else []
        own = self._own(gradients, order) if opened else None
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

    def _own(self, gradients: Sequence[Tensor], order: float) -> Callable[[], float] | None:
        """The guard's own norm, where one is due at this call."""
        self._calls += 1
        if self._calls > ALWAYS and not self._steps.attention.norms.draws(0, self._calls):
            return None
        began = perf_counter_ns()
        own = own_norm(gradients, order)
        self._steps.attention.norms.looked((perf_counter_ns() - began) / 1e9)
        return own


def _listed(parameters: object, torch: ModuleType) -> tuple[object, list[Tensor]]:
    """What to hand on, and the tensors in it: a generator is run through once, and another handed on."""
    if isinstance(parameters, torch.Tensor):
        return parameters, [parameters]
    listed = list(cast("Iterable[Tensor]", parameters))
    return ((one for one in listed) if isinstance(parameters, GeneratorType) else listed), listed
