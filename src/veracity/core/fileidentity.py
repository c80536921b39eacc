"""What tells one state of a file from another: the same words on both sides of the trust line."""

from __future__ import annotations

from operator import attrgetter

SECONDS_PER_GB = 10.0
MAX_MORE = 600.0
_fields = attrgetter("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")


def identity_of(status: object) -> str:
    """Device, inode, size, and the times of content and state in nanoseconds, with colons between.

    ``status`` is an ``os.stat_result``. The last number is the kernel's own: whoever writes a file in place,
    and sets its other times back, moves it.
    """
    return ":".join(map(str, _fields(status)))


def seconds_more(identity: str) -> float:
    """How much longer than a small file one of this size may take to be read; 0 for what is no identity."""
    size = identity.split(":")[2:3]
    if not size or not (size[0].isascii() and size[0].isdecimal()) or len(size[0]) > 19:
        return 0.0
    return min(MAX_MORE, SECONDS_PER_GB * int(size[0]) / 1e9)
