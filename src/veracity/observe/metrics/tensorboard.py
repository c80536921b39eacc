"""TensorBoard's event files: records with checksums, each an ``Event`` that may hold scalars.

The framing is TFRecord's: length (8 bytes, little-endian), masked CRC-32C of the length, data, masked CRC-32C
of the data. Event, Summary and TensorProto have the field numbers of TensorBoard's ``event.proto``,
``summary.proto`` and ``tensor.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ...core.observation import LoggedValue
from .number import Interval, around, single
from .protobuf import FIXED32, FIXED64, LENGTH, VARINT, fields, signed

MAX_RECORD = 8 << 20
MAX_CHECKED = 4096
MAX_NAME = 100
DT_FLOAT, DT_DOUBLE = 1, 2
_POLYNOMIAL = 0x82F63B78
_HEAD = struct.Struct("<QI")


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


_TABLE = _table()


def masked_crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and shifted as TFRecord stores it."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


class EventFile:
    """Scalars of an event file: ``simple_value``, and rank-0 tensors of 32 or 64 bits."""

    whole = False

    def __init__(self) -> None:
        self.damaged = ""
        self._rest = b""
        self._skip = 0

    def feed(self, data: bytes) -> Iterator[LoggedValue]:
        """The scalars of the records that ``data`` completes."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        data = self._rest + data[skipped:]
        at = 0
        while not self.damaged and len(data) - at >= 12:
            size, check = _HEAD.unpack_from(data, at)
            if masked_crc32c(data[at : at + 8]) != check:
                self.damaged = "the checksum of a record's length does not fit"
                break
            end = at + 12 + size + 4
            if size > MAX_RECORD:
                self._skip = max(0, end - len(data))
                at = min(end, len(data))
                continue
            if end > len(data):
                break
            body = data[at + 12 : end - 4]
            # Pictures and graphs are large and hold no scalars: not worth a checksum in Python.
            if size <= MAX_CHECKED:
                if masked_crc32c(body) != int.from_bytes(data[end - 4 : end], "little"):
                    self.damaged = "the checksum of a record does not fit"
                    break
                yield from _scalars(body)
            at = end
        self._rest = b"" if self.damaged else data[at:]


def _scalars(event: bytes) -> Iterator[LoggedValue]:
    step: int | None = None
    summaries: list[bytes] = []
    for number, kind, value in fields(event):
        if number == 2 and kind == VARINT and isinstance(value, int):
            step = signed(value)
        elif number == 5 and kind == LENGTH and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for number, kind, value in fields(summary):
            if number == 1 and kind == LENGTH and isinstance(value, bytes):
                yield from _value(value, step if step is not None else 0)


def _value(data: bytes, step: int) -> Iterator[LoggedValue]:
    tag, found = "", None
    for number, kind, value in fields(data):
        if not isinstance(value, bytes):
            continue
        if number == 1 and kind == LENGTH:
            tag = value.decode("utf-8", "replace")[:MAX_NAME]
        elif number == 2 and kind == FIXED32:
            found = single(value)
        elif number == 8 and kind == LENGTH:
            found = _tensor(value)
    if tag and found is not None:
        yield LoggedValue(tag, step if 0 <= step < 10**15 else None, *found)


def _tensor(data: bytes) -> Interval | None:
    """The one element of a TensorProto of floats, None when it is something else."""
    dtype, raw, several = 0, b"", False
    for number, kind, value in fields(data):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif isinstance(value, bytes) and number in (4, 5, 6) and kind in (LENGTH, FIXED32, FIXED64):
            several = several or bool(raw)
            raw = value
    if several:
        return None
    if dtype == DT_FLOAT and len(raw) == 4:
        return single(raw)
    if dtype == DT_DOUBLE and len(raw) == 8:
        number_: float = struct.unpack("<d", raw)[0]
        return around(number_, 2.0**-52)
    return None
