"""The journal: one file that makes entries durable before they reach their tiles.

A header says where it starts (``base``, a multiple of 256) and carries the nodes of the upper levels that are
in no full tile yet; then batches follow, one per commit, each ending in the signed tree head of its commit:

    header  magic · base (u64) · length of nodes (u32) · nodes · CRC-32
    batch   magic · entries (u32) · length of entries (u32) · length of head (u32) · entries · head · CRC-32

Integers are big-endian, entries stand as in an entry bundle, each CRC covers all before it in its part. The
CRC tells a torn write from a whole one; that nobody edited the file is what the signed heads are for. Zeros
may follow the last batch: its writer replaces them by the next ones.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..core.errors import EvidenceError, ResourceLimitError, VerificationError
from ..core.quantity import quantity
from .merkle import HASH_SIZE
from .note import NoteVerifier
from .tile import MAX_SIZE, WIDTH, decode_bundle
from .tree_head import TreeHead

FILE_NAME = "journal"
MAX_BATCH = 64 << 20
"""Bytes of entries in one batch."""
MAX_JOURNAL = 4 << 30
"""A journal longer than this is refused by readers; writers trim long before."""
# Bytes above 0x7f do not occur in JSON entries, which are ASCII: a magic is found where a part starts.
_HEADER = struct.Struct(">4sQI")
_HEADER_MAGIC = b"\x8cVJ\x81"
_BATCH = struct.Struct(">4sIII")
_BATCH_MAGIC = b"\x8cVJ\x82"
_CRC = struct.Struct(">I")
_MAX_HEAD = 16 * 1024
_MAX_NODES = 8 * (WIDTH - 1) * HASH_SIZE
_SEARCH_STEP = 1 << 20
_MAX_CANDIDATES = 256


@dataclass(frozen=True, slots=True)
class Batch:
    """Where one commit stands in the file: its entries are ``first`` to ``first + count - 1``."""

    offset: int
    first: int
    count: int
    entries_length: int
    head: TreeHead

    @property
    def stop(self) -> int:
        """The index after the last entry."""
        return self.first + self.count


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal as read: everything up to ``end`` is whole, what is behind it (to ``length``) is not."""

    handle: int
    base: int
    upper: tuple[tuple[bytes, ...], ...]
    batches: tuple[Batch, ...]
    end: int
    length: int

    @property
    def head(self) -> TreeHead:
        """The tree head of the last commit."""
        return self.batches[-1].head

    @property
    def settled(self) -> int:
        """How many entries were published when this journal was begun."""
        return self.batches[0].stop

    @property
    def begun(self) -> int:
        """Its length when it was begun."""
        return _end_of(self.batches[0])

    def entries(self, batch: Batch) -> list[bytes]:
        """The entries of one batch; raises EvidenceError when they are not as many as it says."""
        data = os.pread(self.handle, batch.entries_length, batch.offset + _BATCH.size)
        entries = decode_bundle(data, batch.count)
        if len(entries) != batch.count:
            raise EvidenceError(
                f"entry {batch.first + len(entries)} is missing from its commit in the journal"
            )
        return entries

    def verify_tail(self, verifier: NoteVerifier, *, alone: bool = False) -> None:
        """Raise VerificationError when a later signed commit stands behind what could be read.

        A crash leaves at most the start of one commit there. A whole later one means that the part before
        it was damaged after it had been made durable, or, unless we are ``alone``, that a writer went on
        since this was read. Who writes begins no commit before those before it are whole: then they can be
        read by now.
        """
        end, size = self._grown(self.end, self.head.size, alone)
        for offset in _candidates(self.handle, end, self.length):
            batch = _read_batch(self.handle, offset, self.length, first=None)
            if batch is None or batch.head.size <= size or not batch.head.is_signed(verifier):
                continue
            end, size = self._grown(end, size, alone)
            if batch.head.size > size:
                raise VerificationError(
                    f"the journal is damaged at entry {size}: a signed commit of "
                    f"{quantity(batch.head.size, 'entry')} follows",
                    where=f"{FILE_NAME}, byte {end}",
                )

    def _grown(self, end: int, size: int, alone: bool) -> tuple[int, int]:
        """Where it ends by now, and after how many entries, when it ended at ``end`` before."""
        while not alone and (later := _read_batch(self.handle, end, self.length, first=size)) is not None:
            end, size = _end_of(later), later.stop
        return end, size


def encode_header(base: int, upper: Sequence[Sequence[bytes]]) -> bytes:
    """The header of a journal that starts at entry ``base``; ``upper[i]`` are nodes of level i + 1."""
    nodes = b"".join(node for level in upper for node in level)
    data = _HEADER.pack(_HEADER_MAGIC, base, len(nodes)) + nodes
    return data + _CRC.pack(zlib.crc32(data))


def encode_batch(count: int, entries: bytes | bytearray, head: bytes) -> bytes:
    """One commit: ``entries`` as in an entry bundle, ``head`` the signed tree head after them."""
    data = b"".join((_BATCH.pack(_BATCH_MAGIC, count, len(entries), len(head)), entries, head))
    return data + _CRC.pack(zlib.crc32(data))


def read_journal(handle: int) -> Journal:
    """Read the journal in an open file, up to its first damaged or missing part.

    Raises EvidenceError when the header or the first batch is not there, ResourceLimitError when the file is
    longer than any journal.
    """
    length = os.fstat(handle).st_size
    if length > MAX_JOURNAL:
        raise ResourceLimitError(f"a journal of {length} bytes is too long")
    base, upper, offset = _read_header(handle)
    batches: list[Batch] = []
    first = base
    while (batch := _read_batch(handle, offset, length, first)) is not None:
        batches.append(batch)
        first = batch.stop
        offset = _end_of(batch)
    if not batches:
        raise EvidenceError(f"the journal is damaged at entry {base}: it has no tree head")
    return Journal(handle, base, upper, tuple(batches), offset, length)


def _read_header(handle: int) -> tuple[int, tuple[tuple[bytes, ...], ...], int]:
    start = os.pread(handle, _HEADER.size, 0)
    if len(start) < _HEADER.size:
        raise EvidenceError("the journal has no header")
    magic, base, nodes_length = _HEADER.unpack(start)
    if magic != _HEADER_MAGIC or base % WIDTH or base >= MAX_SIZE or nodes_length > _MAX_NODES:
        raise EvidenceError("the journal has no valid header")
    rest = os.pread(handle, nodes_length + _CRC.size, _HEADER.size)
    if len(rest) < nodes_length + _CRC.size:
        raise EvidenceError("the header of the journal is cut off")
    nodes = rest[:nodes_length]
    if zlib.crc32(start + nodes) != _CRC.unpack_from(rest, nodes_length)[0]:
        raise EvidenceError("the header of the journal is damaged (CRC)")
    upper: list[tuple[bytes, ...]] = []
    at = 0
    # How many nodes each level has follows from base, so the counts are not written down.
    while count := base >> 8 * (len(upper) + 1):
        stop = at + count % WIDTH * HASH_SIZE
        upper.append(tuple(nodes[i : i + HASH_SIZE] for i in range(at, stop, HASH_SIZE)))
        at = stop
    if at != nodes_length:
        raise EvidenceError(f"the header of the journal has {nodes_length} bytes of nodes instead of {at}")
    return base, tuple(upper), _HEADER.size + nodes_length + _CRC.size


def _read_batch(handle: int, offset: int, length: int, first: int | None) -> Batch | None:
    """The batch at ``offset``; None when none stands there whole, or it does not follow ``first``."""
    start = os.pread(handle, _BATCH.size, offset)
    if len(start) < _BATCH.size:
        return None
    magic, count, entries_length, head_length = _BATCH.unpack(start)
    if magic != _BATCH_MAGIC or entries_length > MAX_BATCH or head_length > _MAX_HEAD:
        return None
    body_length = entries_length + head_length
    if offset + _BATCH.size + body_length + _CRC.size > length:
        return None
    rest = os.pread(handle, body_length + _CRC.size, offset + _BATCH.size)
    if len(rest) < body_length + _CRC.size:
        return None
    body = memoryview(rest)[:body_length]
    if zlib.crc32(body, zlib.crc32(start)) != _CRC.unpack_from(rest, body_length)[0]:
        return None
    try:
        head = TreeHead.parse(rest[entries_length:body_length])
    except EvidenceError:
        return None
    if first is not None and head.size != first + count:
        return None
    return Batch(offset, head.size - count, count, entries_length, head)


def _end_of(batch: Batch) -> int:
    return batch.offset + _BATCH.size + batch.entries_length + len(batch.head.signed) + _CRC.size


def _candidates(handle: int, start: int, stop: int) -> Iterator[int]:
    """Offsets in ``start`` to ``stop`` where a batch may begin.

    Raises EvidenceError when there are more than a torn commit can explain.
    """
    found = 0
    for at in range(start, stop, _SEARCH_STEP):
        # Three bytes more, for a magic across the border.
        data = os.pread(handle, min(_SEARCH_STEP + len(_BATCH_MAGIC) - 1, stop - at), at)
        here = data.find(_BATCH_MAGIC)
        while here >= 0:
            found += 1
            if found > _MAX_CANDIDATES:
                raise EvidenceError(f"the journal is damaged at byte {start}, with many commits behind it")
            yield at + here
            here = data.find(_BATCH_MAGIC, here + 1)
