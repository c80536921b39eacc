"""What could not be seen."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class Gap(Observation):
    """Something that could not be observed. Never a silent continue.

    ``law`` is the law that lost sight by it, empty when none did. ``stops`` is true when a law that could
    check until now no longer can: that makes the run ``incomplete``.
    """

    what: str
    reason: str
    remedy: str = ""
    law: str = ""
    stops: bool = False
