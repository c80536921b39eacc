"""Protocol buffers by hand: a message is a list of its fields."""

from __future__ import annotations

from typing import TypeAlias

Value: TypeAlias = "int | str | bytes | list[tuple[int, Value]]"


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def message(*fields: tuple[int, Value]) -> bytes:
    """The bytes of a message with these fields: numbers as such, all else by its length."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
            continue
        data = message(*value) if isinstance(value, list) else value
        data = data.encode() if isinstance(data, str) else data
        out += varint(number << 3 | 2) + varint(len(data)) + data
    return out
