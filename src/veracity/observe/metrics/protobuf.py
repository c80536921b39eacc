"""As much of protocol buffers as files of metrics need: fields of a message, by number.

Wire format as specified at protobuf.dev (encoding). Groups, deprecated since version 2, end the reading.

:mod:`veracity.observe.protobuf.wire` walks through files by a window. These messages are in memory, small and
many: a monitor reads them beside the training, and this takes a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Iterator

MAX_FIELDS = 10_000
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """``(field number, wire type, value)``: an int for varints, the raw bytes for all others.

    Ends early, without a word, where ``data`` is malformed or holds more than ``MAX_FIELDS`` fields.
    """
    at = 0
    for _ in range(MAX_FIELDS):
        if at >= len(data):
            return
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            if at < 0:
                return
            yield tag >> 3, kind, value
            continue
        if kind == LENGTH:
            size, at = _varint(data, at)
        else:
            size = {FIXED64: 8, FIXED32: 4}.get(kind, -1)
        if at < 0 or size < 0 or at + size > len(data):
            return
        yield tag >> 3, kind, data[at : at + size]
        at += size


def signed(value: int) -> int:
    """A varint as the int64 it stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at ``at`` and what comes after it; ``(0, -1)`` when it is cut short or too long."""
    value = 0
    if at < 0:
        return 0, -1
    for position in range(10):
        if at + position >= len(data):
            return 0, -1
        byte = data[at + position]
        value |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value & ((1 << 64) - 1), at + position + 1
    return 0, -1
