"""How much one account may have recorded: bytes of a run and of a day, records a second, and a full disk.

Beyond it nothing is thrown away unsaid. Too many records a second wait in the spool, which lies among the
job's own files; bytes beyond what is allowed are refused, which makes the run incomplete and says why. Room
is kept for the entries that close a record.
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import ResourceLimitError
from ..core.quantity import quantity
from .accounts import recorded

CLOSING_BYTES = 8 << 20
"""Kept for the findings and the verdict of a run that has used up what it may."""
DISK_EVERY = 1.0
DAY = 86_400
MAX_USAGE = 4096


@dataclass(frozen=True, slots=True)
class Quota:
    """What one account may do, all of its runs together but for ``run_bytes``.

    ``records_per_second`` of one run. ``reserve_bytes`` stay free on the disk, whoever fills it.
    """

    runs_at_once: int = 16
    connections: int = 32
    requests_per_minute: int = 60
    runs_per_day: int = 2000
    run_bytes: int = 16 << 30
    day_bytes: int = 64 << 30
    records_per_second: int = 20_000
    reserve_bytes: int = 1 << 30


TODAY = "today"
"""The file of an account's home that counts."""


class Day:
    """What an account had recorded today, counted in a file that all of its runs share."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @recorded
    def add(self, count: int, *, runs: int = 0) -> tuple[int, int]:
        """Count so many bytes and runs more; those of today so far. Raises OSError when it cannot be kept."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            today = int(time.time()) // DAY
            words = os.pread(handle, MAX_USAGE, 0).split()
            if len(words) == 3 and all(word.isdigit() for word in words) and int(words[0]) == today:
                count, runs = count + int(words[1]), runs + int(words[2])
            data = f"{today} {count} {runs}\n".encode()
            os.pwrite(handle, data, 0)
            os.ftruncate(handle, len(data))
            return count, runs
        finally:
            os.close(handle)


@dataclass(slots=True)
class Allowance:
    """What one run may still have recorded; without a quota, everything."""

    quota: Quota | None = None
    day: Day | None = None
    disk: Path | None = None
    taken: int = 0
    refusal: str = ""
    """Why nothing more is recorded, empty while it is."""
    _closing: int = CLOSING_BYTES
    _uncounted: int = 0
    _next_look: float = 0.0
    _records: float = 0.0
    _counted_at: float = 0.0

    @property
    def pace(self) -> str:
        """The limit on records, in words."""
        return (
            f"the account may have {quantity(self.quota.records_per_second if self.quota else 0, 'record')} "
            "a second"
        )

    def record(self) -> bool:
        """Count one record of a guard; False when it is the last one for now."""
        if self.quota is None:
            return True
        now, rate = time.monotonic(), self.quota.records_per_second
        self._records = max(0.0, self._records - (now - self._counted_at) * rate) + 1
        self._counted_at = now
        return self._records < rate

    def take(self, count: int, *, closing: bool = False) -> None:
        """Count bytes that are about to be recorded. Raises ResourceLimitError when they may not be.

        ``closing``: they belong to the end of the record, for which room is kept.
        """
        if self.quota is None:
            return
        self._look(self.quota)
        if self.refusal:
            self._closing -= count if closing else 0
            if not closing or self._closing < 0:
                raise ResourceLimitError(self.refusal, remedy="ask who runs the service for more")
            return
        self.taken += count
        self._uncounted += count

    def _look(self, quota: Quota) -> None:
        """Once in a while: what the account's other runs took, and what the disk has left."""
        now = time.monotonic()
        if self.refusal or (now < self._next_look and self.taken <= quota.run_bytes):
            return
        self._next_look = now + DISK_EVERY
        if self.taken > quota.run_bytes:
            self.refusal = (
                f"the run has used up the {quantity(quota.run_bytes, 'byte')} that one may have recorded"
            )
        elif self.day is not None and self._today(self.day) > quota.day_bytes:
            self.refusal = f"the account has used up its {quantity(quota.day_bytes, 'byte')} of today"
        elif self.disk is not None and _free(self.disk) < quota.reserve_bytes:
            self.refusal = f"the service's disk has less than {quantity(quota.reserve_bytes, 'byte')} left"

    def _today(self, day: Day) -> int:
        count, self._uncounted = self._uncounted, 0
        try:
            return day.add(count)[0]
        except OSError as error:
            self.refusal = f"what the account had recorded today cannot be counted: {error.strerror}"
            return 0


@recorded
def _free(path: Path) -> int:
    """Bytes that an ordinary account could still write there."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
