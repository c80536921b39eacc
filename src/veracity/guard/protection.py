"""The loss functions that the program has handed to ``veracity.protect``. Imported in guarded processes only.

What is here costs a call nothing but itself: a step at which a loss is to be checked puts a ``Watcher`` into
the loss' place (see ``truth/losses.py``), and takes it out again.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

MAX_LOSSES = 64
MAX_NAME = 80
Function = Callable[..., object]


class Watcher(Protocol):
    """What is told of the calls of one loss, in a step at which it is to be checked."""

    def called(self, function: Function, args: Sequence[object], kwargs: Mapping[str, object]) -> object:
        """Call ``function``; its result is handed back as it is."""


@dataclass(eq=False, slots=True)
class Loss:
    """One loss function, or all that one piece of code makes.

    ``strict``: the program says that no part of it replaces a derivative on purpose. ``module`` is None of a
    function. ``calls`` is how many there were in the last step that was watched, ``looks`` how often it was
    looked for places that cut its derivative, ``drawn`` how many checks were made.
    """

    index: int
    name: str
    strict: bool
    module: weakref.ref[torch.nn.Module] | None = None
    watcher: Watcher | None = None
    off: bool = False
    failures: int = 0
    calls: int = 1
    looks: int = 0
    drawn: int = 0

    @property
    def alive(self) -> bool:
        """Whether it may be checked still."""
        return not self.off and (self.module is None or self.module() is not None)


class Protected:
    """Stands in the place of a function. Copies and pickles of it hold the program's function."""

    def __init__(self, function: Function, loss: Loss) -> None:
        functools.update_wrapper(self, function)
        self._function, self._loss = function, loss

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Call the function; now and then what comes back through it is looked at."""
        watcher = None if _compiling() else self._loss.watcher
        if watcher is None:
            return self._function(*args, **kwargs)
        return watcher.called(self._function, args, kwargs)

    def __get__(self, owner: object, kind: type | None = None) -> object:
        return self if owner is None else MethodType(self, owner)

    def __reduce__(self) -> tuple[object, ...]:
        return _itself, (self._function,)


class ProtectedObject(Protected):
    """Stands in the place of an object that can be called, and has its attributes."""

    def __init__(self, function: Function, loss: Loss) -> None:
        vars(self).update(_function=function, _loss=loss, __wrapped__=function)

    def __get__(self, owner: object, kind: type | None = None) -> object:
        return self

    def __getattr__(self, name: str) -> object:
        return getattr(self._function, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._function, name, value)


class Registry:
    """All protected losses of this process, in the order of their declaration.

    ``missed``: why one that the program has handed over is not among them, until that has been told.
    """

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self.missed = ""
        self._known: dict[object, Loss] = {}

    def add(self, function: object, *, strict: bool) -> Loss | None:
        """The loss that ``function`` is; None when there are too many, or it is none that can be watched."""
        torch = sys.modules.get("torch")
        module = getattr(getattr(torch, "nn", None), "Module", None)
        is_module = module is not None and isinstance(function, module)
        key: object = id(function) if is_module else _code_of(function)
        known = self._known.get(key)
        if known is not None and (known.module is None or known.module() is function):
            known.strict = known.strict or strict
            return known
        if len(self.losses) >= MAX_LOSSES:
            self.missed = f"more than {MAX_LOSSES} are protected"
            return None
        held = weakref.ref(function) if is_module else None
        loss = Loss(len(self.losses), _name(function), strict, held)
        self.losses.append(loss)
        self._known[key] = loss
        return loss

    def clear(self) -> None:
        """Forget them all."""
        self.losses.clear()
        self.missed = ""
        self._known.clear()


registry = Registry()


def protect(loss_fn: Function, *, differentiable: bool = False, **_: object) -> Function:
    """``loss_fn``, or what stands in its place, watched from now on. Raises nothing.

    What else is asked for comes from a ``veracity`` of a later version, and is not known here.
    """
    try:
        if isinstance(loss_fn, Protected) or not callable(loss_fn):
            return loss_fn
        loss = registry.add(loss_fn, strict=bool(differentiable))
        if loss is None or loss.module is not None or isinstance(loss_fn, type):
            return loss_fn
        plain = isinstance(loss_fn, (FunctionType, BuiltinFunctionType, MethodType))
        return Protected(loss_fn, loss) if plain else ProtectedObject(loss_fn, loss)
    except Exception as error:
        registry.missed = f"{type(error).__name__}: {error}"[:300]
        return loss_fn


def _code_of(function: object) -> object:
    """What all functions have in common that are made anew at each step by one piece of code."""
    import inspect

    inner = function.func if isinstance(function, functools.partial) else function
    inner = inner.__func__ if isinstance(inner, MethodType) else inner
    inner = inspect.unwrap(inner) if isinstance(inner, FunctionType) else inner
    if isinstance(inner, FunctionType):
        return inner.__code__
    return inner if isinstance(inner, BuiltinFunctionType) else type(inner)


def _name(function: object) -> str:
    inner = function.func if isinstance(function, functools.partial) else function
    named = isinstance(inner, (FunctionType, MethodType)) or hasattr(inner, "__name__")
    name = getattr(inner, "__name__", "") if named else type(inner).__name__
    return str(name)[:MAX_NAME] or "loss_fn"


def _compiling() -> bool:
    """Whether torch only traces the program: what is compiled must not change from step to step."""
    compiler = getattr(sys.modules.get("torch"), "compiler", None)
    asks = getattr(compiler, "is_compiling", None)
    return bool(asks()) if asks is not None else False


def _itself(function: Function) -> Function:
    return function
