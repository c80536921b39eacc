"""Reading an optimizer's gradients along their way from the backward pass to the step (``core.gradients``).

Nothing is judged here, and no gradient is held on to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

from ..core import gradients as core
from .gradientreader import GradientReader, Places, Taken, Witness, by_tensor

if TYPE_CHECKING:
    import torch


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
    these calls something else changed elements that were read. ``written``: ids of parameters, of those that
    were minded, whose gradient something else wrote to, or exchanged, whether or not elements show it.
    """

    events: tuple[Event, ...] = ()
    whole: bool = True
    touched: bool = False
    written: frozenset[int] = frozenset()


class Trail:
    """The gradients of one optimizer: those at ``readable`` places of ``parameters``."""

    def __init__(
        self, key: bytes, parameters: Sequence[torch.Tensor], readable: Sequence[int], numpy: object = None
    ) -> None:
        self._reader = GradientReader(key + b"gradient", parameters, readable, numpy)
        self._left: tuple[Places, Taken] | None = None
        self.passed = Passed()
        self._minded: list[torch.Tensor] = []
        self._minded_as: list[tuple[int, int]] = []
        self._minded_written: set[int] = set()
        self.by_hooks: ByHooks | None = None
        self._forget()

    def look_closely(self, *, close: bool) -> None:
        """How the coming step is looked at: all tensors, or a part of them at a glance."""
        self._reader.close = close

    def mind(self, parameters: Iterable[torch.Tensor]) -> None:
        """Follow every write into the gradients of these until the coming step."""
        self._minded, self._minded_as, self._minded_written = list(parameters), [], set()

    def _look_at_minded(self, *, known: bool = False) -> None:
        """Note who was written to since the last look; not where a ``known`` call wrote."""
        if not self._minded:
            return
        now = [_identity(parameter.grad) for parameter in self._minded]
        if self._minded_as and not known:
            both = zip(self._minded, self._minded_as, now, strict=True)
            self._minded_written |= {id(parameter) for parameter, was, found in both if was != found}
        self._minded_as = now

    def _forget(self) -> None:
        self._readings: list[Taken] = []
        self._events: list[Event] = []
        self._raw = -1
        self._starts: list[str] = []
        self._backwards = self._failed = 0
        self._cut = False
        self._between: tuple[list[Taken], int, list[Event]] | None = None
        self._witness: Witness | None = None
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
        self._minded_as, self._minded_written = [], set()
        self._look_at_minded()

    def resumed(self, step: int) -> None:
        """What came before was not followed: what lies there now is what that step was given."""
        self._forget()
        places = self._reader.at(step)
        self._left = places, self._reader.read(places)

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
        self._look_at_minded(known=running)
        event = Event(kind, self._note_writes(step, known=running), limit)
        self._events.append(event)
        return event

    def closed(self, step: int, event: Event) -> None:
        """It has returned."""
        event.after = self._note(step)
        self._look_at_minded(known=True)

    def hooks_begin(self, step: int) -> None:
        """The program's hooks before a step are about to run."""
        number = self._note_writes(step)
        written = self._written
        self._before_hooks = (number, set(written), len(self._events)) if written is not None else None

    def _by_hooks(self, places: Places, last: int) -> ByHooks | None:
        """What they did; None when no hooks ran, or a call that clips among them."""
        if self._before_hooks is None or self._written is None or self._before_hooks[2] != len(self._events):
            return None
        first, written, _ = self._before_hooks
        before, after = by_tensor(places, self._readings[first]), by_tensor(places, self._readings[last])
        both = [(before[tensor], after[tensor]) for tensor in before if tensor in after]
        return ByHooks(
            tuple(pair for pair in both if pair[0] != pair[1]),
            b"".join(was for was, now in both if was == now),
            self._written != written,
        )

    def taken(self, step: int) -> tuple[dict[str, object], bytes]:
        """The step begins: its trail, as the record's body and binary part hold it; a new one begins."""
        last = self._note_writes(step)
        self._look_at_minded()
        places = self._reader.at(step)
        closed = [event for event in self._events if event.after >= 0]
        between = self._and_between()
        cut = self._cut or len(closed) < len(self._events)
        ends = [self._raw, *(end for event in closed for end in (event.before, event.after)), last]
        touched = any(left != found for left, found in zip(ends[::2], ends[1::2], strict=True))
        written = frozenset(self._minded_written)
        self.passed = Passed(tuple(closed), between is None and not cut, touched, written)
        self._minded = []
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
        return self._reader.at(step).chosen

    def _note(self, step: int) -> int:
        """Read, and keep the reading if it is another one than those before."""
        reading, self._witness = self._reader.read_counting(self._reader.at(step))
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
        nothing = self._reader.nothing()
        before = (self._reader.at(step), self._readings[self._raw]) if self._raw >= 0 else self._left
        if before is None or (nothing and self._raw < 0):
            return core.NOTHING if nothing else core.CHANGED, None
        at, was = before
        had = {tensor: words for tensor, words in by_tensor(at, was).items() if _filled(words)}
        reading = Taken(at.chosen, b"") if nothing else self._reader.read(at)
        now = by_tensor(at, reading)
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


def _identity(gradient: torch.Tensor | None) -> tuple[int, int]:
    """Which tensor it is, and how often torch counted a write into it."""
    if gradient is None or gradient.is_inference():
        return id(gradient), 0
    return id(gradient), gradient._version


def _filled(words: bytes) -> bool:
    """Whether any value is not zero."""
    return any(memoryview(words).cast("f"))


def _finite(words: bytes) -> bool:
    return all(map(isfinite, memoryview(words).cast("f")))
