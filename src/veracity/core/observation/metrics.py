"""What the program reported of itself: numbers it wrote into files of metrics."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class LoggedValue:
    """One number a program logged.

    A number printed with few digits stands for an interval: ``2.3457`` for 2.34565 to 2.34575. ``low`` and
    ``high`` are its ends, both NaN for a NaN. ``step`` is the step the program wrote beside it, if any.
    """

    key: str
    step: int | None
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class MetricsLogged(Observation):
    """Numbers appended to one file of metrics since it was last read, in the file's order.

    ``held``: the process in ``origin`` (0 when none is known) had the file open for writing; otherwise the
    file only lies where the job writes and changed while it ran.
    """

    path: str
    held: bool
    values: list[LoggedValue]


@dataclass(frozen=True, slots=True)
class MetricsOpened(Observation):
    """A process opened a file with a name that files of metrics have, to write to it, or moved one there.

    ``path``: absolute, without links.
    """

    path: str
