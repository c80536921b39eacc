"""Compressed files: streams in a row, what stands behind them, damage, and what is not one of them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.observe.archive.looking import look
from veracity.core.observation import Oddity
from veracity.observe.artifact.budget import Budget

DATA = b"a pickle, say " * 300


def lzma_alone(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lzma_alone,
    "zlib": zlib.compress,
}
each = pytest.mark.parametrize("kind", list(PACKERS))


@each
@pytest.mark.parametrize("streams", [1, 2, 5])
def test_streams_in_a_row_are_one_content(kind: str, streams: int) -> None:
    looked = look(b"".join(PACKERS[kind](DATA + bytes([one])) for one in range(streams)))

    assert looked.result.status == "clean"
    assert kind in looked.result.formats
    assert looked.contents["unpacked"] == [b"".join(DATA + bytes([one]) for one in range(streams))]
    assert not looked.oddities


@each
def test_what_stands_behind_is_read_by_itself(kind: str) -> None:
    looked = look(PACKERS[kind](DATA) + bytes(8) + b"something else")

    assert looked.contents["unpacked"] == [DATA]
    assert any(some[0].endswith(b"something else") for some in looked.contents.values())


@each
def test_what_is_cut_off_is_read_as_far_as_it_goes_and_never_clean(kind: str) -> None:
    text = b"".join(b"%d " % number for number in range(40_000))
    packed = PACKERS[kind](text)

    for length in (len(packed) // 2, len(packed) - 1):
        looked = look(packed[:length])
        assert looked.result.status == "incomplete"
        (unpacked,) = looked.contents.get("unpacked", [text])
        assert text.startswith(unpacked)


@each
def test_a_bomb_is_bounded(kind: str) -> None:
    looked = look(PACKERS[kind](bytes(4 << 20)), Budget(unpacked=1 << 20))

    assert looked.limits
    assert looked.result.status == "incomplete"


@pytest.mark.parametrize(("change", "oddity"), [(-8, Oddity.CHECKSUM), (-4, Oddity.LENGTH)])
def test_a_wrong_trailer_of_gzip_hides_nothing(change: int, oddity: Oddity) -> None:
    packed = bytearray(gzip.compress(DATA))
    packed[change] ^= 1

    looked = look(bytes(packed))

    assert looked.contents["unpacked"] == [DATA]
    assert looked.oddities == {oddity}
    assert looked.rules == {("checkpoint-archive-damaged", "warning")}


@pytest.mark.parametrize("flags", [0, 1, 2, 4, 8, 16, 30, 0xFF])
def test_headers_of_gzip_are_read_as_python_reads_them(flags: int) -> None:
    more = b"\x03\x00abc" * (flags >> 2 & 1) + b"name\0" * (flags >> 3 & 1)
    more += b"comment\0" * (flags >> 4 & 1) + b"??" * (flags >> 1 & 1)
    plain = gzip.compress(DATA)
    packed = plain[:3] + bytes([flags]) + plain[4:10] + more + plain[10:]

    assert gzip.decompress(packed) == DATA
    assert look(packed).contents["unpacked"] == [DATA]


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("window", [9, 12, 15])
def test_each_header_of_zlib_is_known(level: int, window: int) -> None:
    made = zlib.compressobj(level, zlib.DEFLATED, window)

    looked = look(made.compress(DATA) + made.flush())

    assert looked.contents["unpacked"] == [DATA]


@pytest.mark.parametrize("preset", [0, 3, 6, 9])
def test_each_header_of_lzma_is_known(preset: int) -> None:
    assert look(lzma.compress(DATA, lzma.FORMAT_ALONE, preset=preset)).contents["unpacked"] == [DATA]


@pytest.mark.parametrize(
    "text", [b"x^2 + y^2\n", b"x\x9c", b"x", b"]\x00", b"BZh9 is a word", b"\x1f\x8b", b""]
)
def test_text_is_not_taken_for_it(text: bytes) -> None:
    looked = look(text)
    assert looked.result.status == "clean"
    assert looked.result.formats == ["anything"]


def test_a_header_of_another_format_that_could_be_lzma_is_not_taken_for_it() -> None:
    head = bytes.fromhex("000000030000000100000000000000070a9e030a")  # metadata of Kotlin
    looked = look(head + random.Random(3).randbytes(900))
    assert looked.result.status == "clean"
    assert "lzma" not in looked.result.formats


def test_what_asks_for_much_memory_is_not_unpacked_and_never_clean() -> None:
    packed = bytearray(lzma_alone(DATA))
    packed[1:5] = (1 << 31).to_bytes(4, "little")

    looked = look(bytes(packed))

    assert looked.result.status == "incomplete"


@pytest.mark.parametrize("kind", ["zlib", "lzma"])
def test_what_breaks_after_its_reader_has_got_something_is_read(kind: str) -> None:
    text = b"".join(b"%d " % number for number in range(5000))
    packed = bytearray(PACKERS[kind](text))
    packed[len(packed) // 2 :] = random.Random(1).randbytes(len(packed) // 2)

    looked = look(bytes(packed))

    assert looked.result.status == "incomplete"
    assert looked.contents["unpacked"][0][:4096] == text[:4096]


def test_random_numbers_are_hardly_ever_taken_for_it() -> None:
    numbers = random.Random(5)
    taken = [one for one in range(2000) if set(PACKERS) & set(look(numbers.randbytes(600)).result.formats)]
    assert len(taken) <= 2


@each
@given(data=st.binary(max_size=60), at=st.integers(0, 200))
@example(data=b"", at=0)
@settings(max_examples=examples(50))
def test_any_bytes_are_read_to_an_end(kind: str, data: bytes, at: int) -> None:
    packed = PACKERS[kind](b"content" * 9)
    look(packed[:at] + data + packed[at + len(data) :], Budget(seconds=20))
