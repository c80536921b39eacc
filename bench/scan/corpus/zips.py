"""Zips written field by field, so that their two descriptions of a member can differ (APPNOTE.TXT 4.3 and 4.4)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

ENCRYPTED, DESCRIPTOR, UTF8 = 1, 8, 0x800
STORED, DEFLATED = 0, 8
_DATE = 0x21


@dataclass(frozen=True, slots=True)
class Header:
    """What one of the two headers says of a member; None means what is true."""

    name: bytes | None = None
    flags: int | None = None
    method: int | None = None
    crc: int | None = None
    packed: int | None = None
    unpacked: int | None = None
    extra: bytes = b""
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A member. ``local`` and ``central`` say what their headers say otherwise; None leaves the header out."""

    name: bytes
    data: bytes
    method: int = STORED
    local: Header | None = field(default_factory=Header)
    central: Header | None = field(default_factory=Header)
    descriptor: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """The end record. ``count`` and ``offset``: None means what is true."""

    count: int | None = None
    offset: int | None = None
    disk: int = 0
    comment: bytes = b""
    said_comment: int | None = None
    there: bool = True


def build(
    members: Sequence[Member],
    ending: Ending | None = None,
    before: bytes = b"",
    between: bytes = b"",
    after: bytes = b"",
    *,
    counted: bool = True,
) -> bytes:
    """The archive, with bytes ``before`` it, ``between`` its data and its directory, and ``after`` it.

    ``counted``: offsets count what is before, as a file says that was made so; else they are wrong by it,
    as in a file that something was put in front of.
    """
    ending = ending or Ending()
    shift = len(before) if counted else 0
    data, places = b"", []
    for one in members:
        places.append(len(data) + shift)
        data += _local(one)
    data += between
    directory = b"".join(_central(one, place) for one, place in zip(members, places, strict=True))
    count = sum(one.central is not None for one in members) if ending.count is None else ending.count
    offset = len(data) + shift if ending.offset is None else ending.offset
    said = len(ending.comment) if ending.said_comment is None else ending.said_comment
    end = struct.pack(
        "<4s4H2LH", b"PK\5\6", ending.disk, ending.disk, count, count, len(directory), offset, said
    )
    return before + data + directory + (end + ending.comment if ending.there else b"") + after


def _packed(member: Member) -> bytes:
    if member.method != DEFLATED:
        return member.data
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(member.data) + packer.flush()


def _true(member: Member, said: Header) -> Header:
    """What a header says, with the truth where it says nothing."""
    packed = _packed(member)
    return replace(
        said,
        name=member.name if said.name is None else said.name,
        flags=(DESCRIPTOR if member.descriptor else 0) if said.flags is None else said.flags,
        method=member.method if said.method is None else said.method,
        crc=zlib.crc32(member.data) if said.crc is None else said.crc,
        packed=len(packed) if said.packed is None else said.packed,
        unpacked=len(member.data) if said.unpacked is None else said.unpacked,
    )


def _local(member: Member) -> bytes:
    packed = _packed(member)
    if member.local is None:
        return packed
    said = _true(member, member.local)
    name = said.name or b""
    sizes = (said.crc, said.packed, said.unpacked)
    if member.descriptor:
        sizes = (0, 0, 0)
        truth = struct.pack("<4s3L", b"PK\7\x08", zlib.crc32(member.data), len(packed), len(member.data))
    else:
        truth = b""
    head = struct.pack(
        "<4s5H3L2H", b"PK\3\4", 20, said.flags, said.method, 0, _DATE, *sizes, len(name), len(said.extra)
    )
    return head + name + said.extra + packed + truth


def _central(member: Member, place: int) -> bytes:
    if member.central is None:
        return b""
    said = _true(member, member.central)
    name = said.name or b""
    where = place if said.offset is None else said.offset
    head = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 20, 20, said.flags, said.method, 0, _DATE, said.crc, said.packed, said.unpacked,
        len(name), len(said.extra), 0, 0, 0, 0, where,
    )  # fmt: skip
    return head + name + said.extra
