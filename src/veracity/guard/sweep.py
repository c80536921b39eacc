"""Reading the sweep (see ``core.sweep``): a few elements of every parameter, quickly.

float32 parameters in contiguous CPU memory are read in place. Their addresses are looked up again at each
sweep, and everything else about a tensor only when its address is another one. With NumPy, where it has been
imported anyway, all of them are read in one go through a window over the process' memory, of which no word is
touched but those of the picked elements. Other parameters cost a call of torch each, so only a few of them
are read, in turn.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core import sweep
from .memory import Array, NumPy, numpy_of, window, word_of
from .places import Rows, by_turns, fast_and_slow
from .tensors import in_place, raw_bytes

if TYPE_CHECKING:
    import torch

SLOW_TENSORS = 16


@dataclass(frozen=True, slots=True)
class Swept:
    """One sweep: which tensors, where it begins in each, and what was there."""

    tensors: tuple[int, ...]
    count: int
    starts: tuple[int, ...]
    words: bytes

    def packed(self) -> bytes:
        """Its binary part in the record."""
        return sweep.pack(self.tensors, self.words)

    def of(self, wanted: set[int]) -> Swept:
        """The part that concerns the tensors in ``wanted``."""
        kept = [place for place, tensor in enumerate(self.tensors) if tensor in wanted]
        size = 4 * self.count
        return Swept(
            tuple(self.tensors[place] for place in kept),
            self.count,
            tuple(self.starts[place] for place in kept),
            b"".join(self.words[place * size :][:size] for place in kept),
        )

    def changed(self, later: Swept) -> list[int]:
        """Tensors whose values differ in ``later``, a sweep over the same places."""
        size = 4 * self.count
        return [
            tensor
            for place, tensor in enumerate(self.tensors)
            if self.words[place * size :][:size] != later.words[place * size :][:size]
        ]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What stays the same from sweep to sweep over the same tensors while none of them moves in memory."""

    chosen: tuple[int, ...]
    count: int
    parameters: list[torch.Tensor]
    addresses: list[int]
    first: Array
    numel: Array
    places: Array
    memory: Array

    def stands(self) -> bool:
        """Whether all of them lie where they did."""
        return [parameter.data_ptr() for parameter in self.parameters] == self.addresses


@dataclass(frozen=True, slots=True)
class _Counted:
    """How often each of these parameters had been written in place when a step was over."""

    tensors: tuple[int, ...]
    versions: list[int]


NOTHING = Swept((), 0, (), b"")


class Sweeper:
    """Sweeps over the parameters of one optimizer: those at ``readable`` places of ``parameters``."""

    def __init__(
        self, key: bytes, parameters: Sequence[torch.Tensor], readable: Sequence[int], numpy: object = None
    ) -> None:
        self._key = key
        self._parameters = parameters
        self._numels = [parameter.numel() for parameter in parameters]
        self._fast, self._slow = fast_and_slow(parameters, readable)
        self._addresses = {place: parameters[place].data_ptr() for place in self._fast}
        self._plan: _Plan | None = None
        self._index: tuple[tuple[int, ...], Array] | None = None
        self._rows: tuple[tuple[int, ...], Rows] | None = None
        self._counted: _Counted | None = None
        self._numpy = numpy_of(numpy)
        self._window = window(self._numpy) if self._numpy is not None else None

    def fresh(self, step: int) -> Swept:
        """A sweep over the places of ``step``."""
        chosen = sweep.turn(self._key, step, self._fast)
        turn = by_turns(self._slow, step, SLOW_TENSORS)
        chosen += turn[: sweep.MAX_SWEPT - len(chosen)]
        if not chosen:
            return NOTHING
        count = sweep.per_tensor(len(chosen))
        if self._numpy is None:
            starts = sweep.starts(self._key, step, [self._numels[place] for place in chosen])
            return self._read(tuple(chosen), count, tuple(starts))
        begins, rows = self._rows_of(self._numpy, tuple(chosen), count).at(step)
        return self._read(tuple(chosen), count, begins, rows)

    def again(self, before: Swept) -> Swept:
        """The places of an earlier sweep as they are now."""
        return self._read(before.tensors, before.count, before.starts) if before.tensors else before

    def count(self, step: int, tensors: tuple[int, ...]) -> None:
        """Nobody is to write into these until ``step``: note the counts of those that have their turn."""
        tensors = tensors[sweep.counted(step, tensors)]
        versions = self._versions(tensors)
        self._counted = _Counted(tensors, versions) if versions is not None else None

    def forget(self) -> None:
        """What was counted is no longer what nobody was to write into."""
        self._counted = None

    def written(self) -> list[list[int]] | None:
        """Those of them that were written in place since, and how often; None when that is not known."""
        counted = self._counted
        versions = self._versions(counted.tensors) if counted is not None else None
        if counted is None or versions is None:
            return None
        if versions == counted.versions:
            return []
        both = zip(counted.tensors, counted.versions, versions, strict=True)
        return [[tensor, now - before] for tensor, before, now in both if before != now]

    def _versions(self, tensors: tuple[int, ...]) -> list[int] | None:
        own = self._parameters
        try:
            return [own[tensor]._version for tensor in tensors]
        except RuntimeError:
            return None  # made in inference mode, where writes are not counted

    def _rows_of(self, numpy: NumPy, chosen: tuple[int, ...], count: int) -> Rows:
        if self._rows is None or self._rows[0] != chosen:
            numels = [self._numels[place] for place in chosen]
            self._rows = chosen, Rows(numpy, self._key, numels, count)
        return self._rows[1]

    def _read(
        self, chosen: tuple[int, ...], count: int, starts: tuple[int, ...], rows: Array | None = None
    ) -> Swept:
        numpy, plan = self._numpy, self._plan
        if plan is None or plan.chosen != chosen or plan.count != count or not plan.stands():
            plan = self._plan = self._planned(chosen, count) if numpy is not None else None
            self._index = None
        if numpy is None or plan is None:
            return Swept(chosen, count, starts, self._one_by_one(chosen, count, starts))
        if self._index is None or self._index[0] is not starts:
            if rows is None:
                start = numpy.array(starts, numpy.int64).reshape((len(chosen), 1))
                rows = (start + plan.places) % plan.numel
            self._index = starts, rows + plan.first
        return Swept(chosen, count, starts, plan.memory.take(self._index[1]).tobytes())

    def _planned(self, chosen: tuple[int, ...], count: int) -> _Plan | None:
        """How to read these tensors through the window; None when one of them is not in such memory."""
        numpy, memory = self._numpy, self._window
        if numpy is None or memory is None or not all(self._at_its_address(place) for place in chosen):
            return None
        shape = (len(chosen), 1)
        addresses = [self._addresses[place] for place in chosen]
        first = numpy.array([word_of(address) for address in addresses], numpy.int64).reshape(shape)
        numel = numpy.array([self._numels[place] for place in chosen], numpy.int64).reshape(shape)
        places = numpy.arange(count) * numpy.maximum(numel // count, 1)
        own = [self._parameters[place] for place in chosen]
        return _Plan(chosen, count, own, addresses, first, numel, places, memory)

    def _at_its_address(self, place: int) -> bool:
        """Whether a parameter's memory is where it was, or now elsewhere in memory that can be read."""
        address = self._addresses.get(place)
        parameter = self._parameters[place]
        if address is None:
            return False
        if parameter.data_ptr() != address:
            if not in_place(parameter) or parameter.numel() != self._numels[place]:
                return False
            self._addresses[place] = parameter.data_ptr()
        return True

    def _one_by_one(self, chosen: tuple[int, ...], count: int, starts: tuple[int, ...]) -> bytes:
        """The same words without NumPy, or of tensors that only torch can read."""
        import torch

        parts: list[bytes] = []
        for tensor, start in zip(chosen, starts, strict=True):
            parameter = self._parameters[tensor]
            places = sweep.positions(start, self._numels[tensor], count)
            if self._at_its_address(tensor):
                memory = (ctypes.c_uint32 * self._numels[tensor]).from_address(self._addresses[tensor])
                parts.append(struct.pack(f"={count}I", *[memory[place] for place in places]))
                continue
            if parameter.numel() != self._numels[tensor]:
                parts.append(b"\xff" * (4 * count))  # exchanged for one of another size: not what it was
                continue
            index = torch.tensor(places, dtype=torch.int64, device=parameter.device)
            parts.append(raw_bytes(parameter.detach().take(index).to(torch.float32)))
        return b"".join(parts)
