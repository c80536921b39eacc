"""What the ledger does on disk, in a handful of operations.

They stand in a class of their own so that a test can lose power between any two of them and keep only what
was synced. Nothing here knows what is written.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from ..core.errors import EvidenceError, ResourceLimitError

# Concurrent fsyncs share one commit of the file system's own journal: 16 at a time take under half the time.
_SYNC_THREADS = 16


class SyncError(OSError):
    """Data did not reach the disk.

    The kernel reports a failed write-back once and may have dropped the pages, so that a second sync succeeds
    and means nothing: whoever gets this must not try again but read what is there.
    """


class Files:
    """Writes below the ledger's folder. Every method raises OSError as the system reports it."""

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it, for its owner only."""
        path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, path: Path, data: bytes) -> None:
        """Write a file, replacing what it held. Not durable, and not atomic: give it a draft's name."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(path, flags, 0o600)
        try:
            write_all(handle, data)
        finally:
            os.close(handle)

    def rename(self, draft: Path, path: Path) -> None:
        """Put a draft in its place. Not durable before the folder is synced."""
        os.rename(draft, path)

    def write_at(self, handle: int, data: bytes, offset: int) -> None:
        """Write into an open file, which may grow by it."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(handle, rest, offset)
            rest, offset = rest[written:], offset + written

    def sync_data(self, handle: int) -> None:
        """Make what was written there durable; raises SyncError when that failed."""
        try:
            os.fdatasync(handle)
        except OSError as error:
            raise SyncError(error.errno, error.strerror) from error

    def truncate(self, handle: int, length: int) -> None:
        """Cut an open file back to ``length``."""
        os.ftruncate(handle, length)

    def sync(self, paths: Iterable[Path]) -> None:
        """Make the contents of files, or the names in folders, durable; raises SyncError when that failed."""
        todo = list(paths)
        if len(todo) < 4:
            for path in todo:
                _fsync(path)
            return
        with ThreadPoolExecutor(_SYNC_THREADS) as pool:
            for _ in pool.map(_fsync, todo):
                pass

    def remove_folder(self, path: Path) -> None:
        """Delete a folder and what is in it; it is no error when there is none."""
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            pass


def write_all(handle: int, data: bytes) -> None:
    """``os.write`` until everything is written."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    Raises EvidenceError when it cannot be read, ResourceLimitError when it is longer.
    """
    try:
        # Without O_NONBLOCK, a named pipe in a file's place would hold the reader for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise EvidenceError(f"cannot be read: {path.name}: {error.strerror}", where=str(path)) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise EvidenceError(f"not a regular file: {path.name}", where=str(path))
    with os.fdopen(handle, "rb", buffering=0) as stream:
        parts: list[bytes] = []
        left = limit + 1
        try:
            while left and (part := stream.read(min(left, 1 << 20))):
                parts.append(part)
                left -= len(part)
        except OSError as error:
            raise EvidenceError(f"cannot be read: {path.name}: {error.strerror}", where=str(path)) from error
    if not left:
        raise ResourceLimitError(f"longer than {limit} bytes: {path.name}", where=str(path))
    return b"".join(parts)


def _fsync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise SyncError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file of mode 0600 to write to; at the end it is put in the place of ``path``, or nowhere.

    Raises OSError with the name of ``path`` when it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
        os.replace(draft, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError) and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 in one go: it is either the old one or the new one, never half."""
    write_whole(path, data, 0o600)


def write_whole(path: Path, data: bytes, mode: int = 0o666) -> None:
    """The same of a file for others to read, as far as the umask lets them. Raises OSError with its name."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error
