"""The files below a folder, each with the digest of its whole content, for formats that list them so.

Opened as :mod:`veracity.observe.tree` does: every name in the folder it was listed in, a link only when the
caller follows links, and a file that does not come to rest is unread. What is neither file nor folder is
named, never passed over.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import local

from ..core.errors import EvidenceError, ResourceLimitError
from ..core.tree import escaped
from .tree import FLAGS, MAX_DEPTH, MAX_OPEN, TRIES, Progress, Unread, opened, unchanged

MAX_FILES = 1_000_000
MAX_PIECES = 1_000_000
SELF = b"."
"""What the root is called when it is a file itself."""
_BUFFER = 1 << 20
_THROUGH = FLAGS & ~os.O_NOFOLLOW
_memory = local()


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file's size in bytes and its digests in hexadecimal: one, or one of each piece."""

    size: int
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies below a root, by path from there.

    ``odd`` says of what is neither file nor folder what it is; ``ignored`` are the names that were passed
    over because the caller said so and that are there.
    """

    files: dict[bytes, WholeFile]
    odd: dict[bytes, str]
    ignored: tuple[bytes, ...]
    unread: tuple[Unread, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True, slots=True)
class HowToRead:
    """``algorithm``: a name that hashlib knows. ``piece``: bytes that each digest is of, 0 for the whole.

    ``ignored``: paths from the root that are passed over with all that is below. ``follow``: read files that
    links lead to; folders behind links are never entered.
    """

    algorithm: str = "sha256"
    piece: int = 0
    ignored: Collection[bytes] = ()
    follow: bool = False


def read_whole_files(path: Path, how: HowToRead, *, progress: Progress | None = None) -> Listing:
    """Read all files at or below ``path``, which alone may be named through links.

    Raises EvidenceError when there is nothing to read there, ResourceLimitError when it is too much.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1, "read-files") as pool:
        walk = _Walk(how, pool, progress)
        try:
            real = os.path.realpath(os.fsencode(path), strict=True)
            if stat.S_ISDIR(os.stat(real, follow_symlinks=False).st_mode):
                with opened(real, os.O_DIRECTORY) as handle:
                    walk.folder(handle, b"", 0)
            else:
                parent, name = os.path.split(real)
                with opened(parent, os.O_DIRECTORY) as handle:
                    walk.name(handle, name, SELF, os.stat(name, dir_fd=handle, follow_symlinks=False), 0)
        except OSError as error:
            raise EvidenceError(f"{path} cannot be read: {error.strerror or error}") from error
        finally:
            walk.settle(0)
    return Listing(walk.files, walk.odd, tuple(walk.ignored), tuple(walk.unread))


@dataclass(slots=True)
class _Walk:
    how: HowToRead
    pool: ThreadPoolExecutor
    progress: Progress | None
    files: dict[bytes, WholeFile] = field(default_factory=dict)
    odd: dict[bytes, str] = field(default_factory=dict)
    ignored: list[bytes] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    _read: int = 0
    _waiting: deque[tuple[bytes, Future[WholeFile | str]]] = field(default_factory=deque)

    def folder(self, handle: int, path: bytes, depth: int) -> None:
        """All that lies in an open folder; raises OSError when it cannot be listed."""
        with os.scandir(handle) as listing:
            names = sorted(os.fsencode(item.name) for item in listing)
        for name in names:
            inside = path + b"/" + name if path else name
            if inside in self.how.ignored:
                self.ignored.append(inside)
                continue
            try:
                self.name(
                    handle, name, inside, os.stat(name, dir_fd=handle, follow_symlinks=False), depth + 1
                )
            except OSError as error:
                self._lost(inside, error.strerror or str(error))

    def name(self, folder: int, name: bytes, path: bytes, status: os.stat_result, depth: int) -> None:
        """What ``name`` in an open folder is; raises OSError when it cannot be opened."""
        if stat.S_ISREG(status.st_mode):
            self._file(os.open(name, FLAGS, dir_fd=folder), path)
        elif stat.S_ISDIR(status.st_mode):
            if depth > MAX_DEPTH:
                self._lost(path, f"folders lie more than {MAX_DEPTH} deep")
                return
            with opened(name, os.O_DIRECTORY, folder=folder) as handle:
                self.folder(handle, path, depth)
        elif not stat.S_ISLNK(status.st_mode):
            self.odd[path] = "neither a file nor a folder"
        elif not self.how.follow:
            self.odd[path] = "a link"
        else:
            try:
                handle = os.open(name, _THROUGH, dir_fd=folder)
            except FileNotFoundError:
                self.odd[path] = "a link that leads nowhere"
            else:
                self._file(handle, path)

    def _file(self, handle: int, path: bytes) -> None:
        """``handle`` is taken over."""
        if len(self.files) + len(self._waiting) >= MAX_FILES:
            os.close(handle)
            raise ResourceLimitError(f"there are more than {MAX_FILES:,} files")
        mode = os.fstat(handle).st_mode
        if stat.S_ISREG(mode):
            self._waiting.append((path, self.pool.submit(_digested, handle, self.how)))
            self.settle(MAX_OPEN)
            return
        os.close(handle)
        if stat.S_ISDIR(mode):
            self._lost(path, "it is a link to a folder, and what lies behind it is not read")
        else:
            self.odd[path] = "neither a file nor a folder"

    def settle(self, most: int) -> None:
        """Wait until at most so many files are being read."""
        while len(self._waiting) > most:
            path, future = self._waiting.popleft()
            found = future.result()
            if isinstance(found, str):
                self._lost(path, found)
                continue
            self.files[path] = found
            self._read += found.size
            if self.progress is not None:
                self.progress(len(self.files), self._read)

    def _lost(self, path: bytes, reason: str) -> None:
        self.unread.append(Unread(escaped(path), reason))


def _digested(handle: int, how: HowToRead) -> WholeFile | str:
    """The file behind ``handle``, which is closed; or why it could not be read."""
    try:
        for _ in range(TRIES):
            status = os.fstat(handle)
            size, piece = status.st_size, how.piece or max(status.st_size, 1)
            if size // piece > MAX_PIECES:
                return f"its pieces of {piece:,} bytes would be more than {MAX_PIECES:,}"
            starts = range(0, size, piece) if how.piece else range(1)
            digests = tuple(_digest(handle, at, min(piece, size - at), how.algorithm) for at in starts)
            if unchanged(status, os.fstat(handle)):
                return WholeFile(size, digests)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(handle)
    return "it changed while it was read"


def _digest(handle: int, offset: int, length: int, algorithm: str) -> str:
    """The digest of so many bytes from ``offset`` on, or of fewer when the file has become shorter."""
    buffer: bytearray = getattr(_memory, "buffer", None) or bytearray(_BUFFER)
    _memory.buffer = buffer
    view, digest, end = memoryview(buffer), hashlib.new(algorithm), offset + length
    while offset < end:
        count = os.preadv(handle, [view[: min(_BUFFER, end - offset)]], offset)
        if not count:
            break
        digest.update(view[:count])
        offset += count
    return digest.hexdigest()
