"""The records of a zip archive, each as it stands there (PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ...artifact.input import Input

LOCAL = b"PK\x03\x04"
CENTRAL = b"PK\x01\x02"
END = b"PK\x05\x06"
END64 = b"PK\x06\x06"
LOCATOR64 = b"PK\x06\x07"
DESCRIPTOR = b"PK\x07\x08"

ENCRYPTED = 1
DESCRIBED = 8
"""Sizes and checksum stand behind the data, in a descriptor."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_FIELD = struct.Struct("<2H")
LOCAL_SIZE, CENTRAL_SIZE, END_SIZE = _LOCAL.size, _CENTRAL.size, _END.size
END64_SIZE, LOCATOR64_SIZE = _END64.size, _LOCATOR64.size

_UNIX = (3, 19)
"""Systems whose members have a mode in the upper half of their attributes: Unix and Darwin."""
_SATURATED = 0xFFFFFFFF
_NAME_AHEAD = 256


@dataclass(frozen=True, slots=True)
class Local:
    """The header before a member's data. ``data`` is where these begin; ``packed`` and ``size`` in bytes."""

    at: int
    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    data: int

    @property
    def described(self) -> bool:
        """Whether sizes and checksum are told behind the data only."""
        return bool(self.flags & DESCRIBED)


@dataclass(frozen=True, slots=True)
class Central:
    """One record of a directory.

    ``header``: where the member's own header is said to be; ``mode``: that of Unix, 0 without one.
    ``unicode``: the name by the field of Info-ZIP that some readers prefer; empty without a valid one.
    """

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    mode: int
    unicode: bytes


@dataclass(frozen=True, slots=True)
class End:
    """An end record, or what a zip64 one says in its place. ``upto``: where what it belongs to ends.

    ``records``: the number told; ``size`` and ``offset`` of the directory as told. ``adjacent``: some readers
    take the directory to end right here; who passes over zip64 records looks at the offset alone.
    """

    at: int
    upto: int
    records: int
    size: int
    offset: int
    adjacent: bool = True


def read_local(whole: Input, at: int) -> Local | None:
    """The header at ``at``, None when there is none."""
    start = whole.read(at, LOCAL_SIZE + _NAME_AHEAD)
    if len(start) < LOCAL_SIZE or start[:4] != LOCAL:
        return None
    fields = _LOCAL.unpack_from(start)
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = fields
    if len(start) < LOCAL_SIZE + name_length + extra_length:
        start += whole.read(at + len(start), LOCAL_SIZE + name_length + extra_length - len(start))
    name = start[LOCAL_SIZE : LOCAL_SIZE + name_length]
    extra = start[LOCAL_SIZE + name_length : LOCAL_SIZE + name_length + extra_length]
    if _SATURATED in (packed, size):
        size, packed = _wide(extra, (size, packed))
    data = at + LOCAL_SIZE + name_length + extra_length
    return Local(at, name, flags, method, crc, packed, size, data)


def central_at(data: bytes, at: int) -> tuple[Central, int] | None:
    """The record at an offset of a directory, and where the next one begins; None when there is none."""
    if data[at : at + 4] != CENTRAL or len(data) - at < CENTRAL_SIZE:
        return None
    (
        _, made_by, _, flags, method, _, _, crc, packed, size,
        name_length, extra_length, comment_length, _, _, attributes, header,
    ) = _CENTRAL.unpack_from(data, at)  # fmt: skip
    at += CENTRAL_SIZE
    name = data[at : at + name_length]
    unicode = b""
    if extra_length:
        extra = data[at + name_length : at + name_length + extra_length]
        if _SATURATED in (packed, size, header):
            size, packed, header = _wide(extra, (size, packed, header))
        unicode = _unicode_path(extra, name)
    mode = attributes >> 16 if made_by >> 8 in _UNIX else 0
    found = Central(name, flags, method, crc, packed, size, header, mode, unicode)
    return found, at + name_length + extra_length + comment_length


def end_at(whole: Input, tail: bytes, tail_at: int, at: int) -> Iterator[End]:
    """What the end record at offset ``at`` of the input says: by itself and through zip64 records before it.

    ``tail`` is what the input has from ``tail_at`` to its end.
    """
    _, _, _, _, records, size, offset, comment = _END.unpack_from(tail, at - tail_at)
    upto = min(whole.size, at + END_SIZE + comment)
    wide = list(_end64_at(whole, at, upto))
    yield from wide
    # Readers that know zip64 take it wherever there is a locator, others where a field is full.
    if not wide or not (records == 0xFFFF or _SATURATED in (size, offset)):
        yield End(at, upto, records, size, offset, adjacent=not wide)


def _end64_at(whole: Input, end: int, upto: int) -> Iterator[End]:
    at = end - LOCATOR64_SIZE
    locator = whole.read(at, LOCATOR64_SIZE)
    if len(locator) < LOCATOR64_SIZE or locator[:4] != LOCATOR64:
        return
    _, _, told, _ = _LOCATOR64.unpack(locator)
    # Some look right before the locator, some where it points, some there when something stands in front.
    for place in dict.fromkeys((at - END64_SIZE, told)):
        record = whole.read(place, END64_SIZE)
        if len(record) == END64_SIZE and record[:4] == END64:
            _, _, _, _, _, _, _, records, size, offset = _END64.unpack(record)
            yield End(place, upto, records, size, offset)


def descriptor_size(whole: Input, at: int, crc: int, packed: int, size: int) -> int:
    """Bytes of the data descriptor at ``at``, 0 when none stands there that fits the member."""
    read = whole.read(at, 24)
    signed = read[:4] == DESCRIPTOR
    body = read[4:] if signed else read
    if not signed and body[:4] != crc.to_bytes(4, "little"):
        return 0
    if body[4:20] == packed.to_bytes(8, "little") + size.to_bytes(8, "little"):
        return 24 if signed else 20
    if signed or body[4:8] == (packed & _SATURATED).to_bytes(4, "little"):
        return min(len(read), 16 if signed else 12)
    return 0


def _wide(extra: bytes, values: tuple[int, ...]) -> tuple[int, ...]:
    """``values`` with those that are full taken from the zip64 field, in its order."""
    for kind, field in _fields(extra):
        if kind == 1:
            found = []
            at = 0
            for value in values:
                if value == _SATURATED and len(field) >= at + 8:
                    value = int.from_bytes(field[at : at + 8], "little")
                    at += 8
                found.append(value)
            return tuple(found)
    return values


def _unicode_path(extra: bytes, name: bytes) -> bytes:
    for kind, field in _fields(extra):
        if kind == 0x7075 and field[:1] == b"\x01" and field[1:5] == zlib.crc32(name).to_bytes(4, "little"):
            return field[5:]
    return b""


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = _FIELD.unpack_from(extra, at)
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length
