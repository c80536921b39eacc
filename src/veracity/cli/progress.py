"""How far a long reading has come."""

from __future__ import annotations

import sys
import time

from .output import say

_TOLD_EVERY = 0.2


class Told:
    """How far reading has come: on a terminal only."""

    def __init__(self, *, quiet: bool) -> None:
        self.files = self.size = 0
        self._shows = not quiet and sys.stderr.isatty()
        self._next = 0.0
        self._shown = False
        self._before = (0, 0)

    def __call__(self, files: int, size: int) -> None:
        """So much of the part that is read now."""
        if files < self._before[0]:
            self._before = (0, 0)
        self.files += files - self._before[0]
        self.size += size - self._before[1]
        self._before = (files, size)
        now = time.monotonic()
        if self._shows and now >= self._next:
            self._next, self._shown = now + _TOLD_EVERY, True
            sys.stderr.write(f"\r{self.files:,} files, {self.size >> 20:,} MiB ")
            sys.stderr.flush()

    def note(self, what: str, number: int) -> None:
        """So much of something else is done."""
        now = time.monotonic()
        if self._shows and now >= self._next:
            self._next, self._shown = now + _TOLD_EVERY, True
            sys.stderr.write(f"\r{number:,} {what} ")
            sys.stderr.flush()

    def done(self) -> None:
        """Nothing more comes."""
        if self._shown:
            say("")
