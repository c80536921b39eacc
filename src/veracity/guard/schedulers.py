"""Learning-rate schedulers: what they declare and when they are stepped."""

from __future__ import annotations

import gc
import itertools
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from . import declare
from .patching import replace
from .stepcall import on_stack
from .weakmap import WeakMap
from .wrapped import optimizer_behind

if TYPE_CHECKING:
    import torch

    from .session import Session
    from .steps import Steps
    from .tracked import Tracked

MAX_WITHIN = 64
Maker = Callable[[Callable[..., object]], Callable[..., object]]


class Schedulers:
    """All schedulers of this process. Only outermost calls count: SequentialLR steps its children itself."""

    def __init__(self, session: Session, steps: Steps) -> None:
        self._session = session
        self._steps = steps
        self._numbers: WeakMap[object, int] = WeakMap()
        self._functions: WeakMap[object, tuple[int, ...]] = WeakMap()
        self._counter = itertools.count()
        self._searched: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self.depth = 0
        self.constructing = 0

    def before_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Before an optimizer's first step: declare the schedulers that were built for it."""
        if optimizer in self._searched:
            return
        self._searched.add(optimizer)
        from torch.optim import lr_scheduler

        kinds = (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau)
        found = [
            one
            for one in gc.get_objects()
            if issubclass(type(one), kinds) and _optimizer_of(one) is optimizer
        ]
        inner = {id(child) for one in found for child in vars(one).get("_schedulers", ())}
        for scheduler in found:
            if id(scheduler) not in inner:
                self._declare(scheduler)

    def constructed(self, scheduler: object) -> None:
        """A scheduler was built: one that arrives in the middle of a run is declared at once."""
        if _optimizer_of(scheduler) in self._searched and scheduler not in self._numbers:
            self._declare(scheduler)

    def about_to_step(self, scheduler: object) -> None:
        """The program calls ``scheduler.step``: a scheduler never seen before is declared first."""
        if self._numbers.find(scheduler) is None:
            self._declare(scheduler)

    def stepped(self, scheduler: object, *, explicit: bool) -> None:
        """The outermost ``scheduler.step`` returned."""
        optimizer = _optimizer_of(scheduler)
        if optimizer is None:
            return
        tracked = self._steps.roster.of(optimizer)
        within = tracked is not None and _in_a_hook_after(tracked)
        number = self._numbers.find(scheduler)
        body = {
            "scheduler": -1 if number is None else number,
            "last_epoch": int(getattr(scheduler, "last_epoch", 0)),
            "explicit": explicit,
            "before_step": tracked.steps + within if tracked is not None else 0,
            "lrs": _rates(optimizer),
            "base_lrs": declare.base_rates(scheduler),
        }
        functions = declare.rate_functions(scheduler)
        if functions:
            before, now = self._functions.find(scheduler), _identities(functions)
            if before != now:
                self._functions[scheduler] = now
                if before is not None:
                    body["functions"] = declare.functions_of(functions)
        if tracked is not None and within and len(tracked.scheduled) < MAX_WITHIN:
            tracked.scheduled.append(body)
        else:
            self._steps.rest.scheduled(body)

    def reloaded(self, scheduler: object) -> None:
        """``load_state_dict`` was called: the scheduler declares itself anew."""
        self._declare(scheduler, reloaded=True)

    def _declare(self, scheduler: object, *, reloaded: bool = False) -> None:
        optimizer = _optimizer_of(scheduler)
        if optimizer is None:
            return
        number = self._numbers.get(scheduler)
        if number is None:
            number = self._numbers[scheduler] = next(self._counter)
        tracked = self._steps.roster.register(optimizer)
        self._functions[scheduler] = _identities(declare.rate_functions(scheduler))
        body = declare.scheduler_body(number, tracked.index, scheduler, _rates(optimizer))
        self._session.emit("scheduler", {"scheduler": body, "reloaded": reloaded})


def _in_a_hook_after(tracked: Tracked) -> bool:
    """Whether a hook of the program runs after a step whose record is not shipped yet."""
    pending = tracked.pending
    return pending is not None and bool(pending.ended) and on_stack(sys._getframe(1), tracked.open_frame)


def _optimizer_of(scheduler: object) -> torch.optim.Optimizer | None:
    return optimizer_behind(vars(scheduler).get("optimizer"))


def _identities(functions: Iterable[object]) -> tuple[int, ...]:
    """Which functions these are, and which code they run. Numbers only: a function may hold its scheduler."""
    return tuple([part for one in functions for part in (id(one), id(getattr(one, "__code__", None)))])


def _rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def watch_schedulers(session: Session, steps: Steps) -> Schedulers:
    """Wrap ``step``, ``_initial_step`` and ``load_state_dict`` of torch's scheduler classes."""
    from torch.optim import lr_scheduler

    schedulers = Schedulers(session, steps)
    run = session.shield.run

    def around_step(original: Callable[..., object]) -> Callable[..., object]:
        def step(self: object, *args: object, **kwargs: object) -> object:
            outermost = schedulers.depth == 0 and schedulers.constructing == 0
            if outermost:
                run("scheduler", schedulers.about_to_step, self)
            schedulers.depth += 1
            try:
                result = original(self, *args, **kwargs)
            finally:
                schedulers.depth -= 1
            if outermost:
                explicit = any(value is not None for value in (*args, *kwargs.values()))
                run("scheduler", schedulers.stepped, self, explicit=explicit)
            return result

        return step

    def around_construction(original: Callable[..., object]) -> Callable[..., object]:
        def wrapper(self: object, *args: object, **kwargs: object) -> object:
            schedulers.constructing += 1
            try:
                return original(self, *args, **kwargs)
            finally:
                schedulers.constructing -= 1
                if schedulers.constructing == 0:
                    run("scheduler", schedulers.constructed, self)

        return wrapper

    def around_load(original: Callable[..., object]) -> Callable[..., object]:
        def load_state_dict(self: object, *args: object, **kwargs: object) -> object:
            schedulers.depth += 1
            try:
                result = original(self, *args, **kwargs)
            finally:
                schedulers.depth -= 1
            if schedulers.depth == 0:
                run("scheduler", schedulers.reloaded, self)
            return result

        return load_state_dict

    makers = {
        "step": around_step,
        "_initial_step": around_construction,
        "__init__": around_construction,
        "load_state_dict": around_load,
    }
    _wrap_classes(vars(lr_scheduler).values(), makers)
    return schedulers


def _wrap_classes(values: Iterable[object], makers: Mapping[str, Maker]) -> None:
    """Wrap the methods that each scheduler class defines itself."""
    for kind in values:
        if not isinstance(kind, type) or not kind.__module__.endswith("lr_scheduler"):
            continue
        for name, make in makers.items():
            if name in vars(kind) and hasattr(kind, "step"):
                replace(kind, name, make)
