"""Nobody makes steps any more: looking at all ranks at once, to see who waits and who is waited for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..core.observation import JobStuck, RankStuck, StackFrame
from ..core.origin import monitor_origin
from ..observe import process

HANG_AFTER = 120.0
USUAL_FACTOR = 20.0
LONGEST_FACTOR = 3.0
LOOKS = 3
BETWEEN_LOOKS = 5.0
AGAIN_FACTOR = 10.0
MAX_RANKS = 16
MAX_REPORTS = 100
Read = Callable[[int], list[StackFrame]]


@dataclass(slots=True)
class _Rank:
    """One rank's process and what was seen of it while it was stuck."""

    pid: int
    rank: int
    step: int
    gone: bool = False
    stacks: list[list[StackFrame]] = field(default_factory=list)
    cpu: list[tuple[float, int]] = field(default_factory=list)


class Hangs:
    """Knows each rank's last step. ``floor``: seconds without any step that are never called a hang."""

    def __init__(self, read: Read | None, floor: float = HANG_AFTER) -> None:
        self._read = read
        self._floor = floor
        self._ranks: dict[int, _Rank] = {}
        self._durations: deque[float] = deque(maxlen=101)
        self._longest = 0.0
        self._last = 0.0
        self._looks = 0
        self._next_look = 0.0
        self._told = 0
        self._reports = 0

    def stepped(self, pid: int, rank: int, step: int, ago: float = 0.0) -> Iterator[JobStuck]:
        """A step of ``pid`` ended ``ago`` seconds before now. Yields the end of a hang that was told."""
        now = time.monotonic() - max(0.0, ago)
        known = self._ranks.setdefault(pid, _Rank(pid, rank, step))
        if self._told:
            yield from self._report(now, over=True)
        if self._last:
            span = max(0.0, now - self._last)
            self._durations.append(span)
            if not self._told:  # a hang must not teach that hangs are usual
                self._longest = max(self._longest, span)
        known.step, self._last = step, max(self._last, now)
        self._told = 0
        if self._looks:
            self._forget_looks()

    def ended(self, pid: int) -> None:
        """The process has ended: the others may wait for it for ever."""
        if pid in self._ranks:
            self._ranks[pid].gone = True

    def look(self) -> Iterator[JobStuck]:
        """Look at all ranks when nobody has made a step for much longer than usual."""
        now = time.monotonic()
        if not self._last or all(rank.gone for rank in self._ranks.values()):
            return
        limit = self._limit() * (AGAIN_FACTOR if self._told else 1.0)
        if self._told > 1 or now - self._last < limit or now < self._next_look:
            return
        self._next_look = now + min(BETWEEN_LOOKS, self._floor / 4)
        self._looks += 1
        for rank in list(self._ranks.values())[:MAX_RANKS]:
            self._look_at(rank)
        if self._looks >= LOOKS:
            self._told += 1
            yield from self._report(now, over=False)
            self._forget_looks()

    def _limit(self) -> float:
        ordered = sorted(self._durations)
        usual = ordered[len(ordered) // 2] if ordered else 0.0
        return max(self._floor, USUAL_FACTOR * usual, LONGEST_FACTOR * self._longest)

    def _look_at(self, rank: _Rank) -> None:
        if rank.gone:
            return
        schedule = process.read_schedule(rank.pid)
        if schedule is not None:
            rank.cpu.append((time.monotonic(), schedule.cpu))
        if self._read is not None:
            rank.stacks.append(self._read(rank.pid))

    def _forget_looks(self) -> None:
        self._looks = 0
        for rank in self._ranks.values():
            rank.stacks, rank.cpu = [], []

    def _report(self, now: float, *, over: bool) -> Iterator[JobStuck]:
        self._reports += 1
        if self._reports > MAX_REPORTS:
            return
        ordered = sorted(self._durations)
        yield JobStuck(
            monitor_origin(time.time_ns()),
            int((now - self._last) * 1e9),
            int(ordered[len(ordered) // 2] * 1e9) if ordered else 0,
            over,
            self._looks,
            [] if over else [_stuck(rank) for rank in list(self._ranks.values())[:MAX_RANKS]],
        )


def _stuck(rank: _Rank) -> RankStuck:
    status = None if rank.gone else process.read_stat(rank.pid)
    cpu = 0
    if len(rank.cpu) >= 2:
        (began, before), (ended, after) = rank.cpu[0], rank.cpu[-1]
        cpu = min(1000, max(0, int((after - before) / max(1.0, (ended - began) * 1e6))))
    places = [[(frame.path, frame.line) for frame in stack] for stack in rank.stacks if stack]
    same = len(places) >= 2 and all(place == places[0] for place in places)
    frames = next((stack for stack in reversed(rank.stacks) if stack), [])
    return RankStuck(
        rank.rank, rank.pid, rank.step, "gone" if status is None else status.state, cpu, same, frames
    )
