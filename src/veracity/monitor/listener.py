"""The guards' socket. The kernel says whose process speaks (SO_PEERCRED), the message never does."""

from __future__ import annotations

import os
import selectors
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import EvidenceError, TransportError
from ..core.wire import Frame, unpack

MAX_DATAGRAM = 256 << 10
MAX_PEERS = 1024
MAX_PER_ROUND = 256
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """Process and user at the other end, as the kernel recorded them when it connected.

    ``connection``: by which it can be answered.
    """

    pid: int
    uid: int
    connection: socket.socket | None = field(default=None, compare=False)


class Listener:
    """Accepts guards and reads their datagrams; registers itself with a selector."""

    def __init__(self, path: Path, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._path = path
        self._peers: dict[socket.socket, Peer] = {}
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            path.unlink(missing_ok=True)
            self._server.bind(str(path))
            os.chmod(path, 0o600)
            self._server.listen(128)
        except OSError as error:
            self._server.close()
            raise TransportError(
                f"cannot open the guard's socket: {error.strerror}", where=str(path)
            ) from error
        self._server.setblocking(False)
        selector.register(self._server, selectors.EVENT_READ)

    def owns(self, candidate: object) -> bool:
        """Whether a ready file object of the selector is one of ours."""
        return candidate is self._server or candidate in self._peers

    def ready(self, candidate: object) -> Iterator[tuple[Peer, Frame]]:
        """Handle a ready socket: a new guard, or datagrams of a known one."""
        if candidate is self._server:
            self._accept()
        elif isinstance(candidate, socket.socket) and candidate in self._peers:
            yield from self._receive(candidate)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        for peer in list(self._peers):
            self._drop(peer)
        self._selector.unregister(self._server)
        self._server.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._server.accept()
        except OSError:
            return
        if len(self._peers) >= MAX_PEERS:
            connection.close()
            return
        connection.setblocking(False)
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        if uid not in (0, os.geteuid()):
            connection.close()  # no guard of this job: somebody else was let into its folder
            return
        self._peers[connection] = Peer(pid, uid, connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _receive(self, connection: socket.socket) -> Iterator[tuple[Peer, Frame]]:
        for _ in range(MAX_PER_ROUND):
            try:
                data = connection.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._drop(connection)
                return
            try:
                found = unpack(data)
            except EvidenceError:
                found = None
            if found is not None:
                yield self._peers[connection], found[0]

    def _drop(self, connection: socket.socket) -> None:
        self._peers.pop(connection, None)
        self._selector.unregister(connection)
        connection.close()
