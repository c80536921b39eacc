"""The way out of the process: an append-only spool file, and a socket as herald and second way.

Every record is appended to the spool first, so a dead monitor loses nothing; the socket says hello (the
kernel tells the monitor whose process it is) and carries records while the disk is full. Nothing here
waits: a full socket or disk costs a counted drop.

A program may close every descriptor and get our numbers back for its own files. So no write goes through
a number without looking whether it still is our file (device and inode), and a number that is not ours
any more is forgotten, never closed.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Mapping, Sequence

from ..core import wire

SEGMENT_BYTES = 16 << 20
BURST_BYTES = 256 << 10
MAX_DATAGRAM = 120 << 10


class Stream:
    """One process's records. ``send`` never raises and never blocks."""

    def __init__(self, spool_folder: str, socket_path: str) -> None:
        self.pid = os.getpid()
        self.dropped = 0
        self.sent = 0
        self._seq = 0
        self._folder = spool_folder
        self._socket_path = socket_path
        self._name = f"{self.pid}-{os.urandom(4).hex()}"
        self._segment = 0
        self._written = 0
        self._fd = -1
        self._identity = (0, 0)
        self._socket: socket.socket | None = None
        self._socket_identity = (0, 0)
        self._lock = threading.Lock()

    def send(self, kind: str, at: int, body: Mapping[str, object], blob: bytes = b"") -> bool:
        """Ship one record; False when it had to be dropped (which the next sequence number shows)."""
        if not self._lock.acquire(timeout=0.05):
            self.dropped += 1
            return False
        try:
            frame = wire.pack(kind, self._seq, at, body, blob)
            self._seq += 1
            if self._append(frame) or self._post(frame):
                self.sent += 1
                return True
            self.dropped += 1
            return False
        finally:
            self._lock.release()

    def burst(self, kind: str, at: int, records: Sequence[tuple[Mapping[str, object], memoryview]]) -> None:
        """Ship many records of one kind, bodies and blobs, with few writes; what is dropped is counted."""
        if not self._lock.acquire(timeout=0.05):
            self.dropped += len(records)
            return
        try:
            frames: list[bytes] = []
            size = 0
            for body, blob in records:
                frames.append(wire.pack(kind, self._seq, at, body, bytes(blob)))
                self._seq += 1
                size += len(frames[-1])
                if size >= BURST_BYTES:
                    self._ship(frames)
                    frames, size = [], 0
            self._ship(frames)
        finally:
            self._lock.release()

    def _ship(self, frames: list[bytes]) -> None:
        """All in one write, or each by itself where that does not succeed."""
        if frames and self._append(b"".join(frames)):
            self.sent += len(frames)
            return
        for frame in frames:
            if self._append(frame) or self._post(frame):
                self.sent += 1
            else:
                self.dropped += 1

    def greet(self, at: int, body: Mapping[str, object]) -> None:
        """Send the hello on both ways: the spool for the record, the socket for the kernel's word on who."""
        self.send("hello", at, body)
        short = {name: value for name, value in body.items() if name != "variables"}
        self._post(wire.pack("hello", 0, at, {**short, "spool": self._name}))

    # --- spool -----------------------------------------------------------------------------------

    def _path(self) -> str:
        return os.path.join(self._folder, f"{self._name}.{self._segment:06d}.spool")

    def _append(self, frame: bytes) -> bool:
        if self._written + len(frame) > SEGMENT_BYTES and self._written:
            self._next_segment()
        try:
            if self._fd < 0 or not self._is_ours(self._fd, self._identity):
                self._open()
            count = os.write(self._fd, frame)
        except OSError:
            return False
        if count == len(frame):
            self._written += count
            return True
        self._take_back(count)
        return False

    def _open(self) -> None:
        # O_NONBLOCK: a named pipe in the segment's place must not hold the program up.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self._path(), flags, 0o600)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise OSError("not a regular file")
        self._fd, self._identity, self._written = fd, (status.st_dev, status.st_ino), status.st_size

    def _next_segment(self) -> None:
        if self._fd >= 0 and self._is_ours(self._fd, self._identity):
            os.close(self._fd)
        self._fd, self._written = -1, 0
        self._segment += 1

    def _take_back(self, count: int) -> None:
        """A full disk cut the frame: remove its beginning, so that the next one starts clean."""
        try:
            os.ftruncate(self._fd, self._written)
        except OSError:
            self._written += count
            self._next_segment()

    @staticmethod
    def _is_ours(fd: int, identity: tuple[int, int]) -> bool:
        try:
            status = os.fstat(fd)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == identity

    # --- socket ----------------------------------------------------------------------------------

    def _post(self, frame: bytes) -> bool:
        if len(frame) > MAX_DATAGRAM:
            return False
        if self._socket is not None and not self._is_ours(self._socket.fileno(), self._socket_identity):
            self._socket.detach()
            self._socket = None
        try:
            connection = self._socket or self._connect()
            # A program may have given SIGPIPE back its default, which is to end the process.
            connection.send(frame, socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.setblocking(False)
        try:
            connection.connect(self._socket_path)
        except OSError:
            connection.close()
            raise
        status = os.fstat(connection.fileno())
        if not stat.S_ISSOCK(status.st_mode):
            connection.detach()
            raise OSError("not a socket")
        self._socket, self._socket_identity = connection, (status.st_dev, status.st_ino)
        return connection
