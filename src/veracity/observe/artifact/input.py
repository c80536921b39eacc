"""The bytes of one artifact: a file, a window of one, or what was unpacked from it.

Readers of formats see nothing else, so that each reads a file on disk, a member of an archive and what was
downloaded in the same way. Nothing is mapped: a file that is cut while it is mapped ends the process that
reads it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...core.errors import EvidenceError

WINDOW = 1 << 20
"""Bytes that are held of a source at a time when it is read through."""
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Source(Protocol):
    """Where bytes come from; ``size`` in bytes does not change."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read(self, at: int, length: int) -> bytes:
        """``length`` bytes from ``at``, fewer only at the end; raises EvidenceError."""
        ...


class Beside(Protocol):
    """Files beside an input, as its real reader would open them (:mod:`.beside`)."""

    @property
    def place(self) -> str:
        """Where the folder is: what tells it from others."""
        ...

    def opened(self, name: str, *, above: bool = False) -> AbstractContextManager[FileSource | None]:
        """A file of the same folder, or of the one above it; None when there is none."""
        ...

    def read(self, path: str, limit: int) -> bytes | None:
        """The file at ``path`` from the folder, of up to ``limit`` bytes; None where there is none."""
        ...


class FileSource:
    """An open regular file, read by its descriptor alone: what its name leads to later does not matter."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path
        status = os.fstat(descriptor)
        self._size = status.st_size
        self._looks = _looks(status)

    @property
    def size(self) -> int:
        """Bytes of the file when it was opened."""
        return self._size

    @property
    def modified(self) -> int:
        """When it was last written, in whole seconds of the epoch, as its file system says."""
        return self._looks[1] // 1_000_000_000

    def read(self, at: int, length: int) -> bytes:
        """Bytes of the file; raises EvidenceError when it cannot be read or is shorter than it was."""
        wanted = max(0, min(length, self._size - at))
        try:
            data = read_at(self._descriptor, at, wanted)
        except OSError as error:
            raise self._unreadable(error) from error
        if len(data) < wanted:
            raise self._shorter()
        return data

    def read_into(self, block: memoryview, at: int) -> int:
        """Fill ``block`` with bytes from ``at``: how many there were, one at least; raises EvidenceError."""
        try:
            count = os.preadv(self._descriptor, [block], at)
        except OSError as error:
            raise self._unreadable(error) from error
        if not count:
            raise self._shorter()
        return count

    def _unreadable(self, error: OSError) -> EvidenceError:
        return EvidenceError(
            f"cannot be read: {error.strerror}", where=self._path, remedy="check the medium it lies on"
        )

    def _shorter(self) -> EvidenceError:
        return EvidenceError(
            "became shorter while it was read", where=self._path, remedy="scan it when nobody writes to it"
        )

    def has_changed(self) -> bool:
        """Whether size or times differ from what they were when it was opened."""
        return _looks(os.fstat(self._descriptor)) != self._looks

    def status(self) -> os.stat_result:
        """What the system says of the open file now."""
        return os.fstat(self._descriptor)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


def read_at(descriptor: int, at: int, length: int) -> bytes:
    """``length`` bytes of a file from ``at``, fewer only at its end; raises OSError."""
    parts: list[bytes] = []
    while length > 0 and (part := os.pread(descriptor, length, at)):
        parts.append(part)
        at += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True, slots=True)
class BytesSource:
    """Bytes in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.data)

    def read(self, at: int, length: int) -> bytes:
        """A part of them."""
        return self.data[at : at + max(0, length)]


@dataclass(frozen=True, slots=True)
class Input:
    """``size`` bytes of ``source`` from ``start``.

    ``name`` says where they lie, for people: ``model.pt`` or ``model.pt!archive/data.pkl``. ``depth``: out of
    how many containers they were taken. ``beside``: what lies in the same folder, of a file on disk; None of
    anything that lies inside another.
    """

    name: str
    source: Source
    start: int
    size: int
    depth: int = 0
    beside: Beside | None = None

    @classmethod
    def of(cls, name: str, source: Source, beside: Beside | None = None) -> Input:
        """The whole of a source."""
        return cls(name, source, 0, source.size, 0, beside)

    @classmethod
    def of_bytes(cls, name: str, data: bytes, depth: int = 0) -> Input:
        """Bytes in memory."""
        return cls(name, BytesSource(data), 0, len(data), depth)

    def read(self, at: int, length: int) -> bytes:
        """``length`` bytes from ``at`` of this input, fewer only at its end; raises EvidenceError."""
        if at < 0 or at >= self.size or length <= 0:
            return b""
        return self.source.read(self.start + at, min(length, self.size - at))

    def whole(self, limit: int) -> bytes:
        """All bytes; raises EvidenceError when they are more than ``limit``."""
        if self.size > limit:
            raise EvidenceError(
                f"is {self.size:,} bytes, and no more than {limit:,} are read", where=self.name
            )
        return self.read(0, self.size)

    def windows(self, size: int = WINDOW) -> Iterator[bytes]:
        """All bytes in order, ``size`` at a time."""
        for at in range(0, self.size, size):
            yield self.read(at, size)

    def part(self, name: str, at: int, size: int) -> Input:
        """A window that is called ``name`` inside this input, one container deeper; cut at this one's end."""
        at = max(0, min(at, self.size))
        size = max(0, min(size, self.size - at))
        return Input(f"{self.name}!{name}", self.source, self.start + at, size, self.depth + 1)

    def unpacked(self, name: str, source: Source) -> Input:
        """What was unpacked from this input."""
        return Input(f"{self.name}!{name}", source, 0, source.size, self.depth + 1)


def open_file(path: Path | str, *, follow: bool = True) -> FileSource:
    """Open a regular file, never waiting for a writer; raises EvidenceError for anything else."""
    flags = _FLAGS if follow else _FLAGS | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise EvidenceError(f"cannot be opened: {error.strerror}", where=str(path)) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise EvidenceError(f"is {kind_of(mode)}, not a file", where=str(path))
        return FileSource(descriptor, str(path))
    except (OSError, EvidenceError):
        os.close(descriptor)
        raise


def _looks(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def kind_of(mode: int) -> str:
    """What a mode of :func:`os.stat` says something is that is no regular file, for people."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    )
    return next((name for test, name in kinds if test(mode)), "something else")
