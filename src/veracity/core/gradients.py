"""The trail of an optimizer's gradients: from the end of the last backward pass to the step that uses them.

A few elements of every parameter's gradient, at places that a keyed function of the coming step gives (those
of ``core.sweep`` under another key), are read when a backward pass has ended, around each call that may
change gradients (clipping, unscaling) and right before the step. A reading that equals an earlier one of the
same step is not stored twice, so an honest step without clipping holds one.

Layout of the binary part: the tensors' indices as little-endian uint32, then reading after reading the
``count`` values of each tensor that has a gradient in it, little-endian float32 (other types are converted).
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from .errors import EvidenceError
from .sample import Values
from .sweep import MAX_SWEPT, TARGET

MAX_EVENTS = 4
MAX_READINGS = 2 * (2 + 2 * MAX_EVENTS)
MAX_STARTS = 64
MAX_COUNT = TARGET

NOTHING, DISCARDED, INVALID, KEPT, PARTLY, CHANGED, CLIPPED = "nzikpcl"
"""What a backward pass found where it was about to add its gradients.

``n``: nothing was there, and nothing had been. ``z``: nothing, though the backward pass before had left
something; ``i``: the same, but what it had left was not finite. ``k``: what had been there. ``p``: a part of
the tensors held what had been there, the others nothing. ``c``: other values. ``l``: other values, after a
call that clips.
"""
AGAIN = "again"
"""Stands first among the nodes of a ``BackwardRoot`` for a pass that goes back once more from the result of a
loss function that an earlier pass since the last step had gone back from."""


@dataclass(frozen=True, slots=True)
class GradientEvent:
    """A call that may change gradients, between a backward pass and the step.

    ``kind`` is ``norm`` (``limit`` is ``max_norm``), ``value`` (``clip_value``) or ``unscale`` (the scale).
    ``before`` and ``after`` index the readings. ``norm`` is what ``clip_grad_norm_`` returned, ``own`` the
    guard's norm of the same gradients, where it computed one; ``largest`` is the element count of the
    largest of them. ``outside`` are the read tensors that the call did not concern; ``repeated``: some tensor
    was handed over twice.
    """

    kind: str
    before: int
    after: int
    limit: float
    norm: float | None = None
    norm_type: float = 2.0
    own: float | None = None
    largest: int = 0
    outside: list[int] = field(default_factory=list)
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """Gradients at one moment: ``count`` values for each of ``tensors``, those that have a gradient."""

    count: int
    tensors: tuple[int, ...]
    values: Values

    def by_tensor(self) -> dict[int, Values]:
        """The values of each tensor that has a gradient."""
        size = self.count
        return {tensor: self.values[at * size : (at + 1) * size] for at, tensor in enumerate(self.tensors)}


@dataclass(frozen=True, slots=True)
class Segment:
    """The way from the end of one backward pass to the beginning of the next one."""

    raw: int
    taken: int
    events: list[GradientEvent]


@dataclass(frozen=True, slots=True)
class Gradients:
    """One step's trail. ``raw`` and ``taken`` index ``readings``: after the last backward pass (-1: none ran
    since the last step, or it ran within this one), and at the step.

    ``starts`` holds a letter for each backward pass since the last step, the first ones when there are many;
    ``backwards`` counts those that ended, ``failed`` those that raised. ``between`` is the first way between
    two of them on which gradients changed. ``cut``: more calls came than are followed. ``written`` are the
    tensors whose gradient was written in place, or replaced, between the last backward pass and the step,
    outside these calls, as torch counts it and whatever the readings show, of those that ``sweep.counted``
    gives; None when that cannot be told.
    """

    tensors: tuple[int, ...] = ()
    readings: tuple[Reading, ...] = ()
    raw: int = -1
    taken: int = -1
    events: tuple[GradientEvent, ...] = ()
    starts: str = ""
    backwards: int = 0
    failed: int = 0
    cut: bool = False
    between: Segment | None = None
    written: tuple[int, ...] | None = None


NO_GRADIENTS = Gradients()


def per_tensor(tensors: int) -> int:
    """Elements of each gradient that are read: two at least, while there are not too many tensors."""
    least = 2 if tensors <= MAX_SWEPT // 2 else 1
    return max(least, -(-TARGET // max(1, tensors)))


def pack(tensors: Sequence[int], readings: Sequence[bytes]) -> bytes:
    """The binary part of one trail."""
    return struct.pack(f"<{len(tensors)}I", *tensors) + b"".join(readings)


def length(tensors: int, count: int, absent: Sequence[Sequence[int]]) -> int:
    """How many bytes the binary part has."""
    return 4 * tensors + 4 * count * sum(tensors - len(missing) for missing in absent)


def unpack(
    size: int, count: int, absent: Sequence[Sequence[int]], data: bytes
) -> tuple[tuple[int, ...], tuple[Reading, ...]]:
    """Tensors and readings from the binary part; ``absent`` lists for each reading who had no gradient.

    Raises EvidenceError when the description does not fit the bytes.
    """
    if not (0 <= size <= MAX_SWEPT and 0 <= count <= MAX_COUNT and len(absent) <= MAX_READINGS):
        raise EvidenceError("a trail of gradients claims to be larger than any is")
    if len(data) != length(size, count, absent):
        raise EvidenceError("a trail of gradients and its description differ in length")
    numbers, values = array("I"), array("f")
    numbers.frombytes(data[: 4 * size])
    values.frombytes(data[4 * size :])
    if sys.byteorder == "big":
        numbers.byteswap()
        values.byteswap()
    tensors = tuple(numbers)
    readings = []
    begin = 0
    for missing in absent:
        gone = set(missing)
        present = tuple(tensor for tensor in tensors if tensor not in gone)
        if len(present) != size - len(missing):
            raise EvidenceError("a trail of gradients names tensors that it does not hold")
        end = begin + count * len(present)
        readings.append(Reading(count, present, values[begin:end]))
        begin = end
    return tensors, tuple(readings)
