"""What each account does at the moment, so that the flood of one does not disturb the others."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ...core.quantity import quantity
from ..allowance import Quota

MAX_ACCOUNTS = 10_000
MAX_CONNECTIONS = 512
MAX_RUNS = 1024
"""Of all accounts together: what one process can hold open."""
MINUTE = 60.0


@dataclass(slots=True)
class _Guest:
    """Counts of one account. ``asked``: requests, drained by what a minute allows."""

    connections: int = 0
    runs: int = 0
    asked: float = 0.0
    at: float = 0.0


class Guests:
    """Counts connections, runs and requests by account."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._guests: dict[int, _Guest] = {}

    def connects(self, uid: int) -> str:
        """Count a connection; why it is refused, empty when it is not (then :meth:`disconnects` follows)."""
        guest = self._guest(uid)
        if guest is None or sum(one.connections for one in self._guests.values()) >= MAX_CONNECTIONS:
            return "too many callers are here"
        if guest.connections >= self._quota.connections:
            return f"the account has {quantity(self._quota.connections, 'connection')} open already"
        guest.connections += 1
        return ""

    def disconnects(self, uid: int) -> None:
        """A connection ended."""
        self._guests[uid].connections -= 1
        self._forget(uid)

    def asks(self, uid: int) -> str:
        """Count a request; why it is refused, empty when it is not."""
        guest = self._guests[uid]
        now, rate = time.monotonic(), self._quota.requests_per_minute / MINUTE
        guest.asked = max(0.0, guest.asked - (now - guest.at) * rate)
        guest.at = now
        if guest.asked + 1 > self._quota.requests_per_minute:
            return (
                f"the account asked more than {quantity(self._quota.requests_per_minute, 'time')} within a "
                "minute"
            )
        guest.asked += 1
        return ""

    def begins(self, uid: int) -> str:
        """Count a run; why it is refused, empty when it is not (then :meth:`ends` follows)."""
        guest = self._guests.setdefault(uid, _Guest())
        if guest.runs >= self._quota.runs_at_once:
            return f"the account has {quantity(self._quota.runs_at_once, 'run')} going on already"
        if sum(one.runs for one in self._guests.values()) >= MAX_RUNS:
            return f"{MAX_RUNS} runs go on already"
        guest.runs += 1
        return ""

    def takes_up(self, uid: int) -> None:
        """A run is taken up again, whatever else the account does."""
        self._guests.setdefault(uid, _Guest()).runs += 1

    def ends(self, uid: int) -> None:
        """A run is not recorded any more."""
        self._guests[uid].runs -= 1
        self._forget(uid)

    def _guest(self, uid: int) -> _Guest | None:
        if uid not in self._guests and len(self._guests) >= MAX_ACCOUNTS:
            return None
        return self._guests.setdefault(uid, _Guest())

    def _forget(self, uid: int) -> None:
        guest = self._guests[uid]
        if not (guest.connections or guest.runs) and time.monotonic() - guest.at > MINUTE:
            del self._guests[uid]
