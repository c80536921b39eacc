"""Reading the gradients of one optimizer at the places of a step, and counting torch's writes into them.

Readings of float32 gradients in contiguous CPU memory are taken in one go where NumPy has been imported
anyway; the addresses are looked up anew for each reading, since programs give gradients up and get others at
each step. No gradient is held on to.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core import gradients as core
from ..core import sweep
from ..core.sample import keyed_order
from .memory import Array, NumPy, numpy_of, window, word_of
from .places import Rows, by_turns, fast_and_slow
from .reader import Picked, Reader, Wanted

if TYPE_CHECKING:
    import torch

SLOW_TENSORS = 8
# At a glance: a quarter of the tensors, but eight at least.
GLANCES, GLANCED = 4, 8
CYCLES = 64
MAX_SELECTIONS = 8
UNREADABLE = -1


@dataclass(frozen=True, slots=True)
class Taken:
    """One reading: who has no gradient (or none that can be read), and all others' values."""

    absent: tuple[int, ...]
    words: bytes


@dataclass(frozen=True, slots=True)
class Places:
    """Where the gradients are read for one coming step, and of whom writes are ``counted``."""

    step: int
    chosen: tuple[int, ...]
    parameters: tuple[torch.Tensor, ...]
    count: int
    starts: tuple[int, ...]
    rows: Array | None
    counted: slice

    def picked(self) -> list[Picked]:
        """The same places tensor by tensor."""
        if self.rows is not None:
            return [Picked((), row) for row in self.rows]
        numels = [parameter.numel() for parameter in self.parameters]
        return [
            Picked(sweep.positions(start, numel, self.count), None)
            for start, numel in zip(self.starts, numels, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How these places are read while every gradient lies where it did."""

    places: Places
    addresses: list[int]
    absent: tuple[int, ...]
    index: Array


@dataclass(frozen=True, slots=True)
class Witness:
    """Where gradients lie, and how often those that have their turn were written in place; 0 for none.

    Versions are None when torch counts no writes into one of them.
    """

    places: Places
    addresses: list[int]
    versions: list[int] | None

    def written(self, later: Witness) -> set[int] | None:
        """Tensors whose gradient was written or replaced since; None when that cannot be told."""
        if self.places is not later.places or self.versions is None or later.versions is None:
            return None
        if self.versions == later.versions and self.addresses == later.addresses:
            return set()
        turn = self.places.counted
        addresses, addresses_now = self.addresses[turn], later.addresses[turn]
        tensors = self.places.chosen[turn]
        both = zip(tensors, addresses, self.versions, addresses_now, later.versions, strict=True)
        return {
            tensor
            for tensor, address, version, address_now, version_now in both
            if address and address_now and (address, version) != (address_now, version_now)
        }


@dataclass(frozen=True, slots=True)
class _Selection:
    """Tensors that are read together: what is the same at each step that reads them."""

    chosen: tuple[int, ...]
    parameters: tuple[torch.Tensor, ...]
    numels: list[int]
    count: int
    rows: Rows | None


class GradientReader:
    """The gradients of ``parameters`` at ``readable`` places, read for one step after the other."""

    def __init__(
        self, key: bytes, parameters: Sequence[torch.Tensor], readable: Sequence[int], numpy: object
    ) -> None:
        import torch

        self._key = key
        self._parameters = parameters
        self._numels = [parameter.numel() for parameter in parameters]
        self._fast, self._slow = fast_and_slow(parameters, readable)
        self._reader = Reader(numpy)
        self._numpy = numpy_of(numpy)
        self._window = window(self._numpy) if self._numpy is not None else None
        self._in_place = frozenset(self._fast)
        self._kind, self._single = torch.Tensor, torch.float32
        self._places: Places | None = None
        self._plan: _Plan | None = None
        self._selections: dict[tuple[int, ...], _Selection] = {}
        self.close = True

    def nothing(self) -> bool:
        """Whether no parameter has a gradient now."""
        return all(self._parameters[tensor].grad is None for tensor in (*self._fast, *self._slow))

    def at(self, step: int) -> Places:
        """The places that are read for ``step``."""
        if self._places is None or self._places.step != step:
            self._places = self._chosen(step)
        return self._places

    def _chosen(self, step: int) -> Places:
        chosen = sweep.turn(self._key, step, self._fast if self.close else self._glanced(step))
        turn = by_turns(self._slow, step, SLOW_TENSORS)
        selection = self._selection(tuple(sorted(chosen + turn[: sweep.MAX_SWEPT - len(chosen)])))
        if not selection.chosen:
            return Places(step, (), (), 0, (), None, slice(0))
        if selection.rows is not None:
            starts, rows = selection.rows.at(step)
        else:
            starts, rows = tuple(sweep.starts(self._key, step, selection.numels)), None
        counted = sweep.counted(step, selection.chosen)
        return Places(step, selection.chosen, selection.parameters, selection.count, starts, rows, counted)

    def _selection(self, chosen: tuple[int, ...]) -> _Selection:
        known = self._selections.get(chosen)
        if known is not None:
            return known
        if len(self._selections) >= MAX_SELECTIONS:
            self._selections.clear()
        numels = [self._numels[tensor] for tensor in chosen]
        count = core.per_tensor(len(chosen))
        rows = Rows(self._numpy, self._key, numels, count) if self._numpy is not None and chosen else None
        parameters = tuple(self._parameters[tensor] for tensor in chosen)
        known = self._selections[chosen] = _Selection(chosen, parameters, numels, count, rows)
        return known

    def _glanced(self, step: int) -> list[int]:
        """A part of the tensors, each in its turn as a key decides."""
        total = len(self._fast)
        parts = max(1, min(GLANCES, total // GLANCED))
        # Parts stay the same for a while, and so does what is known of each.
        cycle, part = step // (parts * CYCLES), step % parts
        return sorted(self._fast[at] for at in keyed_order(self._key, cycle, total)[part::parts])

    def read(self, places: Places) -> Taken:
        """What is there now."""
        return self._read(places, [parameter.grad for parameter in places.parameters])[0]

    def read_counting(self, places: Places) -> tuple[Taken, Witness]:
        """The same, with a witness of the writes up to now."""
        gradients = [parameter.grad for parameter in places.parameters]
        taken, addresses = self._read(places, gradients)
        return taken, Witness(places, _identities(addresses, gradients), _versions(places, gradients))

    def _read(self, places: Places, gradients: Sequence[torch.Tensor | None]) -> tuple[Taken, list[int]]:
        numpy, memory, plan = self._numpy, self._window, self._plan
        if memory is not None and plan is not None and plan.places is places and _stands(plan, gradients):
            return Taken(plan.absent, memory.take(plan.index).tobytes()), plan.addresses
        addresses = self._addresses(places, gradients)
        if numpy is None or memory is None or UNREADABLE in addresses:
            return self._one_by_one(places, addresses), addresses
        absent = tuple([at for at, address in zip(places.chosen, addresses, strict=True) if not address])
        if len(absent) == len(addresses):
            return Taken(absent, b""), addresses
        self._plan = plan = _Plan(places, addresses, absent, _index(numpy, places, addresses))
        return Taken(absent, memory.take(plan.index).tobytes()), addresses

    def _addresses(self, places: Places, gradients: Sequence[torch.Tensor | None]) -> list[int]:
        """Where each gradient lies: 0 when there is none, ``UNREADABLE`` when it is not read in place.

        A gradient has its parameter's shape, type and device, so only what may differ is looked at; its
        storage may have been shrunk under it.
        """
        import torch

        found: list[int] = []
        fast, kind, single = self._in_place, self._kind, self._single
        for tensor, gradient in zip(places.chosen, gradients, strict=True):
            if gradient is None:
                found.append(0)
                continue
            address = UNREADABLE
            if tensor in fast and type(gradient) is kind and gradient.dtype is single:
                plain = gradient.layout is torch.strided and gradient.is_contiguous()
                end = 4 * (gradient.storage_offset() + gradient.numel()) if plain else 0
                if plain and end <= gradient.untyped_storage().nbytes():
                    address = gradient.data_ptr() or UNREADABLE
            found.append(address)
        return found

    def _one_by_one(self, places: Places, addresses: Sequence[int]) -> Taken:
        wanted: list[Wanted] = []
        for tensor, picked, address in zip(places.chosen, places.picked(), addresses, strict=True):
            gradient = self._parameters[tensor].grad if address else None
            wanted.append(((tensor, "grad"), gradient, picked, self._numels[tensor]))
        absent, pieces = [], []
        for tensor, piece in zip(places.chosen, self._reader.read(wanted), strict=True):
            if piece is None:
                absent.append(tensor)
            else:
                pieces.append(_single_precision(piece))
        return Taken(tuple(absent), b"".join(pieces))


def _stands(plan: _Plan, gradients: Sequence[torch.Tensor | None]) -> bool:
    """Whether every gradient that there was lies where it did: torch lets none have another shape or type."""
    try:
        now = [0 if gradient is None else gradient.data_ptr() for gradient in gradients]
    except RuntimeError:
        return False  # one that has no address: it is sparse now, or sharded
    return now == plan.addresses


def _versions(places: Places, gradients: Sequence[torch.Tensor | None]) -> list[int] | None:
    try:
        return [0 if one is None else one._version for one in gradients[places.counted]]
    except RuntimeError:
        return None  # made in inference mode, where writes are not counted


def _identities(addresses: list[int], gradients: Sequence[torch.Tensor | None]) -> list[int]:
    """Addresses, and the identity of the tensor where there is none that can be read."""
    if UNREADABLE not in addresses:
        return addresses
    both = zip(addresses, gradients, strict=True)
    return [id(gradient) if address == UNREADABLE else address for address, gradient in both]


def _index(numpy: NumPy, places: Places, addresses: Sequence[int]) -> Array:
    """The window's words of all gradients that there are."""
    if 0 not in addresses and places.rows is not None:
        words = numpy.array([word_of(address) for address in addresses], numpy.int64)
        return words.reshape((len(addresses), 1)) + places.rows
    found = [
        picked.index + word_of(address)
        for picked, address in zip(places.picked(), addresses, strict=True)
        if address and picked.index is not None
    ]
    return numpy.concatenate(found)


def _single_precision(piece: tuple[str, bytes]) -> bytes:
    code, data = piece
    return data if code == "f" else array("f", array("d", data)).tobytes()


def by_tensor(places: Places, reading: Taken) -> dict[int, bytes]:
    """The words of each tensor that has a gradient in a reading."""
    size, gone = 4 * places.count, set(reading.absent)
    present = [tensor for tensor in places.chosen if tensor not in gone]
    return {tensor: reading.words[at * size :][:size] for at, tensor in enumerate(present)}
