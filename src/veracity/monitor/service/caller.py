"""Who is at the other end of a connection: the kernel's word, never that of a message."""

from __future__ import annotations

import os
import select
import socket
import struct
from dataclasses import dataclass

from ...core.errors import EvidenceError
from ...observe import process

_CREDENTIALS = struct.Struct("3i")
_GROUP = struct.Struct("I")
MAX_GROUPS = 256
"""As many as Python reads of a socket option at once."""
# <asm-generic/socket.h>; the first came with Linux 4.13, the second with 6.5.
SO_PEERGROUPS = 59
SO_PEERPIDFD = 77


@dataclass(frozen=True, slots=True)
class Caller:
    """A process as it was when it connected (SO_PEERCRED, SO_PEERGROUPS).

    ``starttime`` (clock ticks since boot) tells it from a later one of its number.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    pid: int
    starttime: int


def caller_of(connection: socket.socket) -> Caller:
    """The process that connected. Raises EvidenceError when it is gone or not to be seen from here."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    if pid <= 0:
        raise EvidenceError(
            "the caller's process cannot be seen from here",
            remedy="run the service where it sees the processes of the jobs (no PID namespace between them)",
        )
    handle = _handle_of(connection, pid)
    try:
        status = process.read_stat(pid)
        # While the handle's process has not ended its number is nobody else's.
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        ended = bool(poll.poll(0))
    finally:
        os.close(handle)
    if status is None or ended:
        raise EvidenceError("the caller has ended")
    return Caller(uid, gid, _groups(connection), pid, status.starttime)


def is_there(pid: int, starttime: int) -> bool:
    """Whether the process of this number still is the one that started then, and has not ended."""
    status = process.read_stat(pid)
    return status is not None and status.starttime == starttime and status.state not in ("Z", "X")


def sees_alike(pid: int) -> str:
    """Why numbers of processes or names of files do not mean the same to that process; empty when they do."""
    lines = process.read_status(pid) or {}
    if len(lines.get("NSpid", "").split()) > 1:
        return "the job is in a PID namespace of its own, so that its processes have other numbers here"
    try:
        theirs, ours = os.stat(f"{process.PROC}/{pid}/root/"), os.stat("/")
    except OSError:
        return "the root of the job's files cannot be seen from here"
    if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino):
        return "the job has another root of files, so that its names mean others here"
    return ""


def reaches_alike(pid: int) -> str:
    """Why an address may not mean the same to that process as here; empty when it does."""
    try:
        theirs, ours = (os.stat(f"{process.PROC}/{one}/ns/net") for one in (str(pid), "self"))
    except OSError:
        return "it cannot be seen from here which network the job has"
    if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino):
        return "the job has a network of its own, so that others would be reached from here"
    return ""


def uid_of(connection: socket.socket) -> int:
    """The account at the other end: of a service, the one that made the socket it listens at."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(raw)[1]
    return uid


def _handle_of(connection: socket.socket, pid: int) -> int:
    """A pidfd of the very process that connected; of its number where the kernel is older."""
    try:
        return connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError:
        pass
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise EvidenceError("the caller has ended") from error


def _groups(connection: socket.socket) -> tuple[int, ...]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MAX_GROUPS * _GROUP.size)
    except OSError as error:
        raise EvidenceError("the groups of the caller are not known") from error
    return tuple(group for (group,) in _GROUP.iter_unpack(raw))
