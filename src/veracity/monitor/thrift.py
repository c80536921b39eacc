"""How long the monitor sleeps between two readings while the guards rest: by what it costs training.

A reading looks at all that the job wrote and at each of its processes. Where a processor is free that costs
training nothing, and the monitor reads once a second. Where training uses them all the monitor's time is
taken from it, so it may use a quarter of the user's budget (``--overhead``), of one core. Where it used more
it sleeps longer, between its looks from outside as well (:mod:`.attention`). What it is told meanwhile waits
in the spools; what a guard asks or a process' end wakes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .pace import run_delay

LEAST_SECONDS = 1.0
MOST_SECONDS = 4.0
PART = 0.25
"""Of the budget. Half of it pays for the guards' looks (``guard/schedule.py``), and what is left for what is
done at every step and for what the monitor's work costs the step beside its time: it empties caches."""
_FASTER = 0.5
_SLOWER = 2.0


class Thrift:
    """Chooses the interval. ``overhead``: the budget, 0 to 1. ``used`` gives the processor time of this
    process so far and ``waited`` for how long it was ready and had no processor, in seconds.
    """

    def __init__(
        self,
        overhead: float,
        used: Callable[[], float] = time.process_time,
        waited: Callable[[], float] = run_delay,
    ) -> None:
        self._allowed = overhead * PART
        self._used, self._waited = used, waited
        self._every = LEAST_SECONDS
        self._last: tuple[float, float, float] | None = None

    @property
    def stretch(self) -> float:
        """So many times as long as where a processor is free the monitor sleeps now."""
        return self._every / LEAST_SECONDS

    def after(self, now: float) -> float:
        """Seconds until the next reading; one was made at ``now``, seconds of a monotonic clock."""
        current = now, self._used(), self._waited()
        last, self._last = self._last, current
        if last is None:
            return self._every
        span, used, waited = (new - old for new, old in zip(current, last, strict=True))
        if span <= 0.0:
            return self._every
        if waited <= used:  # it is hardly kept waiting: a processor was free
            self._every = LEAST_SECONDS
        else:
            over = used / (span * self._allowed) if self._allowed > 0.0 else _SLOWER
            self._every *= min(_SLOWER, max(_FASTER, over))
        self._every = min(MOST_SECONDS, max(LEAST_SECONDS, self._every))
        return self._every

    def forget(self) -> None:
        """The guards do not rest: what is used now is not for readings of a rest."""
        self._last = None
