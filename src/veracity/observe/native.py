"""Native libraries mapped into a process, with their digests."""

from __future__ import annotations

import os
from dataclasses import dataclass

from . import process
from .torchzip import digest_file

MAX_LIBRARIES = 2_000
DEFAULT_BUDGET = 8 << 30


@dataclass(frozen=True, slots=True)
class NativeLibrary:
    """A mapped shared library. ``sha256`` is empty when it was not read, and ``reason`` says why."""

    path: str
    sha256: str
    size: int
    reason: str = ""


class NativeLibraries:
    """Digests libraries, each file once: by device, inode, size and times.

    ``budget`` bounds the bytes read over the life of the object.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        self._budget = budget
        self._known: dict[tuple[int, int, int, int, int], NativeLibrary] = {}

    def mapped(self, pid: int) -> list[NativeLibrary] | None:
        """Libraries of process ``pid`` in the order of their addresses; None when it is gone or not ours."""
        paths = process.shared_objects(pid)
        if paths is None:
            return None
        return [self.read(path) for path in paths[:MAX_LIBRARIES]]

    def read(self, path: str) -> NativeLibrary:
        """One library file."""
        if path.endswith(" (deleted)"):
            return NativeLibrary(path, "", 0, "it is mapped but gone from disk")
        try:
            status = os.stat(path)
        except OSError as error:
            return NativeLibrary(path, "", 0, f"cannot be read: {error.strerror}")
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._known.get(key)
        if known is None:
            known = self._digest(path, status.st_size)
            if known.sha256:
                self._known[key] = known
        return NativeLibrary(path, known.sha256, known.size, known.reason)

    def _digest(self, path: str, size: int) -> NativeLibrary:
        if size > self._budget:
            return NativeLibrary(path, "", size, "not read: the budget for libraries is used up")
        self._budget -= size
        found = digest_file(path, size)
        if isinstance(found, str):
            return NativeLibrary(path, "", size, found)
        if found.changed:
            return NativeLibrary(path, "", size, "it changed while it was read")
        return NativeLibrary(path, found.sha256, found.size)
