"""What an ELF file tells the loader, whatever else its bytes say."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.observe.elves import (
    AUDIT,
    AUXILIARY,
    FILTER,
    FLAGS_1,
    I386,
    NEEDED,
    RPATH,
    RUNPATH,
    SONAME,
    X86_64,
    make_elf,
)
from veracity.core.errors import EvidenceError, ResourceLimitError
from veracity.observe.elf import MAX_NAMES, MAX_TEXT, Elf, parse_elf, read_elf

names = st.text("abc.-_/$ORIGIN0123", min_size=1, max_size=300)


def parsed(data: bytes) -> Elf:
    return parse_elf(lambda offset, size: data[offset : offset + size])


@given(
    st.sampled_from([32, 64]), st.sampled_from("<>"), st.lists(names, max_size=5), st.lists(names, max_size=1)
)
def test_what_was_written_is_read(bits: int, order: str, needed: list[str], paths: list[str]) -> None:
    tags = [*((NEEDED, one) for one in needed), *((RUNPATH, one) for one in paths), (SONAME, "libx.so.1")]
    found = parsed(make_elf(*tags, bits=bits, order=order, machine=I386, interpreter="/lib/ld.so"))
    assert found.kind == (bits, "little" if order == "<" else "big", I386)
    assert found.needed == tuple(needed)
    assert (found.rpath, found.runpath) == (None, paths[0] if paths else None)
    assert (found.soname, found.interpreter) == ("libx.so.1", "/lib/ld.so")


def test_rarer_tags() -> None:
    found = parsed(make_elf((RPATH, "/a:$ORIGIN"), (AUDIT, "w.so"), (AUXILIARY, "x.so"), (FILTER, "f.so")))
    assert (found.rpath, found.audit, found.filters) == ("/a:$ORIGIN", ("w.so",), ("x.so", "f.so"))
    assert not found.nodeflib
    assert parsed(make_elf((FLAGS_1, 0x801))).nodeflib


def test_the_section_that_is_mapped_counts_and_not_the_place_in_the_file() -> None:
    found = parsed(make_elf((NEEDED, "true.so"), decoy=[(NEEDED, "false.so")]))
    assert found.needed == ("true.so",)


def test_of_two_segments_at_one_address_the_later_one_is_mapped() -> None:
    data = bytearray(make_elf((NEEDED, "true.so")))
    other = make_elf((NEEDED, "evil.so"))
    # The second segment of the file becomes one that covers the first with other bytes; it is the last one.
    place = len(data)
    data += other
    head = bytearray(data[:64])
    struct.pack_into("<H", head, 56, 3)
    third = struct.pack("<IIQQQQQQ", 1, 5, place, 0x10000, 0x10000, len(other), len(other), 4096)
    segments = bytes(data[64 : 64 + 112]) + third
    moved = len(data)
    struct.pack_into("<Q", head, 32, moved)
    data[:64] = head
    assert parsed(bytes(data) + segments).needed == ("evil.so",)


def test_this_interpreter() -> None:
    found = read_elf(os.path.realpath(sys.executable))
    assert isinstance(found, Elf)
    assert found.order == sys.byteorder
    assert any(name.startswith(("libc.", "libpython", "libc.musl")) for name in found.needed)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no ELF file"),
        (b"\x7fELF" + bytes(12), "class or byte order"),
        (make_elf()[:50], "ends within its headers"),
        (make_elf()[:100], "ends within its headers"),
        (make_elf().replace(struct.pack("<H", 56), struct.pack("<H", 57), 1), "impossible size"),
    ],
)
def test_malformed_files(data: bytes, what: str) -> None:
    with pytest.raises(EvidenceError, match=what):
        parsed(data)


def test_bounds() -> None:
    with pytest.raises(ResourceLimitError, match="more than 4096 libraries"):
        parsed(make_elf(*[(NEEDED, "x")] * (MAX_NAMES + 1)))
    with pytest.raises(ResourceLimitError, match="does not end"):
        parsed(make_elf((NEEDED, "x" * (MAX_TEXT + 1))))
    with pytest.raises(ResourceLimitError, match="program headers"):
        parsed(make_elf().replace(struct.pack("<HH", 56, 2), struct.pack("<HH", 56, 0xFFFF), 1))


def test_files_of_other_kinds(tmp_path: Path) -> None:
    script = tmp_path / "libc.so"
    script.write_text("/* GNU ld script */")
    assert read_elf(str(script)) == ""
    assert "cannot be read" in str(read_elf(str(tmp_path)))
    assert "cannot be read" in str(read_elf(str(tmp_path / "none")))
    os.mkfifo(tmp_path / "pipe.so")
    assert "no regular file" in str(read_elf(str(tmp_path / "pipe.so")))


VALID = make_elf((NEEDED, "a.so"), (RUNPATH, "$ORIGIN"), machine=X86_64, interpreter="/lib64/ld.so")


@given(st.data())
def test_any_bytes_have_an_answer_that_costs_little(data: st.DataObject) -> None:
    """Bytes at random, and sound files with some of their bytes exchanged."""
    raw = bytearray(data.draw(st.one_of(st.just(VALID), st.binary(max_size=400))))
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6)):
        if at < len(raw):
            raw[at] = value
    asked = 0

    def read(offset: int, size: int) -> bytes:
        nonlocal asked
        assert offset >= 0
        asked += size
        return bytes(raw[offset : offset + size])

    try:
        found = parse_elf(read)
    except EvidenceError:
        pass
    else:
        assert len(found.needed) <= MAX_NAMES
    assert asked < 100 << 20
