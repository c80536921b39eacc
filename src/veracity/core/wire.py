"""Frames: what the guard writes to its spool and socket, and the monitor reads.

``VF01`` · header length (u32) · blob length (u32) · CRC-32 of header and blob (u32) · header · blob, all
little-endian. The header is JSON: ``{"k": kind, "s": sequence number, "t": time in ns, "b": body}``.
The CRC finds accidents (a torn write, a full disk); edits are found by the ledger, not by it.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import EvidenceError, ResourceLimitError
from .quantity import quantity

MAGIC = b"VF01"
HEAD = struct.Struct("<4sIII")
MAX_HEADER = 4 << 20
MAX_BLOB = 64 << 20
_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Frame:
    """One framed record, not yet interpreted. ``raw`` is the whole frame as it was read."""

    header: bytes
    blob: bytes
    raw: bytes


def pack(kind: str, seq: int, at: int, body: Mapping[str, object], blob: bytes = b"") -> bytes:
    """The frame of one record."""
    header = _ENCODER.encode({"k": kind, "s": seq, "t": at, "b": body}).encode("ascii")
    crc = zlib.crc32(blob, zlib.crc32(header))
    return HEAD.pack(MAGIC, len(header), len(blob), crc) + header + blob


def unpack(buffer: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Frame, int] | None:
    """The frame at ``offset`` and the offset behind it; None when the buffer ends within the frame.

    Raises EvidenceError when what stands there is not a frame, ResourceLimitError when it claims to be
    larger than any frame the guard writes.
    """
    view = memoryview(buffer)
    if len(view) - offset < HEAD.size:
        return None
    magic, header_length, blob_length, crc = HEAD.unpack_from(view, offset)
    if magic != MAGIC:
        raise EvidenceError(f"no frame at offset {offset}")
    if header_length > MAX_HEADER or blob_length > MAX_BLOB:
        raise ResourceLimitError(
            f"frame at offset {offset} claims {quantity(header_length + blob_length, 'byte')}"
        )
    start = offset + HEAD.size
    end = start + header_length + blob_length
    if len(view) < end:
        return None
    raw = bytes(view[offset:end])
    header = raw[HEAD.size : HEAD.size + header_length]
    blob = raw[HEAD.size + header_length :]
    if zlib.crc32(blob, zlib.crc32(header)) != crc:
        raise EvidenceError(f"frame at offset {offset} is damaged (CRC)")
    return Frame(header, blob, raw), end
