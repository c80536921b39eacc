"""Tiles and entry bundles as C2SP tlog-tiles lays them out.

The tree is cut into tiles 256 wide: tile (level L, index N) holds the up to 256 nodes of height 8·L that
start at node 256·N. Entries themselves stand in bundles of up to 256, each entry behind its length (two
bytes, big-endian). A tile or bundle that is not full yet is *partial* and says its width in its path:
``tile/0/x001/x234/067.p/8``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..core.errors import EvidenceError, ResourceLimitError
from ..core.quantity import quantity
from .merkle import HASH_SIZE

WIDTH = 256
MAX_ENTRY = 65535
MAX_BUNDLE = WIDTH * (2 + MAX_ENTRY)
MAX_SIZE = 1 << 63
"""No tree here grows this large; sizes at or above it are refused when read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which tile or bundle a path names; ``level`` is None for an entry bundle."""

    level: int | None
    index: int
    width: int = WIDTH

    def path(self) -> str:
        """The path below the ledger's folder."""
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_spell(self.index)}{partial}"

    @property
    def first_entry(self) -> int:
        """The index of the first entry this tile or bundle speaks of."""
        return self.index * WIDTH << 8 * (self.level or 0)


def _spell(index: int) -> str:
    """Three digits a folder, all but the last marked with ``x``: 1234067 is ``x001/x234/067``."""
    text = f"{index % 1000:03d}"
    while index := index // 1000:
        text = f"x{index % 1000:03d}/{text}"
    return text


def width_at(size: int, level: int, index: int) -> int:
    """How many nodes tile ``index`` of ``level`` has in a tree of ``size`` leaves: 0 to 256."""
    return max(0, min(WIDTH, (size >> 8 * level) - index * WIDTH))


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """The entries, each behind its length; raises EvidenceError when one is longer than 65,535 bytes."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise EvidenceError(f"an entry of {len(entry)} bytes does not fit a bundle")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def decode_bundle(data: bytes, limit: int = WIDTH) -> list[bytes]:
    """The entries of a bundle.

    Raises EvidenceError when the data ends inside an entry, ResourceLimitError beyond ``limit`` entries.
    """
    entries: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        stop = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if stop > end or at + 2 > end:
            raise EvidenceError(f"entry bundle ends within entry {len(entries)} of it")
        if len(entries) == limit:
            raise ResourceLimitError(f"entry bundle holds more than {limit} entries")
        entries.append(data[at + 2 : stop])
        at = stop
    return entries


def encode_tile(hashes: Sequence[bytes]) -> bytes:
    """The hashes one after another."""
    return b"".join(hashes)


def decode_tile(data: bytes) -> list[bytes]:
    """The hashes of a tile; raises EvidenceError unless there are 1 to 256 whole ones."""
    if not data or len(data) % HASH_SIZE or len(data) > WIDTH * HASH_SIZE:
        raise EvidenceError(f"a tile cannot be {quantity(len(data), 'byte')} long")
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]
