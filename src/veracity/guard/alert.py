"""Weak signals: when loss or gradient norm leaves its way, the steps after it are looked at more closely.

Nothing is reported from here; the monitor sees the same numbers and runs the same test. What it compares with
earlier runs only it can see: then it writes a file that is looked for now and then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from ..core.shift import Course, measure

QUIET = 500
MAX_SERIES = 64
LOOKED_FOR_EVERY = 1.0
"""Seconds."""


class Alert:
    """The series of all optimizers of this process."""

    def __init__(self) -> None:
        self._series: dict[tuple[int, str], Course] = {}
        self._quiet: dict[int, int] = {}

    def raised(self, optimizer: int, step: int, values: Mapping[str, object]) -> bool:
        """Whether one of a step's ``values`` is the sign; not again for ``QUIET`` steps."""
        found = False
        for name, value in values.items():
            series = self._series.get((optimizer, name))
            if series is None:
                if len(self._series) >= MAX_SERIES:
                    continue
                series = self._series[optimizer, name] = Course()
            if isinstance(value, float) and series.add(step, measure(value)) is not None:
                found = True
        if not found or step < self._quiet.get(optimizer, 0):
            return False
        self._quiet[optimizer] = step + QUIET
        return True


class Asked:
    """Whether the monitor asks for a closer look, by writing the file at ``path`` (none when empty)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._next = 0.0
        self._answered = 0

    def raised(self) -> bool:
        """Once each time the file is written, by whomever: closer looks cost no more than the budget."""
        now = time.monotonic()
        if not self._path or now < self._next:
            return False
        self._next = now + LOOKED_FOR_EVERY
        try:
            written = os.stat(self._path).st_mtime_ns
        except OSError:
            return False
        fresh = written != self._answered
        self._answered = written
        return fresh
