"""How often the monitor looks up from its sleep.

Each time it wakes it takes a core from training for a moment. Seeing a main thread asleep at some line takes
looks at close intervals, so these come in bursts: all the time while a run's first steps are made, then for a
second in every four (in every sixteen while the guards rest, rarer still where that costs training too much,
see :mod:`.thrift`), at a time that the program cannot know, and again all the time for a while after
something was seen. In between it wakes to read what has come. A stall worth a finding comes back, so a burst
meets it; one that is longer than the wide interval is met anyway.
"""

from __future__ import annotations

from random import SystemRandom

CLOSE_TICK = 0.02
WIDE_TICK = 0.2
CALM_WIDE_TICK = 0.5
BURST_SECONDS = 1.0
CYCLE_SECONDS = 4.0
CALM_CYCLE_SECONDS = 16.0
HELD_SECONDS = 8.0
_CHANCE = SystemRandom()


class Attention:
    """Chooses the next interval. Times are those of a monotonic clock, in seconds."""

    def __init__(self, now: float) -> None:
        self._close_until = now + BURST_SECONDS
        self._cycle_ends = now + CYCLE_SECONDS
        self._burst = now

    def caught(self, now: float) -> None:
        """Something was seen that deserves a closer look for a while."""
        self._close_until = max(self._close_until, now + HELD_SECONDS)

    def interval(self, now: float, *, calm: bool = False, stretch: float = 1.0) -> float:
        """Seconds until the next look; a wide one ends where a burst begins.

        ``calm``: the guards rest; then all but a burst takes ``stretch`` times as long, 1 or more.
        """
        if now >= self._cycle_ends:
            cycle = CALM_CYCLE_SECONDS * stretch if calm else CYCLE_SECONDS
            self._burst = now + _CHANCE.uniform(0.0, cycle - BURST_SECONDS)
            self._cycle_ends = now + cycle
        if now < self._close_until or self._burst <= now < self._burst + BURST_SECONDS:
            return CLOSE_TICK
        ahead = [end - now for end in (self._burst, self._cycle_ends) if end > now]
        return min(CALM_WIDE_TICK * stretch if calm else WIDE_TICK, *ahead)
