"""Stretches of steps that are not looked at, because the budget does not pay for more.

Looking costs some milliseconds a step, whatever the model: a large part of a small model's step. Where one
ordinary optimizer trains alone, steps are therefore looked at in pairs, which a key draws with the
probability that the budget (``--overhead``) pays for. Between pairs the guard rests: it counts steps, notes
what loaders draw and what schedulers do, and lets everything else pass. Nothing is compared across a rest.
"""

from __future__ import annotations

from threading import get_ident
from time import perf_counter_ns
from typing import TYPE_CHECKING

from .schedule import LOOK, Schedule
from .stepcall import on_stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from .session import Session
    from .tracked import Open, Tracked

WARM = 64
"""Steps that are looked at first, so that what a program always does is known."""
ALL = 0.5
"""A budget from which on every step is looked at."""
NOTED_EVERY = 64
"""Calls of schedulers that one record tells of at most."""
SAID_EVERY = 5_000_000_000
"""Nanoseconds after which a rest that goes on is heard of."""
SAID_STEPS = 4096
"""Steps after which it is, too."""
BACKWARDS = 4
MOST = 3
_SMOOTH = 0.05


class Rest:
    """Whether the guard rests, and for how long it has.

    ``on``: it does. All that happens between two optimizer steps is looked at, or nothing of it is.
    """

    def __init__(self, session: Session) -> None:
        self.on = False
        self._session = session
        self.looks = Schedule(session.config.key, session.config.overhead, LOOK)
        self._index = -1
        self.ends: Callable[[], object] = bool
        """Called when a rest ends, before that is said."""
        self._later: list[dict[str, object]] = []
        self._stretch = 0
        self._first = self._count = self._took = 0
        self._each: list[int] = []
        self._ended = 0
        self._thread = 0
        self._frame = 0
        self._ending = False
        self._backwards = self._usual = 0
        self._spent = 0
        self._looked = self._passed = 0.0
        self.seconds = 0.0
        """Of training, in the rest that goes on or has just ended."""

    # --- looking ---------------------------------------------------------------------------------

    def looked(self, tracked: Tracked, seconds: float, checking: int) -> None:
        """A step of ``seconds`` was looked at; ``checking`` ns of it had a budget of their own."""
        spent = self._session.shield.spent
        if self._spent:  # not what went before the first step
            self.looks.looked(self._cost(spent - self._spent - checking, seconds) / 1e9)
        self.looks.stepped(seconds)
        self._spent = spent
        self._usual = max(self._usual, tracked.backwards)
        self._stretch = max(0, self._stretch - 1)

    def _cost(self, spent: int, seconds: float) -> float:
        """What a look cost in ns: by the clock around the guard's code, or as much as the step was longer.

        Training goes on with caches that the guard has emptied, and its threads wait for each other.
        """
        self._looked += (seconds - self._looked) * _SMOOTH if self._looked else seconds
        longer = 1e9 * (self._looked - self._passed) if self._passed else 0.0
        return min(max(spent, longer), MOST * spent)

    def begin(self, tracked: Tracked, opened: Open, *, alone: bool) -> bool:
        """Whether a rest begins with the coming step of an optimizer that is ``alone`` in its process."""
        ordinary = alone and not opened.body["closure"] and opened.after is None and not opened.hooked
        ordinary = ordinary and self._session.config.overhead < ALL
        if not ordinary or tracked.steps < WARM or tracked.restore or self._is_due(tracked):
            return False
        self.on, self._ending = True, False
        self._index = tracked.index
        self._first, self._count, self._frame, self._backwards = tracked.steps, 0, 0, 0
        self._took, self.seconds, self._each = 0, 0.0, []
        self._thread = get_ident()
        self._say()
        return True

    def _is_due(self, tracked: Tracked) -> bool:
        return self._stretch > 0 or self.looks.draws(tracked.index, tracked.steps)

    # --- resting ---------------------------------------------------------------------------------

    def before(self, frame: FrameType, *, ordinary: bool) -> None:
        """A step begins in ``frame``, or one within it."""
        if not self._frame or not on_stack(frame.f_back, self._frame):
            self._frame = id(frame)
            self._ending = self._ending or not ordinary

    def after(self, tracked: Tracked, took: int) -> bool:
        """A step has ended after ``took`` ns; whether the next one is to be looked at."""
        seconds = took / 1e9
        self._took += took
        self._each.append(took // 1000)
        self._ended = perf_counter_ns()
        self._frame = 0
        self._session.stepped(tracked.steps)
        tracked.steps += 1
        self._count += 1
        self._backwards = 0
        self.seconds += seconds
        self.looks.stepped(seconds)
        self._passed += (seconds - self._passed) * _SMOOTH if self._passed else seconds
        if self._took > SAID_EVERY or self._count >= SAID_STEPS:
            self.told()
        return self._ending or self._is_due(tracked)

    def is_in(self, frame: FrameType) -> bool:
        """Whether this is the frame of the step that began last."""
        return id(frame) == self._frame

    def backward(self) -> bool:
        """A backward pass begins; whether there were too many of them without a step."""
        self._backwards += 1
        return self._backwards > BACKWARDS * (self._usual + 1)

    def scheduled(self, body: dict[str, object]) -> None:
        """A scheduler stepped; told later, with others, while the guard rests: one by one they are dear."""
        if not self.on:
            self._session.emit("scheduled", body)
            return
        self._later.append(body)
        self._session.waiting = self._flush
        if len(self._later) >= NOTED_EVERY:
            self._flush()

    def _flush(self) -> None:
        later, self._later = self._later, []
        self._session.waiting = None
        if later:
            self._session.emit("schedules", {"calls": later})

    def end(self) -> None:
        """The coming step is looked at."""
        self.told()
        self.on = False
        self._stretch = LOOK.in_a_row
        self._spent = self._session.shield.spent

    def told(self) -> None:
        """In a rest: ship what waits, and say how many steps passed so far. Not from beside the training."""
        if not self.on or get_ident() != self._thread:
            return
        self._flush()
        self.ends()
        if self._count:
            self._say()

    def _say(self) -> None:
        body = {
            "optimizer": self._index,
            "first": self._first,
            "count": self._count,
            "took": self._took,
            "each": self._each,
            "since": perf_counter_ns() - self._ended if self._count else 0,
        }
        self._session.emit("rested", body)
        self._first, self._count, self._took, self._each = self._first + self._count, 0, 0, []
