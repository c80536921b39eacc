"""Steps of the machine's clock, suspends, and times in which the monitor itself saw nothing: each is an
entry.

None of them is anybody's fault by itself: a time daemon steps a clock, a laptop sleeps, a machine is
migrated, a disk does not answer. But who reads the record must not take a gap for a quiet hour, nor compare
times across a step. So they are gaps, and never findings; what was done to the job meanwhile, the laws of
time and life say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..core.observation import Gap
from ..core.origin import monitor_origin
from ..observe.clocks import Clocks, read_clocks
from .pace import run_delay

SECOND = 10**9
STEP = SECOND // 2
"""A step of the clock that is worth an entry; a leap second that the kernel inserts is a whole one."""
SUSPEND = SECOND
SILENCE = 10 * SECOND
MAX_GAPS = 200
MAX_STEPS = 64
LAW = "record"


@dataclass(slots=True)
class ClockWatch:
    """Compares the clocks at each turn of the monitor. ``read`` gives them; ``waited``: seconds for a
    processor."""

    read: Callable[[], Clocks] = read_clocks
    waited: Callable[[], float] = run_delay
    used: Callable[[], float] = time.process_time
    _last: Clocks | None = None
    _told_at: Clocks | None = None
    _spent: tuple[float, float] = (0.0, 0.0)
    _steps: list[tuple[int, int, int]] = field(default_factory=list)
    _told: int = 0

    def look(self, step: int) -> Iterator[Gap]:
        """What happened to clocks and monitor since the last look; ``step``: the last one heard of."""
        now, last = self.read(), self._last
        spent, before = (self.waited(), self.used()), self._spent
        self._last, self._spent = now, spent
        if last is None or self._told_at is None:
            self._told_at = now
            return
        unsure = now.spread + last.spread
        # Against what was told last, not the last look: who sets the clock by a little at a time is seen.
        told = self._told_at
        moved = (now.realtime - now.boottime) - (told.realtime - told.boottime)
        asleep = (now.boottime - now.monotonic) - (told.boottime - told.monotonic)
        if abs(moved) > STEP + unsure or asleep > SUSPEND + unsure:
            self._told_at = now
        silent = now.monotonic - last.monotonic
        if abs(moved) > STEP + unsure:
            # What the clock can have said first as it goes now, and last as it went before.
            begun, ended = now.realtime - silent, last.realtime + silent
            self._steps = [*self._steps, (begun, ended, moved)][-MAX_STEPS:]
            yield from self._gap(_step_of(moved, last.realtime, now.realtime), step)
        if asleep > SUSPEND + unsure:
            what = f"the machine was suspended for {asleep / SECOND:.1f} s"
            yield from self._gap((what, "neither the job nor the monitor ran; the clock went on"), step)
        if silent > SILENCE + unsure:
            yield from self._gap(_silence_of(silent, spent[0] - before[0], spent[1] - before[1]), step)

    def ago(self, moment: int) -> float:
        """Seconds since ``moment``, in ns of the clock that can be set; its steps since then are left out.

        A clock that was set back says some times twice: the later one is meant.
        """
        now = self.read().realtime
        stepped, end = 0, now + SECOND
        for begun, ended, by in reversed(self._steps):
            if begun <= moment <= end:
                break
            stepped, end = stepped + by, ended
        return max(0, now - moment - stepped) / SECOND

    def _gap(self, said: tuple[str, str], step: int) -> Iterator[Gap]:
        self._told += 1
        if self._told > MAX_GAPS:
            return
        what, reason = said
        if self._told == MAX_GAPS:
            reason += "; no further ones are listed"
        yield Gap(
            monitor_origin(time.time_ns()), what, f"{reason}; the last step heard of was {step}", law=LAW
        )


def _step_of(moved: int, before: int, after: int) -> tuple[str, str]:
    which = "forward" if moved > 0 else "back"
    shown = [
        time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(max(0, at) // SECOND)) for at in (before, after)
    ]
    return (
        f"the clock was set {which} by {abs(moved) / SECOND:.3f} s",
        f"in one step or several; it said {shown[0]} at the look before and {shown[1]} now: times before and "
        "after do not compare, the order of the entries does; by whom is not known, time daemons do it, too",
    )


def _silence_of(silent: int, waited: float, used: float) -> tuple[str, str]:
    return (
        f"the monitor saw nothing for {silent / SECOND:.1f} s",
        f"it waited {max(0.0, waited):.1f} s for a processor and computed for {max(0.0, used):.1f} s; for "
        "the rest it was stopped, or waited for a disk",
    )
