"""Looking at the workers of loaders from outside: does one sleep on a timer while its rank waits for data?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..core.observation import StackFrame, WorkersSeen
from ..core.origin import monitor_origin
from ..observe import process
from .processes import Known, Processes
from .stacks import TIMER_WAITS

REPORT_EVERY = 1.0
LOOKED_AT = 8
MAX_DUMPS = 60
MAX_REPORTS = 600
Read = Callable[[int], list[StackFrame]]


@dataclass(slots=True)
class _Second:
    """What was seen of one rank's workers since the last report."""

    asleep: set[int] = field(default_factory=set)
    frames: list[StackFrame] = field(default_factory=list)


class Workers:
    """Samples the workers of all ranks. ``read`` reads a main thread's stack from outside."""

    def __init__(self, processes: Processes, read: Read) -> None:
        self._processes = processes
        self._read = read
        self._seconds: dict[int, _Second] = {}
        self._next_report = 0.0
        self._next_dump = 0.0
        self._dumps = self._reports = self._turn = 0
        self._workers: list[tuple[Known, Known]] = []

    def look(self) -> Iterator[WorkersSeen]:
        """One glance at a few workers; once a second what was seen of each rank with a sleeping one."""
        now = time.monotonic()
        self._turn += 1
        if self._workers:
            start = self._turn * LOOKED_AT % len(self._workers)
            for rank, worker in [*self._workers[start:], *self._workers[:start]][:LOOKED_AT]:
                self._glance(rank, worker, now)
        if now < self._next_report:
            return
        self._next_report = now + REPORT_EVERY
        yield from self._report()
        self._workers = self._find()

    def _find(self) -> list[tuple[Known, Known]]:
        known = self._processes.known
        pairs = [(known.get(one.parent), one) for one in known.values() if one.step < 0]
        return [
            (rank, one)
            for rank, one in pairs
            if rank is not None and rank.step >= 0 and self._processes.is_worker(one)
        ]

    def _glance(self, rank: Known, worker: Known, now: float) -> None:
        if process.read_wchan(worker.pid) not in TIMER_WAITS:
            return
        second = self._seconds.setdefault(rank.pid, _Second())
        second.asleep.add(worker.pid)
        if not second.frames and now >= self._next_dump and self._dumps < MAX_DUMPS:
            self._next_dump = now + REPORT_EVERY
            self._dumps += 1
            frames = self._read(worker.pid)
            if process.read_wchan(worker.pid) in TIMER_WAITS:
                second.frames = frames

    def _report(self) -> Iterator[WorkersSeen]:
        seconds, self._seconds = self._seconds, {}
        for pid, second in seconds.items():
            rank = self._processes.known.get(pid)
            if rank is None or self._reports >= MAX_REPORTS:
                continue
            self._reports += 1
            yield WorkersSeen(
                monitor_origin(time.time_ns(), pid=pid, rank=rank.rank, source="/proc"),
                sum(one is rank for one, _ in self._workers),
                len(second.asleep),
                rank.step,
                second.frames,
            )
