"""How closely the coming step is looked at: what the budget allows, and what weak signals ask for.

Decided once per step and optimizer, when the step before has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .alert import Alert, Asked
from .schedule import CLOSE, DEEP, NORM, Schedule

if TYPE_CHECKING:
    from .tracked import Tracked


class Attention:
    """The schedules of all looks but gradient truth's, which has one for each optimizer."""

    def __init__(self, key: bytes, overhead: float, looks: Schedule, asked: str = "") -> None:
        self._looks = looks
        self._closely = Schedule(key, overhead, CLOSE)
        self.norms = Schedule(key, overhead, NORM)
        self.deeply = Schedule(key, overhead, DEEP)
        self._alert = Alert()
        self._asked = Asked(asked)

    def stepped(self, tracked: Tracked, seconds: float, signals: Mapping[str, object]) -> bool:
        """A step took ``seconds`` and ended with these losses and norms; True when they raise an alarm.

        So does the monitor, which knows what earlier runs were like.
        """
        alarm = self._alert.raised(tracked.index, tracked.steps - 1, signals)
        alarm = self._asked.raised() or alarm
        if tracked.close:
            self._closely.looked(tracked.looked / 1e9)
        self.passed(seconds)
        if alarm:
            self.renew(alarm=True)
        tracked.looked = 0
        self.next(tracked)
        return alarm

    def passed(self, seconds: float) -> None:
        """Steps of so many seconds were made."""
        for schedule in (self._closely, self.norms, self.deeply):
            schedule.stepped(seconds)

    def next(self, tracked: Tracked) -> None:
        """How the coming step is looked at."""
        tracked.close = self._closely.draws(tracked.index, tracked.steps)
        tracked.trail.look_closely(close=tracked.close)

    def renew(self, *, alarm: bool = False) -> None:
        """Something changed: look closely again for a while."""
        for schedule in (self._looks, self._closely, self.norms, self.deeply):
            schedule.renew(alarm=alarm)
