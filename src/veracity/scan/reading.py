"""Small files of an environment, read whole; whose they are and when they were last changed."""

from __future__ import annotations

import os
import pwd


def read_file(path: str, limit: int) -> bytes | None:
    """The bytes of a file of at most ``limit``; None when it is larger, cannot be read or is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with open(handle, "rb") as file:
        try:
            data = file.read(limit + 1)
        except OSError:
            return None
    return data if len(data) <= limit else None


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
