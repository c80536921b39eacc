"""What comes out of compressed data: held in memory while it is small, else in a file without a name.

The file is made with mode 0600 and has no name from the beginning (or loses it before anything is written),
so nobody can open it and nothing stays behind.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import BinaryIO

from ...core.errors import EvidenceError
from .budget import Budget
from .input import BytesSource, Source, read_at

IN_MEMORY = 8 << 20
"""Bytes that are held in memory at most, less where the budget says so."""


class SpooledFile:
    """A source in a file without a name, which goes when nobody holds this any more."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    @property
    def size(self) -> int:
        """Bytes that were written."""
        return self._size

    def read(self, at: int, length: int) -> bytes:
        """A part of them; raises EvidenceError when the medium fails."""
        wanted = max(0, min(length, self._size - at))
        try:
            data = read_at(self._file.fileno(), at, wanted)
        except OSError as error:
            raise EvidenceError(f"what was unpacked cannot be read again: {error.strerror}") from error
        if len(data) < wanted:
            raise EvidenceError("what was unpacked became shorter")
        return data

    def __del__(self) -> None:
        self._file.close()


class Spool:
    """Takes unpacked bytes in, in order, and makes a source of them.

    ``error`` is what the data broke off with, if they did: what came before is there all the same, since a
    reader that streams has acted upon it by then.
    """

    def __init__(self, budget: Budget, where: str) -> None:
        self._budget = budget
        self._where = where
        self._limit = min(IN_MEMORY, budget.held)
        self._parts: list[bytes] = []
        self._size = 0
        self._file: BinaryIO | None = None
        self.error: EvidenceError | None = None

    @property
    def size(self) -> int:
        """Bytes taken in so far."""
        return self._size

    def take(self, chunks: Iterable[bytes]) -> Source:
        """All of ``chunks``, each of which the budget pays for, and what had been taken before."""
        try:
            self._budget.spend_unpacked(0, self._where)  # what is used up before is not begun
            for chunk in chunks:
                self._add(chunk)
                self._budget.spend_unpacked(len(chunk), self._where)
        except EvidenceError as error:
            self.error = error
        return self._source()

    def _add(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._file is None and self._size <= self._limit:
            self._parts.append(chunk)
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (SpooledFile closes it)
                for part in self._parts:
                    _write(self._file, part)
                self._parts.clear()
            _write(self._file, chunk)
        except OSError as error:
            self._size -= len(chunk)
            raise EvidenceError(
                f"cannot be unpacked: {error.strerror}",
                where=tempfile.gettempdir(),
                remedy="free space there, or name another folder with TMPDIR",
            ) from error

    def _source(self) -> Source:
        if self._file is None:
            return BytesSource(b"".join(self._parts))
        return SpooledFile(self._file, self._size)


def _write(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
