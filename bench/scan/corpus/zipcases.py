"""Torch zips and plain ones about which readers disagree. In nearly all, some reader that people use gets the payload; in the rest it lies hidden."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

from .assemble import Call, Name, stream
from .containers import checkpoint
from .gadgets import TRUE
from .sample import Sample
from .zips import DEFLATED, DESCRIPTOR, ENCRYPTED, UTF8, Ending, Header, Member, build

SYSTEM = Name("os", "system")
BAD = checkpoint(Call(SYSTEM, (TRUE,)))
GOOD = checkpoint(3)
PICKLE = stream(Call(SYSTEM, (TRUE,)), 2)
NAME = b"archive/data.pkl"
REST = (
    Member(b"archive/byteorder", b"little"),
    Member(b"archive/data/0", struct.pack("<f", 1.0)),
    Member(b"archive/version", b"3\n"),
)
PAYLOAD, INNOCENT = Member(NAME, BAD), Member(NAME, GOOD)


def zip_cases() -> Iterator[Sample]:
    """All samples of this module."""
    for cases in (_headers(), _sizes(), _twice(), _around(), _ends()):
        for word, data in cases.items():
            yield Sample(f"zip-{word}", 7, "torch-zip", str(SYSTEM), {"model.pt": data})
    for word, name in _names().items():
        data = build((Member(name, PICKLE), Member(b"readme.txt", b"weights\n")))
        yield Sample(f"zip-name-{word}", 7, "archive", str(SYSTEM), {"model.zip": data})


def _with(member: Member, **local_and_central: Header | None) -> bytes:
    return build((replace(member, **local_and_central), *REST))  # type: ignore[arg-type]


def _headers() -> dict[str, bytes]:
    """The local header and the central directory tell different things."""
    harmless = b"archive/notes.md"
    return {
        "local-name-other": _with(PAYLOAD, local=Header(name=harmless)),
        "central-name-other": build((replace(PAYLOAD, central=Header(name=harmless)), *REST)),
        "local-encrypted": _with(PAYLOAD, local=Header(flags=ENCRYPTED)),
        "central-encrypted": _with(PAYLOAD, central=Header(flags=ENCRYPTED)),
        "both-encrypted": _with(PAYLOAD, local=Header(flags=ENCRYPTED), central=Header(flags=ENCRYPTED)),
        "strong-encryption": _with(PAYLOAD, local=Header(flags=0x41)),
        "patched-data": _with(PAYLOAD, local=Header(flags=0x20)),
        "masked-headers": _with(PAYLOAD, local=Header(flags=0x2000)),
        "utf8-of-one": _with(PAYLOAD, local=Header(flags=UTF8)),
        "local-crc": _with(PAYLOAD, local=Header(crc=0)),
        "central-crc": _with(PAYLOAD, central=Header(crc=1)),
        "both-crc": _with(PAYLOAD, local=Header(crc=1), central=Header(crc=1)),
        "all-crc": build([replace(one, central=Header(crc=7)) for one in (PAYLOAD, *REST)]),
        "local-method": _with(PAYLOAD, local=Header(method=DEFLATED)),
        "local-method-unknown": _with(PAYLOAD, local=Header(method=99)),
        "central-method-unknown": _with(PAYLOAD, central=Header(method=99)),
        "deflated-said-stored": _with(replace(PAYLOAD, method=DEFLATED), local=Header(method=0)),
        "unicode-path": _with(PAYLOAD, central=Header(name=harmless, extra=_unicode_path(harmless, NAME))),
        "unicode-path-local": _with(PAYLOAD, local=Header(extra=_unicode_path(NAME, harmless))),
        "extra-broken": _with(PAYLOAD, central=Header(extra=b"\x01\x00\xff\xff")),
        "extra-local-long": _with(PAYLOAD, local=Header(extra=b"FB\x40\x00" + b"Z" * 64)),
    }


def _unicode_path(name: bytes, other: bytes) -> bytes:
    """The Info-ZIP extra field that gives a member another name."""
    body = b"\x01" + struct.pack("<L", zlib.crc32(name)) + other
    return struct.pack("<2H", 0x7075, len(body)) + body


def _sizes() -> dict[str, bytes]:
    """Sizes differ, or stand behind the data."""
    wide = struct.pack("<2H2Q", 1, 16, len(BAD), len(BAD))
    large = 0xFFFFFFFF
    return {
        "local-size-0": _with(PAYLOAD, local=Header(packed=0, unpacked=0)),
        "local-size-large": _with(PAYLOAD, local=Header(packed=large, unpacked=large)),
        "local-unpacked": _with(PAYLOAD, local=Header(unpacked=3)),
        "descriptor": build((replace(PAYLOAD, descriptor=True), *REST)),
        "descriptor-deflated": build((replace(PAYLOAD, descriptor=True, method=DEFLATED), *REST)),
        "descriptor-of-one": _with(PAYLOAD, local=Header(flags=DESCRIPTOR)),
        "wide-central": _with(PAYLOAD, central=Header(packed=large, unpacked=large, extra=wide)),
        "wide-both": _with(
            PAYLOAD,
            local=Header(packed=large, unpacked=large, extra=wide),
            central=Header(packed=large, unpacked=large, extra=wide),
        ),
        "wide-lies": _with(PAYLOAD, central=Header(extra=struct.pack("<2H2Q", 1, 16, 3, 3))),
        "central-longer": _with(PAYLOAD, central=Header(packed=len(BAD) + 9, unpacked=len(BAD) + 9)),
    }


def _twice() -> dict[str, bytes]:
    """Two members of one name, two entries of one member, members in one only."""
    bad_first = (PAYLOAD, INNOCENT, *REST)
    offset = 30 + len(NAME) + len(GOOD)
    hidden = replace(PAYLOAD, central=None)
    return {
        "twice-bad-first": build(bad_first),
        "twice-bad-last": build((INNOCENT, PAYLOAD, *REST)),
        "twice-bad-end": build((INNOCENT, *REST, PAYLOAD)),
        "thrice": build((INNOCENT, PAYLOAD, INNOCENT, *REST)),
        "case-differs": build((INNOCENT, replace(PAYLOAD, name=b"archive/DATA.PKL"), *REST)),
        "slash-differs": build((INNOCENT, replace(PAYLOAD, name=b"archive//data.pkl"), *REST)),
        "backslash": build((INNOCENT, replace(PAYLOAD, name=b"archive\\data.pkl"), *REST)),
        "dot-differs": build((INNOCENT, replace(PAYLOAD, name=b"archive/./data.pkl"), *REST)),
        "local-only": build((INNOCENT, *REST, hidden)),
        "local-only-first": build((hidden, INNOCENT, *REST)),
        "offset-elsewhere": build((replace(INNOCENT, central=Header(offset=offset, crc=zlib.crc32(BAD), packed=len(BAD), unpacked=len(BAD))), hidden, *REST)),
        "entries-overlap": build((PAYLOAD, Member(b"archive/copy.pkl", b"", local=None, central=Header(offset=0, crc=zlib.crc32(BAD), packed=len(BAD), unpacked=len(BAD))), *REST)),
        "folder-with-data": build((INNOCENT, replace(PAYLOAD, name=b"archive/data.pkl/"), *REST)),
        "inside-stored": build((INNOCENT, Member(b"archive/data/1", build((PAYLOAD, *REST))), *REST)),
    }  # fmt: skip


def _around() -> dict[str, bytes]:
    """Bytes before, between and behind: what starts as a pickle is loaded as one, whatever follows."""
    clean, bad = (INNOCENT, *REST), (PAYLOAD, *REST)
    return {
        "pickle-before": build(clean, before=PICKLE),
        "pickle-before-counted-not": build(clean, before=PICKLE, counted=False),
        "garbage-before": build(bad, before=b"\0" * 64),
        "garbage-before-counted-not": build(bad, before=b"#!/bin/sh\n", counted=False),
        "png-before": build(bad, before=b"\x89PNG\r\n\x1a\n" + bytes(40)),
        "pickle-between": build(clean, between=PICKLE),
        "member-between": build(clean, between=build((PAYLOAD,), Ending(there=False))),
        "pickle-after": build(clean, after=PICKLE),
        "zip-after": build(clean) + build(bad),
        "zip-before": build(bad) + build(clean),
        "zip-after-counted": build(clean) + build(bad, before=build(clean))[len(build(clean)) :],
        "garbage-after": build(bad, after=b"\0" * 100),
        "garbage-after-long": build(bad, after=b"\0" * 70_000),
    }


def _ends() -> dict[str, bytes]:
    """The record at the end lies, or there are two."""
    bad = (PAYLOAD, *REST)
    end = build(bad)[-22:]
    return {
        "count-less": build((*REST, PAYLOAD), Ending(count=3)),
        "count-more": build(bad, Ending(count=9)),
        "count-0": build(bad, Ending(count=0)),
        "disk": build(bad, Ending(disk=1)),
        "offset-0": build(bad, Ending(offset=0)),
        "no-end": build(bad, Ending(there=False)),
        "comment-short": build(bad, Ending(comment=b"x" * 50, said_comment=10)),
        "comment-long": build(bad, Ending(comment=b"x", said_comment=500)),
        "end-in-comment": build(bad, Ending(comment=end)),
        "two-ends": build((INNOCENT, *REST), Ending(comment=build(bad))),
        "comment-of-64k": build(bad, Ending(comment=b"c" * 65_535)),
    }


def _names() -> dict[str, bytes]:
    return {
        "absolute": b"/dev/null/veracity-corpus/model.pkl",
        "parent": b"../../model.pkl",
        "empty": b"",
        "nul": b"model.txt\0.pkl",
        "newline": b"model\n.pkl",
        "not-utf8": b"mod\xff\xfe.pkl",
        "backslashes": b"..\\..\\model.pkl",
        "long": b"n" * 4000 + b".pkl",
        "colon": b"c:model.pkl",
        "dots": b"...",
        "bidirectional": "model\u202elkp.txt".encode(),
        "picture": b"figure.png",
        "escape": b"\x1b[2Jmodel.pkl",
    }
