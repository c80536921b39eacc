"""Which kind of file system an open folder lies on: what its times and measurements are worth."""

from __future__ import annotations

import os
import re

MAX_TABLE = 16 << 20
_MAX_VALUE = 4096
_MOUNT = re.compile(rb"^mnt_id:\s*(\d+)$", re.MULTILINE)
KEEPS_CHANGE_TIMES = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"})
"""File systems whose kernel sets a new ctime at every change, and lets nobody choose it.

tmpfs is none of them: what is written to it through a mapping changes no time at all. overlayfs may lie on a
tmpfs, and a container cannot tell. Those over a network and in user space (FUSE) are none either: their times
are another machine's or program's word.
"""
MEASURES = frozenset({"ext4", "f2fs", "btrfs"})
"""File systems whose kernel checks what it reads against a measurement (fs-verity)."""


class FileSystems:
    """Kinds of file systems by device number, each looked up once."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}

    def kind(self, handle: int, device: int) -> str:
        """The kind of the file system that the open ``handle`` lies on; empty when it cannot be told."""
        known = self._kinds.get(device)
        if known is None:
            known = self._kinds[device] = _kind(handle)
        return known


def _kind(handle: int) -> str:
    found = _MOUNT.search(_read(f"/proc/self/fdinfo/{handle}"))
    if found is None:
        return ""
    for line in _read("/proc/self/mountinfo", MAX_TABLE).splitlines():
        fields, _, described = line.partition(b" - ")
        if fields.partition(b" ")[0] == found[1]:
            return described.partition(b" ")[0].decode("ascii", "replace")
    return ""


def _read(path: str, limit: int = _MAX_VALUE) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(limit)
    except OSError:
        return b""  # the kind is unknown then, and nothing is taken on trust


def write_back_seconds() -> float | None:
    """After how long the kernel has written what is dirty, going by its settings; None when it never does.

    Until a page is written, who has mapped it can write it again, and no time changes with that.
    """
    waits = []
    for name in ("dirty_expire_centisecs", "dirty_writeback_centisecs"):
        text = _read(os.path.join("/proc/sys/vm", name)).strip()
        if not text.isdigit():
            return None
        waits.append(int(text) / 100)
    return sum(waits) if waits[1] else None
