"""Batches as the loaders delivered them: a few keyed elements of each tensor, remembered for a while.

The batch itself is not held on to. Where two deliveries look alike, as batches of few labels do, one that was
not trained on yet is preferred, so that being alike is never taken for being the same one again.
"""

from __future__ import annotations

import ctypes
import hashlib
import struct
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from . import tensors

if TYPE_CHECKING:
    import torch

READ_WHOLE = 4096
RUNS = 4
RUN = 256
LEAST_ELEMENTS = 4
MAX_TENSORS = 8
MAX_LOADERS = 8
KEPT = 8
SAME_PLACES = 256
WHOLE = 1 << 16

Owner: TypeAlias = tuple[int, str]
"""A loader's number and a tensor's path within its batches."""


@dataclass(frozen=True, slots=True, eq=False)
class Spots:
    """Which elements of a tensor of ``numel`` are read: ``length`` in a row from each of ``starts`` on.

    ``groups``: the row (``row`` elements) of each element where all are read, else of each run's beginning.
    What happens to one item of a batch happens to all elements that belong to it.
    """

    numel: int
    row: int
    starts: tuple[int, ...]
    length: int
    groups: int

    @property
    def count(self) -> int:
        """How many elements are read."""
        return len(self.starts) * self.length

    def group(self, position: int) -> int:
        """The group of the element that is read at this position."""
        run, place = divmod(position, self.length)
        return (self.starts[run] + (place if len(self.starts) == 1 else 0)) // self.row

    def within(self, numel: int) -> Spots:
        """Those that lie in the first ``numel`` elements."""
        if len(self.starts) == 1:
            return Spots(numel, self.row, self.starts, min(self.length, numel), 1)
        starts = [start for start in self.starts if start + self.length <= numel]
        return Spots(numel, self.row, tuple(starts), self.length, 1)


@dataclass(frozen=True, slots=True)
class Values:
    """Elements as bytes, and of which type they are."""

    data: bytes
    dtype: torch.dtype

    def first(self, count: int) -> Values:
        """The first ``count`` of them."""
        return Values(self.data[: count * self.dtype.itemsize], self.dtype)

    def tensor(self) -> torch.Tensor:
        """The elements as a tensor of their own."""
        import torch

        return torch.frombuffer(bytearray(self.data), dtype=self.dtype)

    def are_constant(self) -> bool:
        """Whether all are the same: a mask of ones, say, is found anywhere."""
        size = self.dtype.itemsize
        return self.data == self.data[:size] * (len(self.data) // size)

    def alike(self, found: Values) -> bool:
        """Whether ``found`` are these, perhaps converted to another type; NaN is like NaN."""
        if self.dtype is found.dtype:
            if self.data == found.data:
                return True
            if not self.dtype.is_floating_point:
                return False
        import torch

        mine, other = self.tensor().to(found.dtype), found.tensor()
        if torch.equal(mine, other):
            return True
        return mine.is_floating_point() and bool(((mine == other) | (mine.isnan() & other.isnan())).all())


@dataclass(slots=True)
class Item:
    """One tensor of one delivery. ``trained``: the window in which it was first trained on, -1 if in none."""

    owner: Owner
    iteration: int
    number: int
    spots: Spots
    values: Values
    tensor: weakref.ref[torch.Tensor]
    trained: int = -1

    def alive(self) -> torch.Tensor | None:
        """The tensor itself, while the program has it."""
        tensor = self.tensor()
        if tensor is not None:
            tensor._fix_weakref()
        return tensor


class Deliveries:
    """The last ``KEPT`` batches of each of the last ``MAX_LOADERS`` loaders."""

    def __init__(self, key: bytes) -> None:
        self._key = key + b"delivered"
        self._loaders: OrderedDict[int, deque[list[Item]]] = OrderedDict()
        self._spots: dict[tuple[int, int], Spots] = {}
        self._count = 0

    def __bool__(self) -> bool:
        """Whether any batch is remembered."""
        return bool(self._loaders)

    def add(self, loader: int, iteration: int, number: int, batch: object) -> list[Item]:
        """A batch was delivered, the one of that number in this iteration: what is remembered of it."""
        if self._count % SAME_PLACES == 0:
            self._spots.clear()
        self._count += 1
        items: list[Item] = []
        for key, tensor in tensors.walk(batch):
            if len(items) >= MAX_TENSORS:
                break
            item = self._item((loader, key), iteration, number, tensor)
            if item is not None:
                items.append(item)
        if not items:
            return items
        known = self._loaders.get(loader)
        if known is None:
            known = self._loaders[loader] = deque(maxlen=KEPT)
            if len(self._loaders) > MAX_LOADERS:
                self._loaders.popitem(last=False)
        else:
            self._loaders.move_to_end(loader)
        known.append(items)
        return items

    def clear(self) -> None:
        """Forget all batches."""
        self._loaders.clear()

    def all(self, numel: int) -> Iterator[Item]:
        """What was delivered with so many elements, the oldest of each loader first."""
        for known in self._loaders.values():
            for items in known:
                for item in items:
                    if item.spots.numel == numel:
                        yield item

    def last_of(self, owner: Owner) -> Item | None:
        """The newest delivery of this tensor that was not trained on."""
        for items in reversed(self._loaders.get(owner[0], ())):
            for item in items:
                if item.owner == owner:
                    return item if item.trained < 0 else None
        return None

    def since(self, item: Item) -> int:
        """How many batches of its loader came after this one."""
        for count, items in enumerate(reversed(self._loaders.get(item.owner[0], ()))):
            if any(one is item for one in items):
                return count
        return KEPT

    def _item(self, owner: Owner, iteration: int, number: int, tensor: torch.Tensor) -> Item | None:
        numel = tensor.numel()
        if not tensor.is_cpu or not tensor.dim() or tensor.requires_grad:
            return None
        if numel < LEAST_ELEMENTS or tensor.is_complex() or not tensors.is_plain(tensor):
            return None
        spots = self._spots_of(numel, numel // tensor.shape[0])
        values = elements(tensor, spots)
        if values is None:
            return None
        return Item(owner, iteration, number, spots, values, weakref.ref(tensor))

    def _spots_of(self, numel: int, row: int) -> Spots:
        known = self._spots.get((numel, row))
        if known is None:
            known = self._spots[numel, row] = self._new_spots(numel, row)
        return known

    def _new_spots(self, numel: int, row: int) -> Spots:
        if numel <= READ_WHOLE:
            return Spots(numel, row, (0,), numel, numel // row)
        seed = self._key + self._count.to_bytes(8, "little") + numel.to_bytes(8, "little")
        words = struct.unpack(f"<{RUNS}Q", hashlib.shake_128(seed).digest(8 * RUNS))
        part = numel // RUNS
        # One run in each part, so that they do not overlap.
        starts = tuple(at * part + word % (part - RUN + 1) for at, word in enumerate(words))
        return Spots(numel, row, starts, RUN, len({start // row for start in starts}))


def elements(tensor: torch.Tensor, spots: Spots) -> Values | None:
    """These elements in logical order; None when they are too dear to come by."""
    if not tensor.is_contiguous():
        if tensor.numel() > WHOLE:
            return None
        tensor = tensor.detach().contiguous()
    size = tensor.element_size()
    length = spots.length * size
    if not tensor.is_cpu:
        flat = tensor.detach().reshape(-1)
        return Values(
            tensors.raw_bytes(_joined([flat[at : at + spots.length] for at in spots.starts])), tensor.dtype
        )
    address, storage = tensor.data_ptr(), tensor.untyped_storage()
    # A storage may have been shrunk under the tensor.
    if not address or address + spots.numel * size > storage.data_ptr() + storage.nbytes():
        return None
    read = ctypes.string_at
    if len(spots.starts) == 1:
        return Values(read(address + spots.starts[0] * size, length), tensor.dtype)
    return Values(b"".join([read(address + at * size, length) for at in spots.starts]), tensor.dtype)


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.cat(parts)
