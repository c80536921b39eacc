"""Weak signals: when loss or gradient norm leaves its way, the steps after it are looked at more closely.

Nothing is reported from here; the monitor sees the same numbers and runs the same test.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..core.shift import Shift, measure

QUIET = 500
MAX_SERIES = 64


class Alert:
    """The series of all optimizers of this process."""

    def __init__(self) -> None:
        self._series: dict[tuple[int, str], Shift] = {}
        self._quiet: dict[int, int] = {}

    def raised(self, optimizer: int, step: int, values: Mapping[str, object]) -> bool:
        """Whether one of a step's ``values`` is the sign; not again for ``QUIET`` steps."""
        found = False
        for name, value in values.items():
            series = self._series.get((optimizer, name))
            if series is None:
                if len(self._series) >= MAX_SERIES:
                    continue
                series = self._series[optimizer, name] = Shift()
            found = (isinstance(value, float) and series.add(measure(value))) or found
        if not found or step < self._quiet.get(optimizer, 0):
            return False
        self._quiet[optimizer] = step + QUIET
        return True
