"""Raw evidence, each file under the SHA-256 of its bytes: ``blobs/<sha256>``.

The entries of the ledger hold the digests, so a blob needs no protection of its own: ``get`` hashes what it
read. Putting one is cheap, as it may happen every step; what a crash takes is missing and shows as such.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from ..core.digest import Digest
from ..core.errors import EvidenceError, VerificationError
from ..core.quantity import quantity
from .files import read_bounded, write_all


class Blobs:
    """The blobs in one folder; the folder is made by the first ``put``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes, *, sync: bool = False) -> Digest:
        """Keep ``data`` and return its digest; raises EvidenceError when it cannot be written.

        A blob that is there already, in the same length, is left alone. With ``sync`` the data is on disk
        when this returns.
        """
        digest = Digest.of(data)
        path = self._folder / digest.value
        try:
            if _length(path) == len(data):
                return digest
            self._write(path, data, sync)
        except OSError as error:
            raise EvidenceError(
                f"a blob of {quantity(len(data), 'byte')} cannot be kept: {error.strerror}",
                where=str(path),
                remedy="free space on this file system",
            ) from error
        return digest

    def get(self, digest: Digest, limit: int) -> bytes:
        """The bytes of a blob of at most ``limit`` bytes.

        Raises EvidenceError when it is gone, ResourceLimitError when it is longer, VerificationError when it
        is no longer what was put.
        """
        data = read_bounded(self._path(digest), limit)
        if Digest.of(data) != digest:
            raise VerificationError(f"blob {digest} was altered", where=str(self._path(digest)))
        return data

    def size_bytes(self) -> int:
        """The total length of all blobs."""
        try:
            with os.scandir(self._folder) as found:
                return sum(one.stat(follow_symlinks=False).st_size for one in found if one.name[0] != ".")
        except FileNotFoundError:
            return 0

    def remove(self, digest: Digest) -> None:
        """Delete a blob; it is no error when there is none."""
        try:
            os.unlink(self._path(digest))
        except FileNotFoundError:
            pass

    def _path(self, digest: Digest) -> Path:
        if digest.algorithm != "sha256":
            raise EvidenceError(f"blobs are named by sha256, not {digest.algorithm}")
        return self._folder / digest.value

    def _write(self, path: Path, data: bytes, sync: bool) -> None:
        draft = self._folder / f".{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            handle = os.open(draft, flags, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(draft, flags, 0o600)
        try:
            try:
                write_all(handle, data)
                if sync:
                    os.fsync(handle)
            finally:
                os.close(handle)
            os.rename(draft, path)
        except OSError:
            os.unlink(draft)
            raise
        if sync:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _length(path: Path) -> int | None:
    """The length of a regular file, None when there is none."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
