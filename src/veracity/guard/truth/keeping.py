"""Whether a function keeps something from call to call: then it must not be called once more.

A module's buffers are exchanged for copies and its attributes put back. A function may as well write into a
tensor that it closes over (a queue of negatives), count in a global, append to a list or draw from a
generator of its own, which nobody could undo. So the marks of all that it names are compared around the
program's own call. What the functions that it calls keep is not looked for.
"""

from __future__ import annotations

import functools
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_DEPTH = 4
_HOOKED = ("forward", "forward_pre", "backward", "backward_pre")
MAX_THINGS = 4096
_SIZED = (list, dict, set, deque)
_TABLES = frozenset({"_buffers", "_parameters", "_modules", *(f"_{one}_hooks" for one in _HOOKED)})
Marks = list[tuple[int, object]]


def marks_of(function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> Marks:
    """Which things a function names and is given, and in which state they are."""
    import torch

    found: Marks = []
    given = [one for one in (*args, *kwargs.values()) if not isinstance(one, torch.Tensor)]
    for thing, bound in (*_things(function, 0), *((one, False) for one in given)):
        if len(found) < MAX_THINGS:
            # Names of attributes are put back, so it does not matter what they are bound to.
            found.append((id(thing) if bound else 0, _mark(thing)))
    return found


def _things(function: object, depth: int) -> Iterator[tuple[object, bool]]:
    """The things, and whether the name of each is one that a call may bind anew for good."""
    import torch

    if depth > MAX_DEPTH:
        return
    if isinstance(function, functools.partial):
        yield from _things(function.func, depth + 1)
        for thing in (*function.args, *function.keywords.values()):
            yield thing, False
    elif isinstance(function, MethodType):
        yield from _things(function.__func__, depth + 1)
        yield from _things(function.__self__, depth + 1)
    elif isinstance(function, FunctionType):
        for thing in _named(function):
            yield thing, True
            if isinstance(thing, (FunctionType, MethodType, functools.partial)) and _is_ours(thing, function):
                yield from _things(thing, depth + 1)
        for thing in vars(function).values():
            yield thing, False
    elif isinstance(function, torch.nn.Module):
        for module in function.modules():
            # Buffers are exchanged for copies, and what torch keeps in the other tables is its own.
            for name, thing in list(vars(module).items()):
                if name not in _TABLES:
                    yield thing, False
    elif not isinstance(function, (ModuleType, type)):
        for thing in list(getattr(function, "__dict__", {}).values()):
            yield thing, False
        called = vars(type(function)).get("__call__")
        if isinstance(called, FunctionType):
            yield from _things(called, depth + 1)


def _named(function: FunctionType) -> Iterator[object]:
    """What its code names outside of itself: cells, globals, defaults."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            yield None
    for name in _names(function.__code__, 0):
        yield function.__globals__.get(name)
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()


def _names(code: CodeType, depth: int) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and depth < MAX_DEPTH:
            yield from _names(constant, depth + 1)


def _is_ours(inner: object, outer: FunctionType) -> bool:
    """Whether a function that is named is of the same module, so that it may keep things for the other."""
    return getattr(inner, "__module__", "") == outer.__module__


def _mark(thing: object) -> object:
    """What changes when something is written into ``thing``."""
    import torch

    if isinstance(thing, torch.Tensor):
        return None if thing.is_inference() else thing._version
    if isinstance(thing, torch.Generator):
        return bytes(thing.get_state().numpy().tobytes())
    if isinstance(thing, random.Random):
        return hash(thing.getstate())
    if isinstance(thing, torch.nn.Module):
        # Normalisation counts on in it, and attributes of a module that is not the loss are not put back.
        buffers = tuple(one._version for one in thing.buffers() if not one.is_inference())
        return buffers, tuple(id(one) for module in thing.modules() for one in vars(module).values())
    if type(thing) in _SIZED:
        return _inside(thing)
    bits = getattr(thing, "bit_generator", None) if not isinstance(thing, (ModuleType, type)) else None
    return repr(bits.state) if bits is not None and hasattr(bits, "state") else None


def _inside(container: object) -> object:
    """The length of a container, and the versions of the tensors that lie in a short one."""
    import torch

    things = list(container.values() if isinstance(container, dict) else container)  # type: ignore[call-overload]
    tensors: list[torch.Tensor] = [one for one in things[:64] if isinstance(one, torch.Tensor)]
    return len(things), *(None if one.is_inference() else one._version for one in tensors)
