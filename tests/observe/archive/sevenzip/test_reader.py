"""7z archives: what others write is read; what is damaged, encrypted or a bomb is bounded and said."""

from __future__ import annotations

import io
import lzma
import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.observe.archive.looking import look
from veracity.core.observation import Oddity
from veracity.observe.artifact.budget import Budget

FILES = {"a.txt": b"a" * 5000, "d/b.bin": random.Random(7).randbytes(3000), "c": b"cc", "e/ü.txt": b"u"}
LZMA2 = ({"id": lzma.FILTER_LZMA2, "preset": 3},)
COPY = b"\x01\x00"


def number(value: int) -> bytes:
    return b"\xff" + struct.pack("<Q", value) if value > 127 else bytes([value])


def written(
    files: dict[str, bytes], coder: bytes = COPY, crcs: bytes | None = None, properties: bytes = b""
) -> bytes:
    """An archive of one folder; ``coder`` as it stands in the header."""
    content = b"".join(files.values())
    packed = lzma.compress(content, lzma.FORMAT_RAW, filters=LZMA2) if coder != COPY else content
    sizes = b"".join(number(len(one)) for one in list(files.values())[:-1])
    sums = b"".join(struct.pack("<I", zlib.crc32(one)) for one in files.values())
    names = "".join(f"{name}\0" for name in files).encode("utf-16-le")
    header = (
        b"\x01\x04"
        + b"\x06\x00\x01\x09" + number(len(packed)) + b"\x00"
        + b"\x07\x0b\x01\x00\x01" + coder + b"\x0c" + number(len(content)) + b"\x00"
        + b"\x08\x0d" + number(len(files)) + b"\x09" + sizes + b"\x0a\x01" + (crcs or sums) + b"\x00\x00"
        + b"\x05" + number(len(files)) + b"\x11" + number(len(names) + 1) + b"\x00" + names
        + properties + b"\x00\x00"
    )  # fmt: skip
    return start(packed, header) + packed + header


def start(packed: bytes, header: bytes) -> bytes:
    fields = struct.pack("<QQI", len(packed), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(fields)) + fields


@pytest.mark.parametrize("coder", [COPY, b"\x21\x21\x01\x18"], ids=["copy", "lzma2"])
@pytest.mark.parametrize("before", [b"", b"\x7fELF" + bytes(200)])
def test_files_are_read_and_silent(coder: bytes, before: bytes) -> None:
    looked = look(before + written(FILES, coder))

    assert looked.contents == {name: [data] for name, data in FILES.items()}
    assert looked.result.status == "clean"
    assert not looked.oddities


def test_a_wrong_checksum_hides_nothing_and_names_are_judged() -> None:
    looked = look(written(FILES, crcs=bytes(16)))
    assert looked.all == set(FILES.values())
    assert looked.oddities == {Oddity.CHECKSUM}
    assert look(written({"../a": b"1", "/b": b"2"})).oddities == {Oddity.PARENT, Oddity.ABSOLUTE}
    mode = b"\x15\x06\x01\x00" + struct.pack("<I", 0xA1FF8000)
    assert look(written({"link": b"/etc/passwd"}, properties=mode)).oddities == {Oddity.LINK_OUTSIDE}


@pytest.mark.parametrize(
    ("coder", "said"),
    [
        (b"\x24\x06\xf1\x07\x01\x00", "encrypted"),
        (b"\x23\x03\x04\x01\x05" + bytes(5), "cannot be unpacked"),
        (b"\x23\x03\x01\x01\x05\xff\xff\xff\xff\xff", "not valid"),
        (b"\x21\x21\x01\x28", "too much memory"),
    ],
)
def test_what_cannot_be_unpacked_is_said(coder: bytes, said: str) -> None:
    looked = look(written(FILES, coder))
    assert looked.result.status == "incomplete"
    assert said in looked.result.gaps[0].reason


def test_what_is_cut_off_or_damaged_is_never_clean() -> None:
    whole = written(FILES, b"\x21\x21\x01\x18")
    for length in range(6, len(whole), 97):
        assert look(whole[:length]).result.status == "incomplete"
    broken = bytearray(whole)
    broken[1000] ^= 0xFF
    looked = look(bytes(broken))
    assert looked.result.status != "clean"
    assert FILES["a.txt"] in looked.all


def test_a_bomb_and_numbers_out_of_bounds_are_limits() -> None:
    assert look(written({"a": bytes(3 << 20)}, b"\x21\x21\x01\x18"), Budget(unpacked=1 << 20)).limits
    many = b"\x01\x05" + number(1 << 40)
    assert look(start(b"", many) + many).limits
    assert look(start(b"", b"")[:12] + struct.pack("<QQI", 0, 1 << 40, 0)).limits


@pytest.mark.parametrize("kind", ["default", "lzma", "bzip2", "deflate", "bcj", "delta", "password"])
def test_what_py7zr_writes_is_read(kind: str) -> None:
    py7zr: Any = pytest.importorskip("py7zr", reason="py7zr is not installed")
    lzma2 = {"id": py7zr.FILTER_LZMA2, "preset": 3}
    filters = {
        "lzma": [{"id": py7zr.FILTER_LZMA}],
        "bzip2": [{"id": py7zr.FILTER_BZIP2}],
        "deflate": [{"id": py7zr.FILTER_DEFLATE}],
        "bcj": [{"id": py7zr.FILTER_X86}, lzma2],
        "delta": [{"id": py7zr.FILTER_DELTA}, lzma2],
    }.get(kind)
    file = io.BytesIO()
    password = "x" if kind == "password" else None
    with py7zr.SevenZipFile(file, "w", filters=filters, password=password) as made:
        for name, data in FILES.items():
            made.writestr(data, name)
        made.writestr(b"", "empty")

    looked = look(file.getvalue())

    if password:
        assert looked.result.status == "incomplete"
    else:
        assert looked.contents == {name: [data] for name, data in FILES.items()}
        assert looked.result.status == "clean"


@given(data=st.binary(max_size=80), at=st.integers(0, 200))
@settings(max_examples=examples(200))
def test_any_bytes_are_read_to_an_end(data: bytes, at: int) -> None:
    header = bytearray(written({"a": b"1", "b": b"22"})[35:])
    at = min(at, len(header))
    header[at : at + len(data)] = data
    look(start(b"122", bytes(header)) + b"122" + bytes(header), Budget(seconds=20))
    look(written({"a": b"1"})[:8] + data, Budget(seconds=20))
