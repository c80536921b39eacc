"""Positions of the elements that are read of some tensors, made for several steps in one go.

Between two steps training empties the processor's caches, and then a call of NumPy costs ten times what it
computes here. So the places of ``core.sweep`` are made for ``BLOCK`` steps at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.sweep import BLOCK, block_words
from .memory import Array, NumPy
from .tensors import in_place

if TYPE_CHECKING:
    import torch


def fast_and_slow(parameters: Sequence[torch.Tensor], readable: Sequence[int]) -> tuple[list[int], list[int]]:
    """Of the ``readable`` ones that are not empty: those read in place, and those that torch must read."""
    filled = [place for place in readable if parameters[place].numel()]
    fast = [place for place in filled if in_place(parameters[place])]
    in_reach = set(fast)
    return fast, [place for place in filled if place not in in_reach]


def by_turns(slow: Sequence[int], step: int, most: int) -> list[int]:
    """Which of those that cost a call of torch each are read at ``step``."""
    total = len(slow)
    return [slow[(step * most + place) % total] for place in range(min(most, total))]


class Rows:
    """``count`` positions in each of several tensors of ``numels`` elements, none of them empty."""

    def __init__(self, numpy: NumPy, key: bytes, numels: Sequence[int], count: int) -> None:
        self._numpy = numpy
        self._key = key
        self._shape = len(numels), count
        self._bounds = numpy.array(numels, numpy.uint64)
        self._numel = numpy.array(numels, numpy.int64).reshape((len(numels), 1))
        self._offsets = numpy.arange(count) * numpy.maximum(self._numel // count, 1)
        self._block = -1
        self._starts: list[tuple[int, ...]] = []
        self._rows: list[Array] = []

    def at(self, step: int) -> tuple[tuple[int, ...], Array]:
        """Where each tensor's places begin at ``step``, and all of them, a row for each tensor."""
        block, place = divmod(step, BLOCK)
        if block != self._block:
            self._make(block)
        return self._starts[place], self._rows[place]

    def _make(self, block: int) -> None:
        tensors, _ = self._shape
        words = self._numpy.frombuffer(block_words(self._key, block, tensors), self._numpy.uint64)
        starts = (words.reshape((BLOCK, tensors)) % self._bounds).astype(self._numpy.int64)
        rows = (starts.reshape((BLOCK, tensors, 1)) + self._offsets) % self._numel
        self._starts = [tuple(row.tolist()) for row in starts]
        self._rows = list(rows)
        self._block = block
