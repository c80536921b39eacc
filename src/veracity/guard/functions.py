"""Functions that decide a step, re-read while the run goes on: is the code in memory still the code on disk?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from ..core.codeobject import digest

if TYPE_CHECKING:
    from .session import Session
    from .steps import Steps

EVERY = 20
MAX_FUNCTIONS = 2_000
_MODULES = (
    "torch.optim.optimizer",
    "torch.optim.lr_scheduler",
    "torch.nn.utils.clip_grad",
    "torch.autograd",
    "torch.autograd.graph",
    "torch._tensor",
    "torch.serialization",
    "torch.utils.data.dataloader",
    "torch.utils.data.sampler",
    "torch.utils.data.distributed",
    "torch.utils.data._utils.fetch",
    "torch.utils.data._utils.collate",
    "torch.nn.functional",
    "torch.nn.modules.module",
    "torch.nn.parallel.distributed",
    "torch.distributed.distributed_c10d",
)


class Functions:
    """Watches the functions of the modules above and of every optimizer's own module."""

    def __init__(self, session: Session, steps: Steps) -> None:
        self._session = session
        self._steps = steps
        self._codes: dict[str, CodeType] = {}
        self._next = 0

    def look(self) -> None:
        """Every ``EVERY`` steps: report functions that are new or whose code object is another one."""
        step = self._session.last_step
        if step < self._next:
            return
        self._next = step + EVERY
        changed = []
        for name, function in self._watched():
            for layer, code in _layers(name, function):
                if self._codes.get(layer) is code or len(self._codes) > MAX_FUNCTIONS:
                    continue
                self._codes[layer] = code
                changed.append(
                    {
                        "name": layer,
                        "code": digest(code),
                        "path": code.co_filename,
                        "line": code.co_firstlineno,
                        "wrapped": name if layer != name else "",
                    }
                )
        if changed:
            self._session.emit("functions", {"step": step, "functions": changed})

    def _watched(self) -> Iterator[tuple[str, FunctionType]]:
        names = list(_MODULES)
        for optimizer, _ in self._steps.known():
            names += [kind.__module__ for kind in type(optimizer).__mro__ if kind is not object]
            step = vars(optimizer).get("step")
            function = getattr(step, "__func__", step)
            if isinstance(function, FunctionType):
                yield f"{type(optimizer).__module__}.{type(optimizer).__qualname__}().step", function
        for name in dict.fromkeys(names):
            module = sys.modules.get(name)
            if module is not None:
                yield from _functions_of(name, module)


def _functions_of(name: str, module: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    for key, value in list(vars(module).items()):
        # By type, never by isinstance: a deprecated name's proxy would warn when asked for its class.
        if type(value) is FunctionType:
            yield f"{name}.{key}", value
        elif issubclass(type(value), type) and value.__module__ == name:
            for inner, member in list(vars(value).items()):
                function = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
                if isinstance(function, FunctionType):
                    yield f"{name}.{key}.{inner}", function


def _layers(name: str, function: FunctionType) -> Iterator[tuple[str, CodeType]]:
    """The function's code and, below each wrapper, that of the function it wraps, named ``….__wrapped__``."""
    current: object = function
    for depth in range(8):
        if not isinstance(current, FunctionType):
            return
        yield name + ".__wrapped__" * depth, current.__code__
        current = current.__dict__.get("__wrapped__")
