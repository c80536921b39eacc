"""Looking at the ways out of the job's processes from outside: new sockets, sealed files open for writing.

One process per look and a look every few seconds: tables of a busy machine's sockets are long.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from ..core.observation import ChannelUsed, FileWritten, SocketsSeen
from ..core.origin import monitor_origin
from ..observe.descriptors import may_write, read_descriptors, read_sockets
from .code import Code
from .processes import Known, Processes

LOOK_EVERY = 3.0
MAX_INODES = 20_000
MAX_LISTED = 32
MAX_WRITTEN = 200
_CACHE = os.sep + "__pycache__" + os.sep


class ChannelLooks:
    """Looks at the guarded processes and their workers, one after the other."""

    def __init__(self, processes: Processes, folders: Callable[[], list[str]], code: Code) -> None:
        self._processes = processes
        self._folders = folders
        self._code = code
        self._known: set[int] = set()
        self._written: set[tuple[int, str]] = set()
        self._next_look = 0.0
        self._turn = 0

    def look(self) -> Iterator[SocketsSeen | FileWritten]:
        """One process, when it is time."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY
        watched = [
            known
            for known in self._processes.known.values()
            if known.greeted or self._processes.is_worker(known)
        ]
        if not watched:
            return
        self._turn += 1
        yield from self._at(watched[self._turn % len(watched)])

    def _at(self, known: Known) -> Iterator[SocketsSeen | FileWritten]:
        origin = monitor_origin(time.time_ns(), pid=known.pid, rank=known.rank, source="/proc")
        role = "rank" if known.step >= 0 else known.role
        held = read_descriptors(known.pid, self._folders())
        if held is None:
            yield SocketsSeen(origin, role, known.step, False, [])
            return
        new = [inode for inode in held.sockets if inode not in self._known]
        listed: list[list[str]] = []
        if new and len(self._known) < MAX_INODES:
            self._known.update(new)
            for one in read_sockets(known.pid, new).values():
                if [one.kind, one.local, one.remote] not in listed and len(listed) < MAX_LISTED:
                    listed.append([one.kind, one.local, one.remote])
        yield SocketsSeen(origin, role, known.step, True, listed)
        for descriptor, path in held.files:
            key = (known.pid, path)
            if key in self._written or _CACHE in path or len(self._written) >= MAX_WRITTEN:
                continue
            if may_write(known.pid, descriptor):
                self._written.add(key)
                what, owner = self._code.belongs(path)
                yield FileWritten(origin, path, owner, what, "descriptor", known.step, [])


def written(channel: ChannelUsed, code: Code) -> FileWritten:
    """What a guard's word that a file was opened for writing means, by whose file that is."""
    what, owner = code.belongs(channel.target)
    return FileWritten(channel.origin, channel.target, owner, what, "audit", channel.step, channel.frames)
