"""The part of a sharded tensor that this rank holds.

FSDP2 and tensor parallelism keep parameters, gradients and optimizer state as DTensors, each around a plain
local tensor. Reading that part touches no other rank: nothing here ever starts a collective.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch

_MODULES = ("torch.distributed.tensor", "torch.distributed._tensor")  # from torch 2.5 on, and before


def sharded_kind() -> type | None:
    """Torch's DTensor class where it has been imported, which it is before anything is sharded."""
    for name in _MODULES:
        kind = getattr(sys.modules.get(name), "DTensor", None)
        if isinstance(kind, type):
            return kind
    return None


def local_of(value: object, kind: type | None, like: object = None) -> object:
    """This rank's part of ``value`` when it is a DTensor, else ``value`` itself.

    A part that must still be summed over ranks is not the tensor's value, and one laid out in another way
    than ``like`` does not hold the same elements: then ``value`` is returned as it is, which nothing can
    read.
    """
    if kind is None or type(value) is not kind:
        return value
    if any(placement.is_partial() for placement in value.placements):  # type: ignore[attr-defined]
        return value
    if like is not None and (type(like) is not kind or not _same_layout(value, like)):
        return value
    return value._local_tensor  # type: ignore[attr-defined]


def _same_layout(one: object, other: object) -> bool:
    placed = one.placements == other.placements  # type: ignore[attr-defined]
    return bool(placed and one.device_mesh == other.device_mesh)  # type: ignore[attr-defined]


def count_of(value: object, kind: type | None) -> float | None:
    """A step count, None when it is a tensor that only a collective could read."""
    found = local_of(value, kind)
    return None if kind is not None and type(found) is kind else float(cast("float", found))


def local_parameters(parameters: list[torch.Tensor]) -> list[torch.Tensor]:
    """What this rank holds of each parameter."""
    kind = sharded_kind()
    if kind is None:
        return parameters
    return [one if type(one) is not kind else cast("torch.Tensor", local_of(one, kind)) for one in parameters]
