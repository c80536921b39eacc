"""A series of a run as means over windows of its steps, so that runs can be compared step by step.

Windows follow the steps: eight steps each up to step 64, then about a quarter of the steps made so far, so
that a curve of any length is some eighty numbers. Each window has eight parts, and the first value known in
each part counts: every mean is of exactly eight values from the same places, whatever steps a run's budget
let pass, and so no run's means are more or less noisy than another's. A window with an empty part has none.
The largest and the smallest of the eight are left out, so that one wild step moves no window, however far it
leaps.
"""

from __future__ import annotations

from bisect import bisect_right
from math import isfinite

PARTS = 8
EQUAL = 8
"""Windows of ``PARTS`` steps before they begin to grow."""
GROWTH = 4
LAST_STEP = 1_000_000_000


def _borders() -> tuple[int, ...]:
    found = [PARTS * number for number in range(EQUAL + 1)]
    while found[-1] < LAST_STEP:
        found.append(found[-1] + PARTS * max(1, found[-1] // (PARTS * GROWTH)))
    return tuple(found)


BORDERS = _borders()
"""First steps of the windows, and where the last one ends."""
WINDOWS = len(BORDERS) - 1


def span(window: int) -> tuple[int, int]:
    """The first and the last step of a window."""
    return BORDERS[window], BORDERS[window + 1] - 1


class Windows:
    """One series of one run. A value costs a microsecond; nothing is kept but the window that goes on."""

    def __init__(self) -> None:
        self._window = -1
        self._values: list[float] = []
        self._before = -1

    def add(self, step: int, value: float) -> tuple[int, float] | None:
        """One more value, of a later step than all before; a window and its mean when that completes one.

        What is not finite is passed over, and so is a step that is not later.
        """
        if not isfinite(value) or not self._before < step < BORDERS[-1]:
            return None
        self._before = step
        window = bisect_right(BORDERS, step) - 1
        if window != self._window:
            self._window, self._values = window, []
        first = BORDERS[window]
        part = (step - first) * PARTS // (BORDERS[window + 1] - first)
        if part != len(self._values):
            return None
        self._values.append(value)
        if len(self._values) < PARTS:
            return None
        return window, sum(sorted(self._values)[1:-1]) / (PARTS - 2)
