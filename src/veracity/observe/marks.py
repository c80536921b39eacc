"""Whose a file is and when it was last changed, by the file system's word."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """What the file system says of a file: its owner, and when it was last changed in any way.

    ``changed_at`` (ctime) in ns since the epoch. Its owner cannot set it to another time, who owns the
    machine can.
    """

    uid: int
    user: str
    changed_at: int

    @property
    def fields(self) -> tuple[int, str, int]:
        """All three, as observations of single files have them at their end."""
        return self.uid, self.user, self.changed_at


NOBODY = Mark(-1, "", 0)
"""Of a place where nothing is."""


def mark_of(place: str | bytes) -> Mark:
    """The mark of what lies at a place, links not followed; :data:`NOBODY` when nothing does."""
    try:
        status = os.lstat(place)
    except (OSError, ValueError):
        return NOBODY
    try:
        user = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        user = ""
    return Mark(status.st_uid, user, status.st_ctime_ns)
