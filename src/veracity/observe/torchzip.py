"""Files that hold weights: the digest of a file, and of each storage inside a torch zip checkpoint.

``torch.save`` writes a zip archive in which ``<name>/data/<n>`` is the raw memory of storage ``n``, not
compressed. The archive is read, never unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import BinaryIO

CHUNK = 1 << 20
MAX_STORAGES = 50_000
MAX_DIRECTORY = 64 << 20
DEFAULT_BUDGET = 64 << 30

_STORAGE = re.compile(r"[^/]{1,255}/data/([0-9]{1,9})\Z")


@dataclass(frozen=True, slots=True)
class FileDigest:
    """SHA-256 of a whole file. ``changed``: size, time or inode differed before and after the reading."""

    sha256: str
    size: int
    changed: bool


@dataclass(frozen=True, slots=True)
class Storages:
    """SHA-256 of each storage, in the order of their numbers; empty with a ``reason``."""

    digests: list[str]
    reason: str = ""


def digest_file(path: str, limit: int = DEFAULT_BUDGET) -> FileDigest | str:
    """Digest of a regular file of at most ``limit`` bytes, or a sentence saying why there is none."""
    try:
        with _open_regular(path) as file:
            before = os.fstat(file.fileno())
            if before.st_size > limit:
                return f"larger than {limit} bytes"
            hasher = hashlib.sha256()
            left = limit
            while left > 0 and (part := file.read(min(CHUNK, left))):
                hasher.update(part)
                left -= len(part)
            after = os.fstat(file.fileno())
            named = os.stat(path)
    except (OSError, ValueError) as error:
        return f"cannot be read: {_why(error)}"
    changed = not _same(before, after) or not _same(before, named)
    return FileDigest(hasher.hexdigest(), before.st_size, changed)


def storage_digests(path: str, budget: int = DEFAULT_BUDGET) -> Storages:
    """Digests of the storages in the torch zip at ``path``, of at most ``budget`` bytes in all."""
    try:
        with _open_regular(path) as file:
            if file.read(4) != b"PK\x03\x04":
                return Storages([], "not a torch zip archive")
            if _directory_size(file) > MAX_DIRECTORY:
                return Storages([], "its directory is too large")
            with zipfile.ZipFile(file) as archive:
                return _digests(archive, budget)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, struct.error) as error:
        return Storages([], f"not a readable zip archive: {_why(error)}")
    except (NotImplementedError, RuntimeError) as error:
        return Storages([], f"an archive torch does not write: {error}")


def _digests(archive: zipfile.ZipFile, budget: int) -> Storages:
    numbered: dict[int, zipfile.ZipInfo] = {}
    for item in archive.infolist():
        found = _STORAGE.match(item.filename)
        if found is None:
            continue
        if int(found[1]) in numbered:
            return Storages([], f"storage {int(found[1])} occurs twice")
        numbered[int(found[1])] = item
    if not numbered:
        return Storages([], "a zip archive without torch storages")
    if len(numbered) > MAX_STORAGES:
        return Storages([], f"more than {MAX_STORAGES} storages")
    if sum(item.file_size for item in numbered.values()) > budget:
        return Storages([], f"its storages are larger than {budget} bytes")
    digests = []
    for _, item in sorted(numbered.items()):
        hasher = hashlib.sha256()
        with archive.open(item) as record:
            while part := record.read(CHUNK):
                hasher.update(part)
        digests.append(hasher.hexdigest())
    return Storages(digests)


def _directory_size(file: BinaryIO) -> int:
    """Bytes of the central directory as the archive's end states it; 0 when there is no such end."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - (1 << 16) - 200))
    tail = file.read()
    file.seek(0)
    large, plain = tail.rfind(b"PK\x06\x06"), tail.rfind(b"PK\x05\x06")
    if large >= 0 and len(tail) - large >= 56:
        return int(struct.unpack_from("<Q", tail, large + 40)[0])
    if plain >= 0 and len(tail) - plain >= 22:
        return int(struct.unpack_from("<I", tail, plain + 12)[0])
    return 0


def _open_regular(path: str) -> BinaryIO:
    """Open for reading, without waiting for a writer as a FIFO would; OSError for what is no file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    return os.fdopen(descriptor, "rb")


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) == (
        other.st_dev,
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
    )


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)[:200]
