"""Reading an optimizer's gradients along their way from the backward pass to the step (``core.gradients``).

Nothing is judged here. Readings of float32 gradients in contiguous CPU memory are taken in one go where
NumPy has been imported anyway; the addresses are looked up anew for each reading, since programs give
gradients up and get others at each step. No gradient is held on to.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

from ..core import gradients as core
from ..core import sweep
from ..core.sample import keyed_order
from .memory import Array, NumPy, numpy_of, window, word_of
from .reader import Picked, Reader, Wanted
from .tensors import in_place

if TYPE_CHECKING:
    import torch

SLOW_TENSORS = 8
# At a glance: a quarter of the tensors, but eight at least.
GLANCES, GLANCED = 4, 8
UNREADABLE = -1


@dataclass(frozen=True, slots=True)
class Taken:
    """One reading: who has no gradient (or none that can be read), and all others' values."""

    absent: tuple[int, ...]
    words: bytes


@dataclass(frozen=True, slots=True)
class _Places:
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

    places: _Places
    addresses: list[int]
    absent: tuple[int, ...]
    index: Array


@dataclass(frozen=True, slots=True)
class _Witness:
    """Where gradients lie, and how often those that have their turn were written in place; 0 for none.

    Versions are None when torch counts no writes into one of them.
    """

    places: _Places
    addresses: list[int]
    versions: list[int] | None

    def written(self, later: _Witness) -> set[int] | None:
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


@dataclass(slots=True)
class Event:
    """A call that may change gradients; what waits for a device is asked for its value at the step.

    ``concerned``: ids of the parameters it was given; None when it takes all of the optimizer's.
    """

    kind: str
    before: int
    limit: object
    norm_type: float = 2.0
    own: Callable[[], float] | None = None
    largest: int = 0
    concerned: frozenset[int] | None = None
    outside: list[int] = field(default_factory=list)
    repeated: bool = False
    norm: object = None
    after: int = -1

    def body(self) -> dict[str, object]:
        """The event as the record holds it."""
        return {
            "kind": self.kind,
            "before": self.before,
            "after": self.after,
            "limit": float(self.limit),  # type: ignore[arg-type]
            "norm": float(self.norm) if self.norm is not None else None,  # type: ignore[arg-type]
            "norm_type": self.norm_type,
            "own": self.own() if self.own is not None else None,
            "largest": self.largest,
            "outside": self.outside,
            "repeated": self.repeated,
        }


@dataclass(frozen=True, slots=True)
class ByHooks:
    """What the program's hooks before a step did to gradients outside known calls: the elements read of each
    tensor that changed, as ``(before, after)``, and of those of all others; ``wrote``: torch counted writes.
    """

    changed: tuple[tuple[bytes, bytes], ...]
    same: bytes
    wrote: bool


@dataclass(frozen=True, slots=True)
class Passed:
    """The calls that a step's gradients went through since their last backward pass.

    ``whole``: all were followed to their end, and none lay between two backward passes. ``touched``: between
    these calls something else changed elements that were read.
    """

    events: tuple[Event, ...] = ()
    whole: bool = True
    touched: bool = False


class Trail:
    """The gradients of one optimizer: those at ``readable`` places of ``parameters``."""

    def __init__(
        self, key: bytes, parameters: Sequence[torch.Tensor], readable: Sequence[int], numpy: object = None
    ) -> None:
        import torch

        self._key = key + b"gradient"
        self._parameters = parameters
        self._numels = [parameter.numel() for parameter in parameters]
        filled = [place for place in readable if self._numels[place]]
        self._fast = [place for place in filled if in_place(parameters[place])]
        self._slow = [place for place in filled if not in_place(parameters[place])]
        self._reader = Reader(numpy)
        self._numpy = numpy_of(numpy)
        self._window = window(self._numpy) if self._numpy is not None else None
        self._in_place = frozenset(self._fast)
        self._kind, self._single = torch.Tensor, torch.float32
        self._places: _Places | None = None
        self._plan: _Plan | None = None
        self._left: tuple[_Places, Taken] | None = None
        self.passed = Passed()
        self.by_hooks: ByHooks | None = None
        self.close = True
        self._forget()

    def _forget(self) -> None:
        self._readings: list[Taken] = []
        self._events: list[Event] = []
        self._raw = -1
        self._starts: list[str] = []
        self._backwards = self._failed = 0
        self._cut = False
        self._between: tuple[list[Taken], int, list[Event]] | None = None
        self._witness: _Witness | None = None
        self._written: set[int] | None = None
        self._before_hooks: tuple[int, set[int], int] | None = None

    # --- what happens on the way -----------------------------------------------------------------

    def begin(self, step: int) -> None:
        """A backward pass begins: is there what the one before left, or nothing?"""
        letter, now = self._found(step)
        changed = letter in (core.CHANGED, core.PARTLY, core.CLIPPED)
        whole = not self._cut and all(event.after >= 0 for event in self._events)
        if changed and now is not None and self._raw >= 0 and self._between is None and whole:
            self._between = [*self._readings, now], self._raw, self._events
        if len(self._starts) < core.MAX_STARTS:
            self._starts.append(letter)
        # What this pass adds to is no longer what was read.
        self._readings, self._events, self._raw, self._cut = [], [], -1, False
        self._before_hooks = None

    def end(self, step: int) -> None:
        """It ended: what it left is what the step must be given."""
        self._backwards += 1
        self._readings, self._events, self._cut = [], [], False
        self._raw = self._note(step)
        self._written = set()

    def failed(self) -> None:
        """It raised: gradients may be those of a part of it."""
        self._failed += 1
        self._written = None

    def inside(self) -> None:
        """A backward pass ran within the optimizer's own step, in a closure."""
        self._readings, self._events, self._raw, self._written = [], [], -1, None
        self._before_hooks = None

    def opened(self, step: int, kind: str, limit: object) -> Event | None:
        """A call that may change gradients begins; None when too many came before the step."""
        if len(self._events) >= core.MAX_EVENTS:
            self._cut = True
            return None
        running = any(one.after < 0 for one in self._events)
        event = Event(kind, self._note_writes(step, known=running), limit)
        self._events.append(event)
        return event

    def closed(self, step: int, event: Event) -> None:
        """It has returned."""
        event.after = self._note(step)

    def hooks_begin(self, step: int) -> None:
        """The program's hooks before a step are about to run."""
        number = self._note_writes(step)
        written = self._written
        self._before_hooks = (number, set(written), len(self._events)) if written is not None else None

    def _by_hooks(self, places: _Places, last: int) -> ByHooks | None:
        """What they did; None when no hooks ran, or a call that clips among them."""
        if self._before_hooks is None or self._written is None or self._before_hooks[2] != len(self._events):
            return None
        first, written, _ = self._before_hooks
        before, after = _by_tensor(places, self._readings[first]), _by_tensor(places, self._readings[last])
        both = [(before[tensor], after[tensor]) for tensor in before if tensor in after]
        return ByHooks(
            tuple(pair for pair in both if pair[0] != pair[1]),
            b"".join(was for was, now in both if was == now),
            self._written != written,
        )

    def taken(self, step: int) -> tuple[dict[str, object], bytes]:
        """The step begins: its trail, as the record's body and binary part hold it; a new one begins."""
        last = self._note_writes(step)
        places = self._at(step)
        closed = [event for event in self._events if event.after >= 0]
        between = self._and_between()
        cut = self._cut or len(closed) < len(self._events)
        ends = [self._raw, *(end for event in closed for end in (event.before, event.after)), last]
        touched = any(left != found for left, found in zip(ends[::2], ends[1::2], strict=True))
        self.passed = Passed(tuple(closed), between is None and not cut, touched)
        body = {
            "size": len(places.chosen),
            "count": places.count,
            "absent": [list(reading.absent) for reading in self._readings],
            "raw": self._raw,
            "taken": last,
            "events": [event.body() for event in closed],
            "starts": "".join(self._starts),
            "backwards": self._backwards,
            "failed": self._failed,
            "cut": cut,
            "between": between,
            "written": None if cut or self._written is None else sorted(self._written),
        }
        blob = core.pack(places.chosen, [reading.words for reading in self._readings])
        self._left = places, self._readings[last]
        self.by_hooks = self._by_hooks(places, last)
        self._forget()
        return body, blob

    def _and_between(self) -> dict[str, object] | None:
        """What happened between two backward passes, its readings added to the step's own."""
        if self._between is None:
            return None
        readings, raw, events = self._between
        offset = len(self._readings)
        self._readings += readings
        moved = []
        for event in events:
            body = event.body()
            moved.append({**body, "before": offset + event.before, "after": offset + event.after})
        return {"raw": offset + raw, "taken": len(self._readings) - 1, "events": moved}

    def chosen(self, step: int) -> tuple[int, ...]:
        """The tensors that are read for that step."""
        return self._at(step).chosen

    def _note(self, step: int) -> int:
        """Read, and keep the reading if it is another one than those before."""
        reading = self._read(self._at(step), counting=True)
        if reading in self._readings:
            return self._readings.index(reading)
        self._readings.append(reading)
        return len(self._readings) - 1

    def _note_writes(self, step: int, *, known: bool = False) -> int:
        """Read, and keep who was written since the reading before; not where a ``known`` call wrote."""
        before, number = self._witness, self._note(step)
        if not known and self._written is not None and before is not None and self._witness is not None:
            since = before.written(self._witness)
            self._written = self._written | since if since is not None else None
        return number

    def _found(self, step: int) -> tuple[str, Taken | None]:
        """The letter for what a backward pass finds, and the reading of it, where there was one."""
        nothing = all(self._parameters[tensor].grad is None for tensor in (*self._fast, *self._slow))
        before = (self._at(step), self._readings[self._raw]) if self._raw >= 0 else self._left
        if before is None or (nothing and self._raw < 0):
            return core.NOTHING if nothing else core.CHANGED, None
        at, was = before
        had = {tensor: words for tensor, words in _by_tensor(at, was).items() if _filled(words)}
        reading = Taken(at.chosen, b"") if nothing else self._read(at)
        now = _by_tensor(at, reading)
        kept = [tensor for tensor, words in had.items() if now.get(tensor) == words]
        gone = [tensor for tensor in had if not _filled(now.get(tensor, b""))]
        if len(gone) == len(had):
            if not had or self._raw < 0:
                return core.NOTHING, None
            return core.DISCARDED if all(map(_finite, had.values())) else core.INVALID, None
        if len(kept) == len(had):
            return core.KEPT, None
        if self._events or self._cut:
            return core.CLIPPED, reading
        return core.PARTLY if len(kept) + len(gone) == len(had) else core.CHANGED, reading

    # --- reading ---------------------------------------------------------------------------------

    def _at(self, step: int) -> _Places:
        if self._places is None or self._places.step != step:
            self._places = self._chosen(step)
        return self._places

    def _chosen(self, step: int) -> _Places:
        chosen = sweep.turn(self._key, step, self._fast if self.close else self._glanced(step))
        slow = len(self._slow)
        turn = [self._slow[(step * SLOW_TENSORS + place) % slow] for place in range(min(SLOW_TENSORS, slow))]
        chosen = sorted(chosen + turn[: sweep.MAX_SWEPT - len(chosen)])
        if not chosen:
            return _Places(step, (), (), 0, (), None, slice(0))
        count = core.per_tensor(len(chosen))
        numels = [self._numels[tensor] for tensor in chosen]
        starts = sweep.starts(self._key, step, numels)
        rows = None
        if self._numpy is not None:
            numpy, shape = self._numpy, (len(chosen), 1)
            numel = numpy.array(numels, numpy.int64).reshape(shape)
            first = numpy.array(starts, numpy.int64).reshape(shape)
            rows = (first + numpy.arange(count) * numpy.maximum(numel // count, 1)) % numel
        parameters = tuple(self._parameters[tensor] for tensor in chosen)
        counted = sweep.counted(step, chosen)
        return _Places(step, tuple(chosen), parameters, count, tuple(starts), rows, counted)

    def _glanced(self, step: int) -> list[int]:
        """A part of the tensors, each in its turn as a key decides."""
        total = len(self._fast)
        parts = max(1, min(GLANCES, total // GLANCED))
        cycle, part = divmod(step, parts)
        return sorted(self._fast[at] for at in keyed_order(self._key, cycle, total)[part::parts])

    def _read(self, places: _Places, *, counting: bool = False) -> Taken:
        numpy, memory, plan = self._numpy, self._window, self._plan
        gradients = [parameter.grad for parameter in places.parameters]
        if memory is not None and plan is not None and plan.places is places and _stands(plan, gradients):
            self._witness = (
                _Witness(places, plan.addresses, _versions(places, gradients)) if counting else None
            )
            return Taken(plan.absent, memory.take(plan.index).tobytes())
        addresses = self._addresses(places, gradients)
        self._witness = None
        if counting:
            where = _identities(addresses, gradients)
            self._witness = _Witness(places, where, _versions(places, gradients))
        if numpy is None or memory is None or UNREADABLE in addresses:
            return self._one_by_one(places, addresses)
        absent = tuple([at for at, address in zip(places.chosen, addresses, strict=True) if not address])
        if len(absent) == len(addresses):
            return Taken(absent, b"")
        self._plan = plan = _Plan(places, addresses, absent, _index(numpy, places, addresses))
        return Taken(absent, memory.take(plan.index).tobytes())

    def _addresses(self, places: _Places, gradients: Sequence[torch.Tensor | None]) -> list[int]:
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

    def _one_by_one(self, places: _Places, addresses: Sequence[int]) -> Taken:
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


def _versions(places: _Places, gradients: Sequence[torch.Tensor | None]) -> list[int] | None:
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


def _index(numpy: NumPy, places: _Places, addresses: Sequence[int]) -> Array:
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


def _by_tensor(places: _Places, reading: Taken) -> dict[int, bytes]:
    size, gone = 4 * places.count, set(reading.absent)
    present = [tensor for tensor in places.chosen if tensor not in gone]
    return {tensor: reading.words[at * size :][:size] for at, tensor in enumerate(present)}


def _filled(words: bytes) -> bool:
    """Whether any value is not zero."""
    return any(memoryview(words).cast("f"))


def _finite(words: bytes) -> bool:
    return all(map(isfinite, memoryview(words).cast("f")))
