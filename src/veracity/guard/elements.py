"""The sampled elements of an optimizer's tensors: parameter, gradient and state of each, in one reading."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING

from .reader import Picked, Piece, Wanted
from .shards import count_of, local_of, sharded_kind
from .spread import SPREAD, entries

if TYPE_CHECKING:
    import torch

    from .tracked import Tracked

Asked = tuple[int, Picked, bool]
"""A tensor's number, which of its elements, and whether its gradient is wanted as well."""
Reading = tuple[list[str], list[Piece], float | None]
"""Names of the fields of one tensor that could be read, the values of each, the tensor's own step count."""


def read(optimizer: torch.optim.Optimizer, tracked: Tracked, asked: Sequence[Asked]) -> list[Reading]:
    """One reading for each that is asked for."""
    wanted: list[Wanted] = []
    kind = sharded_kind()
    ends: list[tuple[int, float | None]] = []
    for tensor, picked, with_grad in asked:
        parameter, numel = tracked.parameters[tensor], tracked.numels[tensor]
        whole = tracked.local[tensor] is parameter
        wanted.append(((tensor, "param"), tracked.local[tensor], picked, numel))
        if with_grad:
            gradient = parameter.grad if whole else local_of(parameter.grad, kind, parameter)
            wanted.append(((tensor, "grad"), gradient, picked, numel))
        count: float | None = None
        for name, value in optimizer.state.get(parameter, {}).items():
            if name == "step" and _counts(value):
                count = float(value) if whole else count_of(value, kind)
            elif type(name) is str:
                held = value if whole else local_of(value, kind, parameter)
                wanted.append(((tensor, name), held, picked, numel))
        ends.append((len(wanted), count))
    return _by_tensor(tracked, wanted, ends)


def _counts(value: object) -> bool:
    """Whether what lies under ``step`` is a number; in a class that is not torch's it may be anything."""
    return value.numel() == 1 if hasattr(value, "numel") else isinstance(value, Real)


def _by_tensor(
    tracked: Tracked, wanted: Sequence[Wanted], ends: Sequence[tuple[int, float | None]]
) -> list[Reading]:
    found = tracked.reader.read(wanted)
    readings: list[Reading] = []
    begin = 0
    for end, count in ends:
        names: list[str] = []
        pieces: list[Piece] = []
        for position in range(begin, end):
            (tensor, name), value, picked, _ = wanted[position]
            piece = found[position]
            if piece is None and name in SPREAD:
                for entry, data in entries(name, value, tracked.parameters[tensor], picked):
                    names.append(entry)
                    pieces.append(data)
            elif piece is not None:
                names.append(name)
                pieces.append(piece)
        readings.append((names, pieces, count))
        begin = end
    return readings
