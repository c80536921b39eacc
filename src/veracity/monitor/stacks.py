"""Looking at the main threads from outside: is one asleep on a timer, and at which line?

The kernel's word (``/proc/<pid>/wchan``) costs ten microseconds, so it is asked often; the Python stack is
read by py-spy's own program, without stopping the process, only when there is something to explain.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom

from ..core.observation import StackFrame, StackSampled
from ..core.origin import Origin, Trust
from ..observe import process

TIMER_WAITS = ("hrtimer_nanosleep", "do_nanosleep", "common_nsleep")
MIN_SLEEP = 0.012
SHORT_SLEEPS = 2
"""So many sleeps ended before their stack was read: from then on it is not always read at first sight.

py-spy takes about as long as such a sleep, and training is regular: read at once each time, it could come
just too late each time. So it is read at once or a while after, by chance.
"""
A_WHILE = 0.04
MAX_UNSEEN = 0.02  # what a sleep may have gone on after the last look that saw it: looks may come late
DUMPS_PER_SECOND = 4.0
LATE_DUMPS_PER_SECOND = 1.0  # a late step on a busy machine is common and mostly explains itself
LATE_DUMPS_AT_ONCE = 6.0
LATE_FACTOR = 1.5
LATE_FLOOR = 0.02
MAX_OUTPUT = 1 << 20
MAX_FRAMES = 64
MAX_SOURCE = 4 << 20
WARM_STEPS = 5

_CHANCE = SystemRandom()
_SLEEP_CALL = re.compile(r"\bsleep\s*\(")


@dataclass(slots=True)
class _Watched:
    """One rank's process."""

    pid: int
    rank: int
    step: int = -1
    stepped_at: float = 0.0
    durations: list[float] = field(default_factory=list)
    asleep_since: float = 0.0
    asleep_until: float = 0.0
    ran: int = 0
    frames: list[StackFrame] = field(default_factory=list)
    short: int = 0
    unread: float = 0.0
    read_at: float = 0.0
    late_dumps: int = 0
    wait: str = ""
    rests: bool = False


class Stacks:
    """Samples stacks of the ranks when they sleep or are late. ``program`` is py-spy's executable."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._watched: dict[int, _Watched] = {}
        self._budget = DUMPS_PER_SECOND
        self._late_budget = LATE_DUMPS_AT_ONCE
        self._last = time.monotonic()
        self.failure = ""

    def stepped(self, pid: int, rank: int, step: int, ago: float = 0.0) -> None:
        """A step of ``pid`` ended ``ago`` seconds before now."""
        now = time.monotonic() - max(0.0, ago)
        watched = self._watched.setdefault(pid, _Watched(pid, rank))
        if watched.step >= 0 and not watched.rests:
            watched.durations = [*watched.durations[-30:], now - watched.stepped_at]
        watched.step, watched.stepped_at, watched.late_dumps, watched.rests = step, now, 0, False

    def rests(self, pid: int) -> None:
        """The guard of ``pid`` does not tell of single steps now: none of them is called late."""
        if pid in self._watched:
            self._watched[pid].rests = True

    def waits(self) -> dict[int, str]:
        """Of each rank, the kernel function its main thread slept in at the last look; empty when it ran."""
        return {watched.pid: watched.wait for watched in self._watched.values()}

    @property
    def sees_sleep(self) -> bool:
        """Whether a rank was asleep on a timer at the last look."""
        return any(watched.asleep_since for watched in self._watched.values())

    def forget(self, pid: int) -> None:
        """The process has ended."""
        self._watched.pop(pid, None)

    def look(self, *, fresh: bool = True) -> Iterator[StackSampled]:
        """One glance at each rank; yields a sample when a sleep has ended or a step is late.

        ``fresh``: all that the guards wrote has been read just now; else a step may have ended unread, so
        nobody is called late.
        """
        now = time.monotonic()
        passed = now - self._last
        self._budget = min(DUMPS_PER_SECOND, self._budget + passed * DUMPS_PER_SECOND)
        self._late_budget = min(LATE_DUMPS_AT_ONCE, self._late_budget + passed * LATE_DUMPS_PER_SECOND)
        self._last = now
        for watched in list(self._watched.values()):
            watched.wait = process.read_wchan(watched.pid) or ""
            if watched.step < WARM_STEPS:
                continue
            if watched.read_at and now >= watched.read_at and self._budget >= 1:
                yield from self._read_short(watched, now)
            if watched.wait in TIMER_WAITS:
                yield from self._asleep(watched, now)
            elif watched.asleep_since:
                yield from self._awake(watched, now)
            elif fresh and min(self._budget, self._late_budget) >= 1 and self._is_late(watched, now):
                watched.late_dumps += 1
                self._late_budget -= 1
                frames = self._read(watched.pid)
                if frames and _sleeps(frames[0]) and process.read_wchan(watched.pid) in TIMER_WAITS:
                    # It has fallen asleep since: what is seen of this sleep counts from here.
                    watched.asleep_since = watched.asleep_until = time.monotonic()
                    watched.ran, watched.frames = process.cpu_time(watched.pid), frames
                elif frames:
                    yield _sample(watched, now, now - watched.stepped_at, frames, asleep=False)

    def _asleep(self, watched: _Watched, now: float) -> Iterator[StackSampled]:
        """The main thread sleeps on a timer: read where, at first sight or a while after."""
        ran = process.cpu_time(watched.pid)
        if watched.asleep_since and ran != watched.ran:
            yield from self._awake(watched, now)  # it woke unseen and sleeps again, perhaps elsewhere
        if not watched.asleep_since:
            watched.asleep_since, watched.ran, watched.frames = now, ran, []
        watched.asleep_until = now
        due = now - watched.asleep_since >= MIN_SLEEP or watched.short < SHORT_SLEEPS
        if not due and not watched.read_at:
            due = _CHANCE.random() < 0.5
            watched.read_at = 0.0 if due else now + _CHANCE.uniform(0.0, A_WHILE)
        if not watched.frames and due and self._budget >= 1:
            frames = self._read(watched.pid)
            # It may have woken before the stack was read: then only a line that itself sleeps is certain.
            stayed = (
                process.read_wchan(watched.pid) in TIMER_WAITS
                and process.cpu_time(watched.pid) == watched.ran
            )
            if stayed or (frames and _sleeps(frames[0])):
                watched.frames = frames

    def _read_short(self, watched: _Watched, now: float) -> Iterator[StackSampled]:
        """A stack read at any time where sleeps come again and again: a line that sleeps is certain."""
        watched.read_at = 0.0
        frames = self._read(watched.pid)
        if frames and _sleeps(frames[0]):
            yield _sample(watched, now, 0.0, frames, asleep=True)
            watched.unread = 0.0

    def _awake(self, watched: _Watched, now: float) -> Iterator[StackSampled]:
        span = min(now, watched.asleep_until + MAX_UNSEEN) - watched.asleep_since
        watched.asleep_since = 0.0
        if watched.frames:
            yield _sample(watched, now, span, watched.frames, asleep=True)
            watched.unread = 0.0
        else:
            watched.short += 1
            watched.unread += span

    def _is_late(self, watched: _Watched, now: float) -> bool:
        if watched.rests or len(watched.durations) < WARM_STEPS:
            return False
        usual = sorted(watched.durations)[len(watched.durations) // 2]
        allowance = max(LATE_FACTOR * usual, usual + LATE_FLOOR) * (1 + watched.late_dumps)
        return now - watched.stepped_at > allowance

    def _read(self, pid: int) -> list[StackFrame]:
        self._budget -= 1
        return self.read(pid)

    def read(self, pid: int) -> list[StackFrame]:
        """The main thread's stack now, innermost frame first; empty when it cannot be read."""
        command = [self._program, "dump", "--pid", str(pid), "--json", "--nonblocking"]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=5, check=False, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self.failure = self.failure or f"py-spy could not be run: {error}"
            return []
        if done.returncode != 0 or len(done.stdout) > MAX_OUTPUT:
            text = done.stderr.decode("utf-8", "replace").strip().splitlines()
            self.failure = self.failure or f"py-spy: {text[0] if text else done.returncode}"
            return []
        return read_frames(done.stdout, pid)


def _sleeps(frame: StackFrame) -> bool:
    """Whether the line itself calls a sleep."""
    return _SLEEP_CALL.search(frame.source.split("#", 1)[0]) is not None


def _sample(
    watched: _Watched, now: float, span: float, frames: list[StackFrame], *, asleep: bool
) -> StackSampled:
    return StackSampled(
        origin=Origin("py-spy", Trust.SERVICE, watched.pid, watched.rank, -1, time.time_ns()),
        after_step=watched.step,
        late=int((now - watched.stepped_at) * 1e9),
        asleep=asleep,
        span=int(span * 1e9),
        frames=frames,
        unread=int(watched.unread * 1e9) if asleep else 0,
    )


def read_frames(data: bytes, pid: int) -> list[StackFrame]:
    """The main thread's frames, innermost first, from py-spy's JSON; empty when it does not have them."""
    try:
        threads = json.loads(data)
    except (ValueError, RecursionError):
        return []
    if not isinstance(threads, list):
        return []
    for thread in threads:
        if isinstance(thread, dict) and thread.get("os_thread_id") == pid:
            frames = thread.get("frames")
            frames = frames[:MAX_FRAMES] if isinstance(frames, list) else []
            return [_frame(frame) for frame in frames if isinstance(frame, dict)]
    return []


def _frame(frame: dict[str, object]) -> StackFrame:
    path, line, name = frame.get("filename"), frame.get("line"), frame.get("name")
    path = path if isinstance(path, str) else ""
    line = line if type(line) is int and 0 <= line < 2**31 else 0
    lines = _source_lines(path) if os.path.isabs(path) else ()
    text = lines[line - 1].strip()[:300] if 1 <= line <= len(lines) else ""
    return StackFrame(path, line, name if isinstance(name, str) else "", text)


@functools.lru_cache(maxsize=64)
def _source_lines(path: str) -> tuple[str, ...]:
    """Lines of a source file as it stood when first asked for; none when it is not a readable file.

    The name comes from the job and may lead to a pipe or a device, so ``linecache`` is no way to read it.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return ()
            return tuple(file.read(MAX_SOURCE).decode("utf-8", "replace").split("\n"))
    except (OSError, ValueError):
        return ()


def find_py_spy() -> str | None:
    """py-spy's program: beside our own interpreter or on PATH."""
    beside = Path(sys.executable).parent / "py-spy"
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("py-spy")
