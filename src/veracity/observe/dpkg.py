"""What Debian's package database says of files: which package brought each, and its MD5.

dpkg is not started. MD5 finds changes, not a careful adversary, but the database is root's: who can write
there owns the machine.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .ownership import DPKG, database, read_database

_MD5 = 32
_PART = 1 << 20


@dataclass(frozen=True, slots=True)
class Digests:
    """A file's SHA-256 and the MD5 that the database may have of it, in hexadecimal."""

    sha256: str
    md5: str


def digests_of(path: str, limit: int) -> Digests | None:
    """Both digests in one reading; None for what cannot be read, is no regular file or larger than that."""
    sha256, md5, left = hashlib.sha256(), hashlib.md5(usedforsecurity=False), limit
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            while part := file.read(_PART):
                left -= len(part)
                if left < 0:
                    return None
                sha256.update(part)
                md5.update(part)
    except (OSError, ValueError):
        return None
    return Digests(sha256.hexdigest(), md5.hexdigest())


def files_below(folder: str, dpkg: str = DPKG) -> Mapping[str, tuple[str, str]]:
    """Path from ``folder`` → package and MD5 (hexadecimal; empty where the database has none)."""
    start = os.fsencode(folder.strip("/")) + b"/"
    found: dict[str, tuple[str, str]] = {}
    for suffix in (".list", ".md5sums"):
        for name, data in database(os.path.join(dpkg, "info"), suffix):
            if start not in data:
                continue
            package = name.removesuffix(suffix).partition(":")[0]
            for line in data.splitlines():
                digest, path = (b"", line[1:]) if suffix == ".list" else (line[:_MD5], line[_MD5 + 2 :])
                if path.startswith(start) and len(path) > len(start):
                    found[os.fsdecode(path[len(start) :])] = (package, digest.decode("ascii", "replace"))
    return found


def packages_of(paths: Iterable[str], dpkg: str = DPKG) -> Mapping[str, tuple[str, str]]:
    """Of these absolute paths those that a package brought → package and MD5, in one pass.

    A file below ``/usr`` may stand there without it: where ``/lib`` leads to ``/usr/lib``, older packages
    name the former.
    """
    wanted: dict[bytes, str] = {}
    for path in paths:
        wanted[os.fsencode(path[1:])] = path
        if path.startswith("/usr/"):
            wanted.setdefault(os.fsencode(path.removeprefix("/usr/")), path)
    listed = {b"/" + path for path in wanted}
    found: dict[str, tuple[str, str]] = {}
    info = os.path.join(dpkg, "info")
    for name, data in database(info, ".list"):
        lines = listed.intersection(data.splitlines())
        if not lines:
            continue
        package = name.removesuffix(".list")
        sums = dict(_sums(read_database(os.path.join(info, f"{package}.md5sums")) or b""))
        for line in lines:
            digest = sums.get(line[1:], b"").decode("ascii", "replace")
            path = wanted[line[1:]]
            if digest or path not in found:
                found[path] = (package.partition(":")[0], digest)
    return found


def _sums(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Path and digest of each line of an ``.md5sums``."""
    for line in data.splitlines():
        yield line[_MD5 + 2 :], line[:_MD5]
