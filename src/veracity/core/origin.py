"""Origin: who says so, when, and how far that can be trusted.

Every observation carries one. A field that names a person, a process or a time is only as good as
its source, so nothing in Veracity accuses anybody on a ``SELF_REPORT`` alone.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Trust(str, enum.Enum):
    """How hard a source is to forge for an insider, strongest first."""

    KERNEL = "kernel"
    SCHEDULER = "scheduler"
    SERVICE = "service"
    USERLAND = "userland"
    SELF_REPORT = "self-report"


@dataclass(frozen=True, slots=True)
class Origin:
    """Source of an observation.

    ``source``: what produced it (``guard``, ``monitor``, ``/proc``, ``py-spy``).
    ``pid``: the process it speaks of, as the kernel names it; ``rank``: global rank, -1 when none.
    ``seq``: the source's own running number, -1 when it has none.
    ``at``: nanoseconds since the epoch, read by the source.
    """

    source: str
    trust: Trust
    pid: int
    rank: int
    seq: int
    at: int


def monitor_origin(at: int, *, pid: int = 0, rank: int = -1, source: str = "monitor") -> Origin:
    """An origin for what the monitor saw by itself, outside the training process."""
    trust = Trust.KERNEL if source == "/proc" else Trust.SERVICE
    return Origin(source, trust, pid, rank, -1, at)
