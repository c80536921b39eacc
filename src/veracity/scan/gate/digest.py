"""SHA-256 of a file in the pass that reads it: what the readers take in order is hashed while it is at hand.

Readers of formats jump: to the directory at the end of an archive, from header to header, over tensors. What
they read where the digest has come to goes into it as they get it, and so does what lies before that if it
is less. The rest is read at the end, into memory that is used again, so that it stays in the processor's
cache; nothing is read twice but the few places that were jumped to.
"""

from __future__ import annotations

import hashlib

from ...core.errors import EvidenceError
from ...observe.artifact.input import WINDOW, FileSource, Source

_BLOCK = 1 << 17


class Digesting:
    """The source of a file that is read by readers and hashed with the same reading."""

    def __init__(self, file: Source) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._done = 0

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    def read(self, at: int, length: int) -> bytes:
        """Bytes of the file; raises EvidenceError as the file's own source does."""
        data = self._file.read(at, length)
        end = at + len(data)
        if self._done < end and at - self._done < len(data):
            self._up_to(at)
            self._hash.update(memoryview(data)[self._done - at :])
            self._done = end
        return data

    def digest(self) -> str:
        """In hexadecimal, of the whole file; raises EvidenceError when the rest cannot be read."""
        self._up_to(self.size)
        return self._hash.hexdigest()

    def _up_to(self, end: int) -> None:
        block = memoryview(bytearray(min(_BLOCK, max(0, end - self._done))))
        while self._done < end:
            if isinstance(self._file, FileSource):
                part = block[: self._file.read_into(block[: end - self._done], self._done)]
            else:
                part = memoryview(self._file.read(self._done, min(WINDOW, end - self._done)))
            if not part:
                raise EvidenceError("became shorter while it was read")
            self._hash.update(part)
            self._done += len(part)


def digest_of(data: bytes) -> str:
    """Of bytes in memory."""
    return hashlib.sha256(data).hexdigest()
