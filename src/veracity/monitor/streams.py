"""What the monitor knows of each guard: whose it is, which record comes next, what it has said."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ..core.observation import Hello

SILENCE_FLOOR = 30.0
SILENCE_FACTOR = 20.0


@dataclass(slots=True)
class Source:
    """One guard's stream of records.

    ``recorded_below``: records with smaller numbers are in the ledger already (after ``attach``).
    """

    name: str
    pid: int
    verified: bool = False
    rank: int = -1
    role: str = ""
    next_seq: int = 0
    recorded_below: int = 0
    records: int = 0
    steps: int = 0
    last_step: int = -1
    last_heard: float = field(default_factory=time.monotonic)
    last_interval: float = 0.0
    dropped: int = 0
    said_goodbye: bool = False
    silent: bool = False
    hello: Hello | None = None

    def greeted(self, hello: Hello) -> None:
        """Take role and rank from the hello."""
        self.hello, self.role = hello, hello.role
        number = hello.ids.get("RANK", "0")
        # Not isdigit: superscripts are digits that int() refuses.
        decimal = number.isascii() and number.isdecimal() and len(number) <= 6
        self.rank = int(number) if hello.role == "rank" and decimal else -1

    def heard(self, *, step: bool) -> None:
        """A record arrived."""
        now = time.monotonic()
        if step:
            self.last_interval = max(now - self.last_heard, 0.9 * self.last_interval)
        self.last_heard = now
        self.records += 1
        self.silent = False

    def falls_silent(self) -> bool:
        """True once, when a rank that trains has not been heard of for much longer than usual."""
        if self.role != "rank" or self.last_step < 0 or self.said_goodbye or self.silent:
            return False
        limit = max(SILENCE_FLOOR, SILENCE_FACTOR * self.last_interval)
        self.silent = time.monotonic() - self.last_heard > limit
        return self.silent
