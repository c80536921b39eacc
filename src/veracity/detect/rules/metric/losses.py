"""The losses that were really computed, step by step, with their sums: what reports are compared with."""

from __future__ import annotations

import math
from array import array

KEEP = 8192


class Losses:
    """One number per optimizer step: a loss, or what a program makes of several.

    The newest ``KEEP`` to ``2 * KEEP`` are kept. ``start`` is the first step kept, ``end`` the one after the
    last. Steps that were not seen, or had no loss, are NaN. ``parts`` counts the backward passes of a step,
    0 for one that was not seen. ``rested``: the guard let some pass. ``ended``: no more will come.
    """

    def __init__(self, name: str, rank: int) -> None:
        self.name = name
        self.rank = rank
        self.start = 0
        self.rested = self.ended = False
        self._values = array("d")
        self._parts = array("l")
        self._sums = array("d", [0.0])
        self._holes = array("l", [0])

    @property
    def end(self) -> int:
        """The step after the newest one."""
        return self.start + len(self._values)

    def put(self, step: int, value: float, parts: int = 1) -> None:
        """The loss of ``step``; steps come in order, those left out are holes."""
        if step < self.end:
            return
        self._reach(step)
        self._append(value, min(parts, 1 << 20))

    def passed(self, until: int) -> None:
        """The guard let the steps before ``until`` pass."""
        self.rested = True
        if until > self.end:
            self._reach(until)

    def _reach(self, step: int) -> None:
        """Holes up to a step."""
        if not self._values or step - self.end > KEEP:
            self.start = step
            self._values, self._parts = array("d"), array("l")
            self._sums, self._holes = array("d", [0.0]), array("l", [0])
        while self.end < step:
            self._append(math.nan, 0)

    def _append(self, value: float, parts: int) -> None:
        if len(self._values) >= 2 * KEEP:
            self.start += KEEP
            for kept in (self._values, self._parts, self._sums, self._holes):
                del kept[:KEEP]
        known = math.isfinite(value)
        self._parts.append(parts)
        self._values.append(value)
        self._sums.append(self._sums[-1] + (value if known else 0.0))
        self._holes.append(self._holes[-1] + (not known))

    def value(self, step: int) -> float:
        """The loss of ``step``, NaN when it is not kept."""
        place = step - self.start
        return self._values[place] if 0 <= place < len(self._values) else math.nan

    def values(self, first: int) -> list[float]:
        """The losses of all steps from ``first`` on, which must not be one before ``start``."""
        return self._values[first - self.start :].tolist()

    def parts(self, step: int) -> int:
        """How many backward passes the step had, 0 when it is not kept."""
        place = step - self.start
        return self._parts[place] if 0 <= place < len(self._parts) else 0

    def known(self, newest: int) -> int:
        """How many of the newest steps were seen."""
        return sum(parts > 0 for parts in self._parts[-newest:])

    def mean(self, begin: int, end: int) -> float:
        """The mean over steps ``begin`` to ``end - 1``, NaN when one of them is not known."""
        first, last = begin - self.start, end - self.start
        if not 0 <= first < last <= len(self._values) or self._holes[last] > self._holes[first]:
            return math.nan
        return (self._sums[last] - self._sums[first]) / (last - first)
