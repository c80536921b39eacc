"""When to check: a keyed draw per step, with a probability that the measured cost allows.

Each step is drawn independently with the same threshold on a keyed hash, so the odds of missing something are
plain to state, and ranks whose thresholds differ still meet on the steps of the lower one. A credit at the
start pays for more frequent checks of the first steps, and again after a restored state.
"""

from __future__ import annotations

import hashlib
import struct

CREDIT_SECONDS = 0.4
EAGER = 0.5
LEAST = 1 / 4096
_SMOOTH = 0.3


class Schedule:
    """The share of time that checks may take is ``budget``. Times in seconds."""

    def __init__(self, key: bytes, budget: float) -> None:
        self._key = key
        self._budget = budget
        self._credit = CREDIT_SECONDS
        self._spent = 0.0
        self._trained = 0.0
        self._step = 0.0
        self._cost = 0.0

    def stepped(self, seconds: float) -> None:
        """A step without a check took so long."""
        self._trained += seconds
        self._step = seconds if not self._step else self._step + _SMOOTH * (seconds - self._step)

    def checked(self, seconds: float) -> None:
        """A check took so long."""
        self._spent += seconds
        self._cost = seconds if not self._cost else self._cost + _SMOOTH * (seconds - self._cost)

    def renew(self) -> None:
        """Something changed (a restored state): look closely again for a while."""
        self._credit = self._spent - self._budget * self._trained + CREDIT_SECONDS

    @property
    def probability(self) -> float:
        """The probability with which the next step is checked."""
        if self._budget <= 0:
            return 0.0
        allowance = self._credit + self._budget * self._trained
        if self._spent + self._cost <= allowance and self._spent < self._credit:
            return EAGER
        if not self._cost or not self._step:
            return EAGER
        share = self._budget * self._step / self._cost
        # What was overspent is saved again.
        if self._spent > allowance:
            share /= 2
        return max(LEAST, min(EAGER, share))

    def draws(self, optimizer: int, step: int) -> bool:
        """Whether ``step`` of ``optimizer`` is to be checked."""
        data = hashlib.sha256(self._key + b"truth" + struct.pack("<QQ", optimizer, step)).digest()
        return int.from_bytes(data[:8], "little") < self.probability * 2.0**64
