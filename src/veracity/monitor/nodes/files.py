"""The files of one job's folder: our own, which grows, and those of other monitors, which are followed.

Any account that may write to the folder can put anything there. So only regular files are opened, without
following links and without blocking; how much is read at a time, of a file and of how many, is bounded; and a
file that was cut, exchanged or written by others is told once and left alone.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import EvidenceError
from ...core.quantity import quantity
from .lines import Line, Splitter, encode, parse

SUFFIX = ".replicas"
MAX_PEERS = 64
MAX_NAMES = 4096
MAX_READ = 1 << 20
MAX_FILE = 256 << 20
MAX_BAD = 8
STALE = 300.0
"""Seconds before our own start: a file that was last written earlier is of another start of the job."""
_TAIL = 512
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class OwnFile:
    """Our own file; ``full`` once no more fits into it."""

    def __init__(self, folder: Path, name: str, key: bytes) -> None:
        self._key, self._name = key, name
        self._descriptor = os.open(folder / name, _NEW, 0o600)
        self._written = self._number = 0
        self.full = False

    def append(self, lines: list[Line]) -> None:
        """Write lines and make them durable, so that other nodes see them; raises OSError."""
        parts: list[bytes] = []
        for line in lines:
            numbered = Line(self._number, line.node, line.state, line.step)
            part = encode(numbered, self._key, self._name)
            if line.step is not None and self._written + len(part) > MAX_FILE - (1 << 20):
                self.full = True
                continue
            parts.append(part)
            self._written += len(part)
            self._number += 1
        data = memoryview(b"".join(parts))
        while data:
            data = data[os.write(self._descriptor, data) :]
        if parts:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._descriptor)


@dataclass(slots=True)
class Peer:
    """What has been read of one other monitor's file. ``refused`` says why it is not read any more."""

    name: str
    inode: tuple[int, int] = (0, 0)
    offset: int = 0
    splitter: Splitter = field(default_factory=Splitter)
    next_line: int = 0
    bad: int = 0
    refused: str = ""

    @property
    def run(self) -> str:
        """The run that a file of this name belongs to."""
        return run_of(self.name)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A file that is not what a monitor of this job wrote."""

    name: str
    reason: str


def file_name(node: str, run: str) -> str:
    """The name of a monitor's own file."""
    return f"{node}-{run}{SUFFIX}"


def run_of(name: str) -> str:
    """The run's id in such a name."""
    return "run-" + name.removesuffix(SUFFIX).rpartition("-run-")[2]


class PeerFiles:
    """All files of other monitors in the folder. ``started`` is when this run began, in seconds."""

    def __init__(self, folder: Path, own: str, key: bytes, started: float) -> None:
        self._folder, self._own, self._key, self._started = folder, own, key, started
        self._peers: dict[str, Peer] = {}
        self._earlier: dict[str, int] = {}
        self.unread = 0
        """Files beyond those that are followed."""

    def read(self) -> tuple[list[tuple[Peer, Line]], list[Trouble]]:
        """What is new, a bounded portion of each file, and what is wrong with files."""
        lines: list[tuple[Peer, Line]] = []
        troubles: list[Trouble] = []
        self._discover(troubles)
        for peer in self._peers.values():
            if peer.refused:
                continue
            try:
                lines += [(peer, line) for line in self._new_lines(peer, troubles)]
            except EvidenceError as error:
                peer.refused = error.diagnostics().what
            except OSError as error:
                peer.refused = f"it cannot be read: {error.strerror}"
            if peer.refused:
                troubles.append(Trouble(peer.name, peer.refused))
        return lines, troubles

    def _discover(self, troubles: list[Trouble]) -> None:
        with os.scandir(self._folder) as entries:
            names = [entry.name for _, entry in zip(range(MAX_NAMES), entries, strict=False)]
        news = sorted(set(names) - self._peers.keys() - {self._own})
        self.unread = 0
        for name in news:
            if not name.endswith(SUFFIX) or "-run-" not in name or len(name) > 200:
                continue
            if len(self._peers) >= MAX_PEERS:
                self.unread += 1
            elif not self._is_earlier(name):
                self._peers[name] = Peer(name)

    def _is_earlier(self, name: str) -> bool:
        """Whether a file is what an earlier start of the same job left: nobody has written to it since."""
        try:
            status = os.lstat(self._folder / name)
            if not stat.S_ISREG(status.st_mode):
                return False
            if self._earlier.get(name, -1) == status.st_size or status.st_mtime < self._started - STALE:
                return True
            if status.st_mtime < self._started and _ended(self._folder / name):
                self._earlier[name] = status.st_size
                return True
        except OSError:
            return False
        return False

    def _new_lines(self, peer: Peer, troubles: list[Trouble]) -> list[Line]:
        found: list[Line] = []
        for data in peer.splitter.feed(self._new_bytes(peer)):
            try:
                line = parse(data, self._key, peer.name)
            except EvidenceError as error:
                peer.bad += 1
                if peer.bad == 1:
                    troubles.append(Trouble(peer.name, error.diagnostics().what))
                elif peer.bad > MAX_BAD:
                    raise
                continue
            if line.n != peer.next_line:
                troubles.append(Trouble(peer.name, f"line {line.n} stands where {peer.next_line} should"))
                if line.n < peer.next_line:
                    continue  # said before
            peer.next_line = line.n + 1
            found.append(line)
        if peer.splitter.overlong:
            raise EvidenceError("a line has no end")
        return found

    def _new_bytes(self, peer: Peer) -> bytes:
        descriptor = os.open(self._folder / peer.name, _READ)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise EvidenceError("it is no regular file")
            inode = (status.st_dev, status.st_ino)
            if peer.inode not in ((0, 0), inode):
                raise EvidenceError("it was exchanged for another file")
            if status.st_size < peer.offset:
                raise EvidenceError(f"it was cut from {peer.offset} to {quantity(status.st_size, 'byte')}")
            if peer.offset >= MAX_FILE:
                raise EvidenceError(f"it is larger than {MAX_FILE >> 20} MiB")
            data = os.pread(descriptor, MAX_READ, peer.offset)
        finally:
            os.close(descriptor)
        peer.inode = inode
        peer.offset += len(data)
        return data


def _ended(path: Path) -> bool:
    descriptor = os.open(path, _READ)
    try:
        status = os.fstat(descriptor)
        tail = os.pread(descriptor, _TAIL, max(0, status.st_size - _TAIL))
    finally:
        os.close(descriptor)
    last = tail.rstrip(b"\n").rpartition(b"\n")[2]
    return any(b'"state":"%s"' % state in last for state in (b"held", b"broken", b"incomplete"))
