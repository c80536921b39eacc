"""Zip archives put together record by record, so that each can say something else than the others."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass


@dataclass
class Member:
    """What is written of one member; what is left None in ``local`` or ``central`` is the truth."""

    name: bytes
    data: bytes
    method: int = 0
    flags: int = 0
    local: dict[str, int | bytes] | None = None
    central: dict[str, int | bytes] | None = None
    descriptor: bool = False
    listed: bool = True
    extra: bytes = b""
    mode: int = 0

    @property
    def packed(self) -> bytes:
        if self.method == 8:
            compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
            return compressor.compress(self.data) + compressor.flush()
        return self.data

    def header(self) -> bytes:
        """The local header and the data."""
        told = self._told(self.local)
        if self.descriptor:
            told |= {"flags": self.flags | 8, "crc": 0, "packed": 0, "size": 0}
        name = bytes(told["name"])
        fixed = struct.pack(
            "<4s5H3I2H", b"PK\x03\x04", 20, told["flags"], told["method"], 0, 0,
            told["crc"], told["packed"], told["size"], len(name), len(self.extra),
        )  # fmt: skip
        after = b""
        if self.descriptor:
            sizes = (zlib.crc32(self.data), len(self.packed), len(self.data))
            after = struct.pack("<4s3I", b"PK\x07\x08", *sizes)
        return fixed + name + self.extra + self.packed + after

    def record(self, at: int) -> bytes:
        """The record of the directory."""
        told = self._told(self.central)
        if self.descriptor:
            told["flags"] = self.flags | 8
        name = bytes(told["name"])
        return (
            struct.pack(
                "<4s6H3I5H2I", b"PK\x01\x02", 3 << 8 | 20, 20, told["flags"], told["method"], 0, 0,
                told["crc"], told["packed"], told["size"], len(name), 0, 0, 0, 0,
                self.mode << 16, told.get("at", at),
            )
            + name
        )  # fmt: skip

    def _told(self, other: dict[str, int | bytes] | None) -> dict[str, int | bytes]:
        truth: dict[str, int | bytes] = {
            "name": self.name,
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.data),
            "packed": len(self.packed),
            "size": len(self.data),
        }
        return truth | (other or {})


def end(records: int, size: int, offset: int, comment: bytes = b"") -> bytes:
    """An end record."""
    return (
        struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, records, records, size, offset, len(comment)) + comment
    )


def archive(
    *members: Member | bytes,
    before: bytes = b"",
    after: bytes = b"",
    comment: bytes = b"",
    told: int | None = None,
) -> bytes:
    """An archive of ``members``; bytes among them stand between two members."""
    data = before
    records = []
    for member in members:
        if isinstance(member, bytes):
            data += member
            continue
        if member.listed:
            records.append(member.record(len(data)))
        data += member.header()
    directory = b"".join(records)
    closing = end(len(records) if told is None else told, len(directory), len(data), comment)
    return data + directory + closing + after
