"""When to look closely: a keyed draw per step, with a probability that the measured cost allows.

Each step is drawn independently with the same threshold on a keyed hash, so the odds of missing something are
plain to state, and ranks whose thresholds differ still meet on the steps of the lower one. A credit at the
start pays for more frequent looks at the first steps, and again after a restored state.

The user's budget (``--overhead``) is what training may take longer by. Half of it is shared out among the
dear looks; the other half is for what is done at every step, looked at or not, and for the monitor.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

_SMOOTH = 0.3
_WORDS = 4
"""Draws that one digest gives."""
_DIGEST = struct.Struct(f"<{_WORDS}Q")


@dataclass(frozen=True, slots=True)
class Terms:
    """One kind of look. ``share`` of the budget, ``credit`` in seconds; probabilities: ``eager`` while the
    credit lasts, and never below ``least``; ``free`` where there is no budget at all. A draw leads to so many
    looks ``in_a_row``.
    """

    label: bytes
    share: float
    credit: float
    eager: float
    least: float
    free: float = 0.0
    in_a_row: int = 1


LOOK = Terms(b"look", 0.25, 1.5, 1.0, 1 / 128, 1 / 128, in_a_row=2)
"""Two steps that are looked at at all."""
TRUTH = Terms(b"truth", 0.15, 0.4, 0.5, 1 / 4096)
"""A gradient compared with the derivative."""
CLOSE = Terms(b"close", 0.06, 0.5, 1.0, 1 / 16)
"""A step of which all of the sample's tensors are read, not two of them."""
NORM = Terms(b"norm", 0.02, 0.1, 1 / 8, 1 / 1024)
"""A norm of all gradients beside the one that clipping returns."""
DEEP = Terms(b"deep", 0.02, 0.2, 1.0, 1 / 16)
"""A batch's tensors that the graph keeps far from the loss."""


class Schedule:
    """The share of time that looks of one kind may take. Times in seconds."""

    def __init__(self, key: bytes, overhead: float, terms: Terms) -> None:
        self._key = key + terms.label
        self._terms = terms
        self._budget = overhead * terms.share
        self._credit = self._eager = terms.credit
        self._renewed = 0.0
        self._spent = 0.0
        self._trained = 0.0
        self._step = 0.0
        self._cost = 0.0
        self._drawn_of = self._drawn_at = -1
        self._drawn: tuple[int, ...] = ()

    def stepped(self, seconds: float) -> None:
        """A step took so long, what the guard did apart from it not counted."""
        self._trained += seconds
        self._step = seconds if not self._step else self._step + _SMOOTH * (seconds - self._step)

    def looked(self, seconds: float) -> None:
        """A look took so long."""
        self._spent += seconds
        self._cost = seconds if not self._cost else self._cost + _SMOOTH * (seconds - self._cost)

    def renew(self, *, alarm: bool = False) -> None:
        """Something changed (a restored state): look closely again for a while.

        An ``alarm`` may be a false one, so it buys no more than half of what was earned since the last time.
        """
        amount = self._terms.credit
        if alarm:
            amount = min(amount, self._budget * (self._trained - self._renewed) / 2)
        self._renewed = self._trained
        self._eager = self._spent + amount
        self._credit = max(self._credit, self._spent - self._budget * self._trained) + amount

    @property
    def probability(self) -> float:
        """The probability with which the next step is looked at."""
        terms, spent, cost = self._terms, self._spent, self._cost
        if self._budget <= 0:
            return terms.free
        allowance = self._credit + self._budget * self._trained
        if spent < self._eager and spent + cost <= max(allowance, self._eager):
            return terms.eager
        if not cost or not self._step:
            return terms.eager
        share = self._budget * self._step / (cost * terms.in_a_row)
        # What was overspent is saved again.
        if spent > allowance:
            share /= 2
        return max(terms.least, min(terms.eager, share))

    def draws(self, of: int, step: int) -> bool:
        """Whether ``step`` of the optimizer or other thing numbered ``of`` is to be looked at."""
        at, word = divmod(step, _WORDS)
        if at != self._drawn_at or of != self._drawn_of:
            self._drawn_of, self._drawn_at = of, at
            self._drawn = _DIGEST.unpack(hashlib.sha256(self._key + struct.pack("<QQ", of, at)).digest())
        return self._drawn[word] < self.probability * 2.0**64
