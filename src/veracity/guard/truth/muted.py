"""The program's hooks on forward passes, held back while a module runs again.

A hook may write a log, count, or keep what it is given, so it is not called a second time. What it did to the
outputs shows without it: outputs that are the recorded ones bit for bit were not changed by it. torch's own
hooks are part of what the module computes (weight norm, pruning) and stay.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..declare import place_of
from ..programhooks import Hooked

if TYPE_CHECKING:
    import torch

MAX_HOOKS = 4096
_TABLES = ("_forward_pre_hooks", "_forward_hooks")
Function = Callable[..., object]
Table = MutableMapping[int, Function]


@dataclass(frozen=True, slots=True)
class ForwardHook:
    """A hook of the program on a module, or with no ``module`` on all; ``ran`` is how often it has so far."""

    table: Table
    key: int
    hook: Function
    module: torch.nn.Module | None
    ran: int

    @property
    def place(self) -> str:
        """Where it stands in the program."""
        path, line = place_of(_below(self.hook))
        return f"{path}:{line}" if path else type(self.hook).__qualname__

    @property
    def replaces(self) -> bool:
        """Whether it puts something else in the place of what it is given, as far as anybody can say."""
        return self.hook.replaces if isinstance(self.hook, Hooked) else True

    @property
    def compiled(self) -> bool:
        """Whether it may have run within compiled code, which could not go without it."""
        return _anything_compiled() and not (isinstance(self.hook, Hooked) and self.hook.ran > self.ran)


class Muted:
    """Stands in the place of a hook and does nothing, in one thread only."""

    def __init__(self, hook: Function) -> None:
        self._hook = hook
        self._thread = threading.get_ident()

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Nothing, or in another thread what the hook does."""
        return None if threading.get_ident() == self._thread else self._hook(*args, **kwargs)

    def __reduce__(self) -> tuple[object, ...]:
        return _itself, (self._hook,)


def forward_hooks(root: torch.nn.Module) -> list[ForwardHook]:
    """The program's hooks that a forward pass of ``root`` runs, in no particular order."""
    from torch.nn.modules import module as of_all

    tables: list[tuple[torch.nn.Module | None, Table]] = [
        (None, getattr(of_all, "_global" + name, {})) for name in _TABLES
    ]
    tables += [(one, getattr(one, name, {})) for one in root.modules() for name in _TABLES]
    return [
        ForwardHook(table, key, hook, module, hook.ran if isinstance(hook, Hooked) else 0)
        for module, table in tables
        if table
        for key, hook in list(table.items())
        if not _of_torch(hook)
    ][:MAX_HOOKS]


@contextlib.contextmanager
def muted(hooks: Sequence[ForwardHook]) -> Iterator[None]:
    """Without these hooks, in this thread; whatever happens they are there again afterwards."""
    placed: list[tuple[ForwardHook, Muted]] = []
    try:
        for one in hooks:
            if one.table.get(one.key) is one.hook:
                mute = Muted(one.hook)
                placed.append((one, mute))
                one.table[one.key] = mute
        yield
    finally:
        for one, mute in placed:
            # One that was removed meanwhile stays away.
            if one.table.get(one.key) is mute:
                one.table[one.key] = one.hook


def _below(hook: Function) -> object:
    """The function that runs when ``hook`` is called."""
    inner: object = hook
    while isinstance(inner, functools.partial):
        inner = inner.func
    has_code = hasattr(inner, "__code__") or hasattr(inner, "__wrapped__")
    return inner if has_code else inspect.getattr_static(type(inner), "__call__", inner)


def _of_torch(hook: Function) -> bool:
    import torch

    path, _ = place_of(_below(hook))
    own = os.path.dirname(os.path.dirname(__file__)) + os.sep
    return path.startswith((torch.__path__[0] + os.sep, own))


def _anything_compiled() -> bool:
    frames = sys.modules.get("torch._dynamo.convert_frame")
    return bool(getattr(frames, "FRAME_COUNTER", frames is not None))


def _itself(hook: Function) -> Function:
    return hook
