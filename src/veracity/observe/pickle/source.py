"""The bytes that a machine walks over: a window at a time, so that a pickle of gigabytes is never held."""

from __future__ import annotations

from typing import Protocol

WINDOW = 1 << 18
MARGIN = 1 << 11
"""What is left of a window when the next is read: every opcode with a short argument fits into it."""


class Readable(Protocol):
    """An input of a known size whose bytes can be read at any offset."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    def read(self, at: int, length: int) -> bytes:
        """``length`` bytes from offset ``at``; fewer only at the end. May raise EvidenceError."""
        ...


class Memory:
    """Bytes that are in memory already."""

    __slots__ = ("_data", "size")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = data if isinstance(data, bytes) else memoryview(data).cast("B")
        self.size = len(self._data)

    def read(self, at: int, length: int) -> bytes:
        """A copy of a part."""
        return bytes(self._data[at : at + length])


class Spliced:
    """An input without some ranges of it: what a reader that skips them reads."""

    __slots__ = ("_holes", "_source", "size")

    def __init__(self, source: Readable, holes: tuple[tuple[int, int], ...]) -> None:
        """``holes``: (offset, length), ascending; each offset counts without the holes before it."""
        self._source = source
        self._holes = holes
        self.size = source.size - sum(length for _, length in holes)

    def read(self, at: int, length: int) -> bytes:
        """Bytes as if what is left out was not there."""
        parts: list[bytes] = []
        end, skipped = at + length, 0
        for start, missing in (*self._holes, (self.size, 0)):
            if at < start and at < end:
                count = min(start, end) - at
                parts.append(self._source.read(at + skipped, count))
                at += count
            skipped += missing
        return b"".join(parts)
