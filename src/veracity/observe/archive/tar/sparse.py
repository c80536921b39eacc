"""Members of a tar that are stored without their holes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from ....core.errors import EvidenceError
from ...artifact.input import Input
from .headers import BLOCK, sparse_pieces

MAX_PIECES = 200_000
MAX_MAP = 4 << 20


class SparseSource:
    """A source of ``size`` bytes: pieces that lie one after the other in ``whole`` from ``at``, and zeros.

    Of pieces that overlap, the later one counts, as where they are written one after the other.
    """

    def __init__(self, whole: Input, at: int, pieces: Sequence[tuple[int, int]], size: int) -> None:
        """``pieces``: offset in this source and length of each."""
        self._whole = whole
        self._size = size
        self._pieces: list[tuple[int, int, int]] = []
        for offset, length in pieces:
            self._pieces.append((offset, length, at))
            at += length
        self._ordered = all(
            one[0] + one[1] <= other[0] for one, other in zip(self._pieces, self._pieces[1:], strict=False)
        )
        self._starts = [one[0] for one in self._pieces]

    @property
    def size(self) -> int:
        """Bytes with holes."""
        return self._size

    def read(self, at: int, length: int) -> bytes:
        """A part, with zeros in the holes; raises EvidenceError."""
        end = min(self._size, at + max(0, length))
        if at >= end:
            return b""
        out = bytearray(end - at)
        first = max(0, bisect_right(self._starts, at) - 1) if self._ordered else 0
        for offset, size, place in self._pieces[first:]:
            if self._ordered and offset >= end:
                break
            start, stop = max(at, offset), min(end, offset + size)
            if start < stop:
                data = self._whole.read(place + start - offset, stop - start)
                out[start - at : start - at + len(data)] = data
        return bytes(out)


def more_pieces(whole: Input, at: int) -> tuple[list[tuple[int, int]], int]:
    """Pieces in the blocks that follow an old GNU header, and where the data begin."""
    found: list[tuple[int, int]] = []
    while True:
        block = whole.read(at, BLOCK)
        if len(block) < BLOCK:
            raise EvidenceError("its map of a sparse member is cut off", where=whole.name)
        found += sparse_pieces(block[:504])
        at += BLOCK
        _bounded(found, whole)
        if block[504:505] == b"\0":
            return found, at


def pax_map(records: dict[bytes, bytes], pairs: list[tuple[bytes, bytes]]) -> list[tuple[int, int]] | None:
    """The map in an extended header of GNU's formats 0.1 and 0.0, None when there is none that is valid."""
    if b"GNU.sparse.map" in records:
        numbers = [_decimal(one) for one in records[b"GNU.sparse.map"].split(b",")]
    elif b"GNU.sparse.size" in records:
        kinds = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
        numbers = [_decimal(value) for key, value in pairs if key in kinds]
    else:
        return None
    if any(one < 0 for one in numbers):
        return None
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def leading_map(whole: Input, at: int) -> tuple[list[tuple[int, int]], int]:
    """The map that format 1.0 puts before the data: lines of decimal numbers, filled up to whole blocks."""
    text = bytearray()
    ends = 0
    wanted = 1
    while ends < wanted and len(text) < MAX_MAP:
        block = whole.read(at, BLOCK)
        if len(block) < BLOCK:
            break
        at += BLOCK
        text += block
        ends += block.count(b"\n")
        if wanted == 1 and ends:
            wanted = 1 + 2 * _decimal(bytes(text).split(b"\n", 1)[0])
    numbers = [_decimal(line) for line in bytes(text).split(b"\n")[:wanted]]
    if ends < wanted or any(one < 0 for one in numbers):
        raise EvidenceError("its map of a sparse member cannot be read", where=whole.name)
    return list(zip(numbers[1::2], numbers[2::2], strict=True)), at


def _decimal(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) <= 20 else -1


def _bounded(pieces: list[tuple[int, int]], whole: Input) -> None:
    if len(pieces) > MAX_PIECES:
        raise EvidenceError(f"has a sparse member of more than {MAX_PIECES:,} pieces", where=whole.name)
