"""Copies of parameters among what is saved: a few elements of each beside those of the parameter in memory.

A program saves its parameters themselves, or copies: on another device, in another format, averages. What is
no parameter in memory, and has not the same values, is sampled together with the parameter of its name.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..core import sweep
from .declare import parameter_names
from .reader import Picked, through_torch
from .tensors import is_plain, walk

if TYPE_CHECKING:
    import torch

    from .tracked import Tracked

MAX_COMPARED = 512
MAX_SHIPPED = 64
SAMPLED = 16
_WRAPPERS = frozenset({"module", "_orig_mod"})

Matched = tuple[str, str, "torch.Tensor", "torch.Tensor"]
"""What comes before a parameter's name in the path of a saved tensor, the name, the tensor, the parameter."""


def compared(value: object, key: bytes, step: int, known: Sequence[Tracked]) -> dict[str, object]:
    """``same``: how many tensors before each name are parameters or equal them; ``copies``: the others."""
    matched = list(_matched(value, _by_name(known)))
    stride = -(-len(matched) // MAX_COMPARED) or 1
    same: dict[str, int] = {}
    copies: list[dict[str, object]] = []
    for prefix, name, saved, live in matched[::stride]:
        if saved is live or (saved.dtype == live.dtype and saved.data_ptr() == live.data_ptr()):
            same[prefix] = same.get(prefix, 0) + 1
            continue
        seed = hashlib.sha256(key + f"{prefix}{name}".encode()).digest()
        (start,) = sweep.starts(seed, max(step, 0), [live.numel()])
        places = Picked(sweep.positions(start, live.numel(), SAMPLED), None)
        here, there = _values(live, places), _values(saved, places)
        if _values(live.detach().to(saved.dtype), places) == there:
            same[prefix] = same.get(prefix, 0) + 1
        elif len(copies) < MAX_SHIPPED:
            formats = {"saved_dtype": _named(saved), "live_dtype": _named(live)}
            copies.append({"prefix": prefix, "name": name, **formats, "saved": there, "live": here})
    return {"same": same, "copies": copies}


def _by_name(known: Sequence[Tracked]) -> dict[str, list[torch.Tensor]]:
    """The readable parameters of all optimizers, by their names in the modules that hold them.

    Also in those within them that hold the greater part: a program may save the model inside its wrapper.
    """
    found: dict[str, dict[int, torch.Tensor]] = {}
    for tracked in known:
        modules = [module for held in tracked.held_by if (module := held()) is not None]
        own = {id(one): one for one in tracked.parameters if is_plain(one) and one.is_floating_point()}
        for number, name in parameter_names(tracked.parameters, modules).items():
            if number in own:
                found.setdefault(name, {})[number] = own[number]
        for module in modules:
            names = {name: id(one) for name, one in module.named_parameters() if id(one) in own}
            for name, number in names.items() if 2 * len(names) > len(own) else ():
                found.setdefault(name, {})[number] = own[number]
    return {name: list(parameters.values()) for name, parameters in found.items()}


def _matched(value: object, named: dict[str, list[torch.Tensor]]) -> Iterator[Matched]:
    """The saved tensors whose path ends with the name of a parameter of their shape."""
    for path, saved in walk(value):
        if not is_plain(saved) or not saved.is_floating_point() or not saved.numel():
            continue
        bare = ".".join(part for part in path.split(".") if part not in _WRAPPERS)
        for whole in (path, bare):
            name = whole
            while name and name not in named:
                name = name.partition(".")[2]
            fitting = [live for live in named.get(name, ()) if live.shape == saved.shape]
            if len(fitting) == 1:  # of several models with these names it cannot be told which one it is
                yield whole[: len(whole) - len(name)], name, saved, fitting[0]
                break


def _values(tensor: torch.Tensor, places: Picked) -> list[float]:
    code, data = through_torch(tensor, places)
    return [float(value) for value in array(code, data)]


def _named(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
