"""Reading the sampled elements of many tensors at once, without copying the rest of them."""

from __future__ import annotations

import ctypes
import functools
import operator
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from ..core import sample
from .memory import Array, numpy_of, window, word_of
from .tensors import MAX_TENSORS, in_place, is_plain, raw_bytes

if TYPE_CHECKING:
    import torch

Place = tuple[int, str]
"""A parameter's number and the field (``param``, ``grad`` or an optimizer state's name)."""
Piece = tuple[str, bytes]
"""Type code (``f`` or ``d``) and raw values of the picked elements of one tensor."""


class Picked:
    """Positions of sampled elements in a flattened tensor."""

    __slots__ = ("_positions", "count", "index", "words")

    def __init__(self, positions: Sequence[int], index: Array | None) -> None:
        self._positions = positions
        self.index = index
        self.count = len(positions if index is None else index)
        self.words = _unpacker(positions) if index is None else None

    def positions(self) -> Sequence[int]:
        """The positions as numbers."""
        return self._positions if self.index is None else self.index.tolist()


def _unpacker(positions: Sequence[int]) -> Callable[[ctypes.Array[ctypes.c_uint32]], bytes]:
    """Reads these positions of a sequence of words as bytes."""
    pack = struct.Struct(f"={len(positions)}I").pack
    if len(positions) > 1:
        getter = operator.itemgetter(*positions)
        return lambda words: pack(*getter(words))
    return lambda words: pack(*[words[position] for position in positions])


Wanted = tuple[Place, object, Picked, int]
"""One tensor to read: the place it is known by, the tensor (or whatever lies there), what of it, its size."""


class Reader:
    """Reads sampled elements of plain tensors.

    float32 in contiguous CPU memory is read in place, by NumPy where it has been imported anyway, all tensors
    in one go, else word by word: both a fraction of the cost of torch's own indexing. Everything else goes
    through torch. What was found out about a tensor is kept under its place and used again only while
    pointer, size, type and layout are the same.
    """

    def __init__(self, numpy: object = None) -> None:
        import torch

        self._places: dict[Place, tuple[int, int]] = {}
        self._single = torch.float32
        self._kinds = (torch.Tensor, torch.nn.Parameter)
        self._numpy = numpy_of(numpy)
        self._window = window(self._numpy) if self._numpy is not None else None

    def picks(
        self, key: bytes, step: int, numels: Sequence[int], most: int = sample.TENSORS_PER_STEP
    ) -> list[tuple[int, Picked]]:
        """Tensors and positions to read at ``step``: those of ``core.sample.pick``, the first ``most``."""
        numpy = self._numpy
        if numpy is None or most < sample.TENSORS_PER_STEP:
            return [(tensor, self.pick(places)) for tensor, places in sample.pick(key, step, numels)[:most]]
        chosen, each, data = sample.drawn(key, step, numels)
        if not chosen:
            return []
        bounds = numpy.array([max(1, numels[tensor]) for tensor in chosen], numpy.uint64)
        drawn = numpy.frombuffer(data, numpy.uint64).reshape((len(chosen), each))
        rows = (drawn % bounds.reshape((len(chosen), 1))).astype(numpy.int64)
        return [
            (tensor, Picked((), row if numels[tensor] > each else numpy.arange(numels[tensor])))
            for tensor, row in zip(chosen, rows, strict=True)
            if numels[tensor] > 0
        ]

    def pick(self, positions: Sequence[int]) -> Picked:
        """Given positions, to be read by this reader."""
        numpy = self._numpy
        return Picked(positions, None if numpy is None else numpy.array(positions, numpy.int64))

    def read(self, wanted: Sequence[Wanted]) -> list[Piece | None]:
        """The picked elements of each; None where it is no plain tensor of ``numel`` elements."""
        found: list[Piece | None] = [None] * len(wanted)
        here: list[int] = []
        picks: list[Picked] = []
        addresses: list[int] = []
        places, single, (kind, parameter_kind) = self._places, self._single, self._kinds
        for position, (place, anything, picked, numel) in enumerate(wanted):
            # A hundred times at each step: the branch that is taken nearly always does as little as it can.
            own = type(anything)
            if own is not kind and own is not parameter_kind:
                continue
            tensor = cast("torch.Tensor", anything)
            known = places.get(place)
            if (
                known is None
                or known[0] != tensor.data_ptr()
                or known[1] != tensor.numel()
                or tensor.dtype is not single
                or not tensor.is_contiguous()
            ):
                known = self._look(place, tensor)
                if known is None:
                    plain = is_plain(tensor) and tensor.numel() == numel
                    found[position] = through_torch(tensor, picked) if plain else None
                    continue
            if known[1] == numel:
                here.append(position)
                picks.append(picked)
                addresses.append(known[0])
        for position, data in zip(here, self._words(picks, addresses), strict=True):
            found[position] = ("f", data)
        return found

    def _look(self, place: Place, tensor: torch.Tensor) -> tuple[int, int] | None:
        """Address and size of a tensor that can be read in place."""
        self._places.pop(place, None)
        if not is_plain(tensor) or not in_place(tensor):
            return None
        known = tensor.data_ptr(), tensor.numel()
        if len(self._places) < MAX_TENSORS:
            self._places[place] = known
        return known

    def _words(self, picked: Sequence[Picked], addresses: Sequence[int]) -> list[bytes]:
        """The picked words from these addresses on."""
        numpy, memory = self._numpy, self._window
        if numpy is None or memory is None:
            return [_one_by_one(one, address) for one, address in zip(picked, addresses, strict=True)]
        if not picked:
            return []
        counts = [one.count for one in picked]
        first = numpy.array([word_of(address) for address in addresses], numpy.int64).repeat(counts)
        index = numpy.concatenate([one.index for one in picked if one.index is not None])
        data = memory.take(first + index).tobytes()
        parts, end = [], 0
        for count in counts:
            begin, end = end, end + 4 * count
            parts.append(data[begin:end])
        return parts


def _one_by_one(picked: Picked, address: int) -> bytes:
    positions = picked.positions()
    memory = _words_type(max(positions) + 1).from_address(address)
    return picked.words(memory) if picked.words is not None else b""


def through_torch(tensor: torch.Tensor, picked: Picked) -> Piece:
    """The picked elements of any strided tensor, by torch's own indexing."""
    import torch

    bare = tensor.detach()
    index = torch.tensor(picked.positions(), dtype=torch.int64, device=bare.device)
    found = bare.view(-1).index_select(0, index) if bare.is_contiguous() else bare.take(index)
    if found.dtype == torch.float64:
        return "d", raw_bytes(found)
    return "f", raw_bytes(found.to(torch.float32))


@functools.lru_cache(maxsize=4096)
def _words_type(size: int) -> type[ctypes.Array[ctypes.c_uint32]]:
    return ctypes.c_uint32 * size
