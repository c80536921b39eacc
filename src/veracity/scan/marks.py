"""Whose a file is and when it was last changed, by the file system's word."""

from __future__ import annotations

import os
import pwd


def mark(place: str) -> tuple[int, str, int]:
    """Owner (number and name) and ctime in ns of what lies at a place; -1, empty and 0 when nothing does."""
    try:
        status = os.lstat(place)
    except (OSError, ValueError):
        return -1, "", 0
    try:
        user = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        user = ""
    return status.st_uid, user, status.st_ctime_ns
