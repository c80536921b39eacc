"""What reading one file may cost. Every reader spends from the same budget, whatever is nested in what."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ...core.errors import ResourceLimitError

MAX_DEPTH = 8
"""Containers in containers."""
MAX_UNPACKED = 8 << 30
"""Bytes that may come out of compressed data, all in all."""
MAX_HELD = 256 << 20
"""Bytes of one unpacked thing that are held in memory."""
MAX_MEMBERS = 200_000
MAX_SECONDS = 120.0


@dataclass(slots=True)
class Budget:
    """Bounds of one file's reading; each ``spend_…`` raises ResourceLimitError when nothing is left."""

    unpacked: int = MAX_UNPACKED
    members: int = MAX_MEMBERS
    seconds: float = MAX_SECONDS
    held: int = MAX_HELD
    depth: int = MAX_DEPTH
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.seconds

    def spend_unpacked(self, size: int, where: str) -> None:
        """So many bytes came out of compressed data."""
        self.unpacked -= size
        if self.unpacked < 0:
            raise ResourceLimitError(
                "unpacks to more than is read of one file",
                where=where,
                remedy="allow more with --max-unpacked, if it is trusted to end",
            )
        self.check_time(where)

    def spend_members(self, number: int, where: str) -> None:
        """So many more members of archives."""
        self.members -= number
        if self.members < 0:
            raise ResourceLimitError("holds more members than are read of one file", where=where)

    def enter(self, depth: int, where: str) -> None:
        """Something nested so deep is read."""
        if depth > self.depth:
            raise ResourceLimitError(f"lies in more than {self.depth} containers", where=where)
        self.check_time(where)

    def check_time(self, where: str) -> None:
        """Raise ResourceLimitError when the time is used up."""
        if time.monotonic() > self._until:
            raise ResourceLimitError(
                f"took longer than the {self.seconds:g} s that one file is given",
                where=where,
                remedy="allow more with --max-seconds",
            )
