"""Tensors of a loaded file by name, as safetensors has them: flat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.errors import EvidenceError
from .opaque import Opaque
from .tensors import torch_module

if TYPE_CHECKING:
    import torch

MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Flat:
    """``tensors`` by name; ``left_out``: what else the file held, by name, as people read it."""

    tensors: dict[str, torch.Tensor]
    left_out: tuple[tuple[str, str], ...]


def flatten(value: object, key: str = "") -> Flat:
    """Tensors below ``value``: keys of dictionaries and places in lists are joined with dots.

    ``key``: only what lies there, such as ``model`` or ``state.model``. Raises EvidenceError when there is
    nothing, or two tensors would have one name.
    """
    for part in key.split(".") if key else ():
        if not isinstance(value, Mapping) or part not in value:
            raise EvidenceError(
                f"there is no {key!r} in the file", remedy="`veracity convert` without --key lists names"
            )
        value = value[part]
    kind = torch_module().Tensor
    tensors: dict[str, torch.Tensor] = {}
    left: list[tuple[str, str]] = []
    for name, one in _leaves(value, "", 0):
        if not isinstance(one, kind):
            left.append((name, _shown(one)))
        elif name in tensors:
            raise EvidenceError(f"two tensors would be called {name[:80]!r}")
        else:
            tensors[name] = one
    if not tensors:
        raise EvidenceError("there is no tensor in the file")
    return Flat(tensors, tuple(left))


def _leaves(value: object, name: str, depth: int) -> Iterator[tuple[str, object]]:
    if depth > MAX_DEPTH:
        raise EvidenceError(f"data lie deeper in data than {MAX_DEPTH}")
    if isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _leaves(one, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)) and value:
        for at, one in enumerate(value):
            yield from _leaves(one, f"{name}.{at}" if name else str(at), depth + 1)
    else:
        yield name, value


def _shown(value: object) -> str:
    if isinstance(value, Opaque):
        return f"{value.module}.{value.name}"
    return (
        f"{type(value).__name__} {value!r:.60}"
        if isinstance(value, (str, int, float, bool))
        else type(value).__name__
    )
