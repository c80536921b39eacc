"""The sweep: a few elements of every parameter tensor, after each step and again before the next.

The sample block sees a few tensors closely and comes to each in turn; a tensor changed once, between two
steps, would mostly be missed by it. The sweep looks at all tensors at every boundary. Its positions are
evenly spaced from a start that a keyed function of step and tensor gives, so they are others at each step,
cannot be predicted without the key, and the monitor can reproduce them.

Layout of the binary part: the tensors' indices as little-endian uint32, then ``count`` values of each tensor
in the same order as little-endian float32 (wider and narrower types are converted).
"""

from __future__ import annotations

import functools
import hashlib
import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from .errors import EvidenceError
from .sample import Values, keyed_order

TARGET = 256
"""Elements per sweep: all tensors share them alike, each gets at least one."""
BLOCK = 8
"""Steps whose random words are drawn together."""
MAX_SWEPT = 1024
"""Tensors per sweep; a larger model is swept in turns."""
MAX_COUNTED = 48
"""Tensors whose writes are counted at a step; others have their turn at the next ones."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Values of ``count`` elements of each of ``tensors`` (indices of the declaration), tensor by tensor."""

    count: int = 0
    tensors: tuple[int, ...] = ()
    values: Values = field(default_factory=lambda: array("f"))


NOT_SWEPT = Sweep()


def per_tensor(tensors: int) -> int:
    """Elements of each tensor in a sweep over that many."""
    return max(1, -(-TARGET // max(1, min(tensors, MAX_SWEPT))))


def turn(key: bytes, step: int, candidates: Sequence[int]) -> list[int]:
    """Which of ``candidates`` are swept at ``step``: all, or one part after the other in a keyed order."""
    total = len(candidates)
    if total <= MAX_SWEPT:
        return list(candidates)
    parts = -(-total // MAX_SWEPT)
    cycle, part = divmod(step, parts)
    order = keyed_order(key, cycle, total)
    return [candidates[place] for place in order[part * MAX_SWEPT : (part + 1) * MAX_SWEPT]]


def counted(step: int, tensors: Sequence[int]) -> slice:
    """Which of the tensors that are read for ``step`` have their writes counted, as torch does."""
    part = step % max(1, -(-len(tensors) // MAX_COUNTED))
    return slice(part * MAX_COUNTED, (part + 1) * MAX_COUNTED)


def starts(key: bytes, step: int, numels: Sequence[int]) -> list[int]:
    """The first position in each tensor; with ``gap = max(1, numel // count)`` the others follow from it:
    ``(start + place * gap) % numel`` for ``place`` below ``count``.
    """
    block, place = divmod(step, BLOCK)
    words = struct.unpack_from(
        f"<{len(numels)}Q", block_words(key, block, len(numels)), 8 * len(numels) * place
    )
    return [word % numel for word, numel in zip(words, numels, strict=True)]


@functools.lru_cache(maxsize=16)
def block_words(key: bytes, block: int, tensors: int) -> bytes:
    """The random words of ``BLOCK`` steps, ``tensors`` of 64 bits for each."""
    return hashlib.shake_128(key + b"sweep" + block.to_bytes(8, "little")).digest(8 * BLOCK * tensors)


def positions(start: int, numel: int, count: int) -> list[int]:
    """The ``count`` positions in one tensor; they repeat in a tensor of fewer elements."""
    gap = max(1, numel // count)
    return [(start + place * gap) % numel for place in range(count)]


def pack(tensors: Sequence[int], words: bytes) -> bytes:
    """The binary part of one sweep from its tensors and its values."""
    return struct.pack(f"<{len(tensors)}I", *tensors) + words


def unpack(tensors: int, count: int, data: bytes) -> Sweep:
    """A sweep from its binary part; raises EvidenceError when the numbers do not fit its length."""
    if not (0 <= tensors <= MAX_SWEPT and 0 <= count <= TARGET):
        raise EvidenceError("a sweep claims to be larger than any is")
    if len(data) != 4 * tensors * (1 + count):
        raise EvidenceError("a sweep and its description differ in length")
    numbers, values = array("I"), array("f")
    numbers.frombytes(data[: 4 * tensors])
    values.frombytes(data[4 * tensors :])
    if sys.byteorder == "big":
        numbers.byteswap()
        values.byteswap()
    return Sweep(count, tuple(numbers), values)
