"""The loader's cache, in both of its forms."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, ResourceLimitError
from veracity.observe.ldcache import PLACE, parse_cache, read_cache

HEAD = 48
Pairs = Sequence[tuple[str, str]]
texts = st.text("abcdefgh./-", max_size=40)


def new(pairs: Pairs, order: int = 0) -> bytes:
    """The form of glibc 2.32 and later: offsets count from the header."""
    strings, offsets = bytearray(), []
    begin = HEAD + 24 * len(pairs)
    for pair in pairs:
        offsets.append([begin + len(strings), begin + len(strings) + len(pair[0].encode()) + 1])
        strings += pair[0].encode() + b"\0" + pair[1].encode() + b"\0"
    head = b"glibc-ld.so.cache1.1" + struct.pack("=II", len(pairs), len(strings)) + bytes([order])
    entries = b"".join(struct.pack("=iIIIQ", 0x303, name, path, 0, 0) for name, path in offsets)
    return head.ljust(HEAD, b"\0") + entries + bytes(strings)


def old(pairs: Pairs, then: bytes = b"") -> bytes:
    """The older form, with the new one behind its entries."""
    strings, entries = bytearray(), []
    for name, path in pairs:
        entries.append(struct.pack("=iII", 1, len(strings), len(strings) + len(name) + 1))
        strings += name.encode() + b"\0" + path.encode() + b"\0"
    data = b"ld.so-1.7.0\0" + struct.pack("=I", len(pairs)) + b"".join(entries)
    return data + bytes(strings) if not then else data.ljust(-(-len(data) // 8) * 8, b"\0") + then


PAIRS = [("libm.so.6", "/lib/libm.so.6"), ("libx.so", "/a/libx.so"), ("libm.so.6", "/b/libm.so.6")]
NAMED = {"libm.so.6": ("/lib/libm.so.6", "/b/libm.so.6"), "libx.so": ("/a/libx.so",)}


@given(st.lists(st.tuples(texts, texts), max_size=10))
def test_what_was_written_is_read(pairs: list[tuple[str, str]]) -> None:
    wanted: dict[str, dict[str, None]] = {}
    for name, path in pairs:
        wanted.setdefault(name, {})[path] = None
    for data in (new(pairs), old(pairs), old(pairs, new(pairs))):
        assert parse_cache(data) == {name: tuple(paths) for name, paths in wanted.items()}


def test_byte_orders() -> None:
    ours = 2 if sys.byteorder == "little" else 3
    assert parse_cache(new(PAIRS, ours)) == NAMED
    with pytest.raises(EvidenceError, match="byte order"):
        parse_cache(new(PAIRS, 5 - ours))


@pytest.mark.parametrize("data", [b"", b"ld.so-1.7.0\0", new(PAIRS)[:40], new(PAIRS)[:60], new(PAIRS)[:-1]])
def test_malformed_caches(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse_cache(data)


def test_too_many_entries() -> None:
    with pytest.raises(ResourceLimitError):
        parse_cache(new([])[:20] + struct.pack("=I", 1 << 30) + bytes(100))


@given(st.binary(max_size=300))
def test_any_bytes_have_an_answer(data: bytes) -> None:
    for head in (b"", b"glibc-ld.so.cache1.1", b"ld.so-1.7.0\0"):
        try:
            parse_cache(head + data)
        except EvidenceError:
            continue


def test_files(tmp_path: Path) -> None:
    assert read_cache(str(tmp_path / "none")) == {}
    (tmp_path / "cache").write_bytes(b"?")
    assert "no cache of the loader" in str(read_cache(str(tmp_path / "cache")))
    assert "cannot be read" in str(read_cache(str(tmp_path)))


@pytest.mark.skipif(not os.path.exists(PLACE), reason="this machine's loader has no cache")
def test_this_machines_own() -> None:
    found = read_cache()
    assert not isinstance(found, str)
    assert any(name.startswith("libc.so") for name in found)
