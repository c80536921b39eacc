"""Files of metrics as their writers lay them out, made by hand."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence

from veracity.observe.metrics.tensorboard import masked_crc32c

BLOCK = 32 << 10


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def block(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def record(data: bytes) -> bytes:
    """One record of an event file."""
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc32c(head)) + data + struct.pack("<I", masked_crc32c(data))


def scalar(tag: str, step: int, value: float) -> bytes:
    """An event with a ``simple_value``."""
    inner = block(1, tag.encode()) + varint(2 << 3 | 5) + struct.pack("<f", value)
    return (
        varint(1 << 3 | 1)
        + struct.pack("<d", 1.5)
        + varint(2 << 3)
        + varint(step)
        + block(5, block(1, inner))
    )


def tensor(tag: str, step: int, dtype: int, raw: bytes) -> bytes:
    """An event with a tensor of rank 0, its value in ``tensor_content``."""
    proto = varint(1 << 3) + varint(dtype) + block(2, b"") + block(4, raw)
    inner = block(1, tag.encode()) + block(8, proto) + block(9, b"")
    return varint(2 << 3) + varint(step) + block(5, block(1, inner))


def history(row: dict[str, object], step: int) -> bytes:
    """A W&B record of one logged row."""
    items = b"".join(
        block(1, block(2, key.encode()) + block(16, json.dumps(value).encode())) for key, value in row.items()
    )
    return varint(1 << 3) + varint(7) + block(2, items + block(2, varint(1 << 3) + varint(step)))


def wandb_file(records: Sequence[bytes]) -> bytes:
    """A ``.wandb`` file, with records cut at the ends of blocks."""
    out = bytearray(b":W&B\xe1\xbe\x00")
    for data in records:
        first = True
        while True:
            left = BLOCK - len(out) % BLOCK
            if left < 7:
                out += b"\0" * left
                continue
            part, data = data[: left - 7], data[left - 7 :]
            kind = (1 if first else 4) if not data else (2 if first else 3)
            out += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
            first = False
            if not data:
                break
    return bytes(out)
