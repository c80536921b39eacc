"""Descriptors of a process as /proc shows them: its sockets with both addresses, files it may write to.

``/proc/<pid>/fd`` links and ``/proc/<pid>/net/{tcp,tcp6,udp,udp6,unix}`` as in proc(5). Bounded; None once
the process is gone or belongs to another account.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from .process import read_file

MAX_DESCRIPTORS = 4096
MAX_TABLE = 2 << 20
_TABLES = ("tcp", "tcp6", "udp", "udp6")
_LISTEN = "0A"
_ACCESS = 0o3


@dataclass(frozen=True, slots=True)
class Socket:
    """``kind``: ``tcp``, ``tcp-listen``, ``udp`` or ``unix``. Addresses as ``host:port``; of a unix socket
    its path is ``local``. ``remote`` is empty when there is none."""

    kind: str
    local: str
    remote: str


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What a process holds open: sockets by inode, files by path (as opened, whatever for)."""

    sockets: tuple[int, ...]
    files: tuple[tuple[int, str], ...]


def read_descriptors(pid: int, folders: Sequence[str], proc: str = "/proc") -> Descriptors | None:
    """The sockets of a process, and the files it holds open below ``folders``: (descriptor, path)."""
    inside = tuple(folder.rstrip(os.sep) + os.sep for folder in folders)
    sockets: list[int] = []
    files: list[tuple[int, str]] = []
    try:
        names = os.listdir(f"{proc}/{pid}/fd")[:MAX_DESCRIPTORS]
    except OSError:
        return None
    for name in names:
        try:
            target = os.readlink(f"{proc}/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1].isdigit():
            sockets.append(int(target[8:-1]))
        elif inside and target.startswith(inside) and name.isdigit():
            files.append((int(name), target))
    return Descriptors(tuple(sockets), tuple(files))


def may_write(pid: int, descriptor: int, proc: str = "/proc") -> bool:
    """Whether a descriptor was opened for writing, by its ``fdinfo``."""
    for line in (_read(f"{proc}/{pid}/fdinfo/{descriptor}", 4096) or b"").splitlines():
        name, _, value = line.partition(b":")
        if name == b"flags":
            try:
                return int(value, 8) & _ACCESS in (os.O_WRONLY, os.O_RDWR)
            except ValueError:
                return False
    return False


def read_sockets(pid: int, inodes: Sequence[int], proc: str = "/proc") -> dict[int, Socket]:
    """Those of ``inodes`` that are in the tables of the process's network, by inode."""
    wanted, found = set(inodes), dict[int, Socket]()
    # Workers of loaders make sockets for each batch, and theirs is the short table: for tcp the kernel walks
    # over all of its places, used or not, for a millisecond and more.
    if wanted:
        found.update(parse_unix(_read(f"{proc}/{pid}/net/unix", MAX_TABLE) or b"", wanted))
    for table in _TABLES:
        if wanted - found.keys():
            found.update(parse_table(table, _read(f"{proc}/{pid}/net/{table}", MAX_TABLE) or b"", wanted))
    return found


def parse_table(table: str, data: bytes, wanted: set[int]) -> dict[int, Socket]:
    """Rows of ``net/tcp`` and its like whose inode is wanted."""
    found: dict[int, Socket] = {}
    for line in data.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or not fields[9].isdigit() or int(fields[9]) not in wanted:
            continue
        local, remote = _address(fields[1]), _address(fields[2])
        if local is None or remote is None:
            continue
        kind = table[:3]
        if kind == "tcp" and fields[3] == _LISTEN.encode():
            kind, remote = "tcp-listen", ""
        found[int(fields[9])] = Socket(kind, local, "" if remote.endswith(":0") else remote)
    return found


def parse_unix(data: bytes, wanted: set[int]) -> dict[int, Socket]:
    """Rows of ``net/unix`` whose inode is wanted; a path stands at the listening end only."""
    found: dict[int, Socket] = {}
    for line in data.splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) >= 7 and fields[6].isdigit() and int(fields[6]) in wanted:
            path = fields[7].decode("utf-8", "backslashreplace") if len(fields) == 8 else ""
            found[int(fields[6])] = Socket("unix", path[:200], "")
    return found


def _address(field: bytes) -> str | None:
    """``0100007F:1F90`` → ``127.0.0.1:8080``: words of four bytes in the machine's order."""
    host, _, port = field.partition(b":")
    try:
        data, number = bytes.fromhex(host.decode("ascii")), int(port, 16)
    except (ValueError, UnicodeDecodeError):
        return None
    if len(data) not in (4, 16):
        return None
    words = [socket.htonl(int.from_bytes(data[at : at + 4], "big")) for at in range(0, len(data), 4)]
    plain = b"".join(word.to_bytes(4, "big") for word in words)
    if len(plain) == 16 and plain[:12] == b"\0" * 10 + b"\xff\xff":
        plain = plain[12:]
    family = socket.AF_INET if len(plain) == 4 else socket.AF_INET6
    return f"{socket.inet_ntop(family, plain)}:{number}"


def _read(path: str, limit: int) -> bytes | None:
    return read_file(path, limit)
