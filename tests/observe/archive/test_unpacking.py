"""Streams of compressed data: bounded windows, damage, ends."""

from __future__ import annotations

import bz2
import lzma
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import EvidenceError
from veracity.observe.archive.unpacking import (
    UNPACKED_WINDOW,
    Deflated,
    Stream,
    Unpacker,
    bzip2,
    deflate,
    lzma_alone,
    lzma_raw,
    xz,
)
from veracity.observe.artifact.input import Input


def packed(kind: str, data: bytes) -> bytes:
    if kind == "deflate":
        made = zlib.compressobj(6, zlib.DEFLATED, -15)
        return made.compress(data) + made.flush()
    if kind == "zlib":
        return zlib.compress(data)
    if kind == "bzip2":
        return bz2.compress(data)
    return lzma.compress(data, lzma.FORMAT_XZ if kind == "xz" else lzma.FORMAT_ALONE)


def unpacker(kind: str) -> Unpacker:
    makers = {"deflate": deflate, "bzip2": bzip2, "xz": xz, "lzma": lzma_alone}
    return Deflated(15) if kind == "zlib" else makers[kind]()


KINDS = ["deflate", "zlib", "bzip2", "xz", "lzma"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_unpacked_in_windows_and_tells_where_it_ends(kind: str) -> None:
    data = bytes(5 << 20) + b"the end"
    whole = b"before" + packed(kind, data) + b"behind"
    stream = Stream(Input.of_bytes("f", whole), 6, len(whole), lambda: unpacker(kind))

    chunks = list(stream.chunks())

    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= UNPACKED_WINDOW
    assert stream.ended
    assert whole[stream.stopped :] == b"behind"


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_before_damage_is_there(kind: str) -> None:
    whole = packed(kind, b"".join(b"%d " % number for number in range(100_000)))[:-20]
    stream = Stream(Input.of_bytes("f", whole), 0, len(whole), lambda: unpacker(kind))
    got: list[bytes] = []
    chunks = stream.chunks()
    with pytest.raises(EvidenceError, match="cut off"):
        got.extend(iter(lambda: next(chunks), None))
    assert kind == "bzip2" or b"".join(got).startswith(b"0 1 2 ")
    assert not stream.ended


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.binary(max_size=300))
@settings(max_examples=examples(40))
def test_any_bytes_end_or_are_refused(kind: str, data: bytes) -> None:
    head = packed(kind, b"x" * 50)
    for whole in (data, head[: len(head) // 2] + data):
        stream = Stream(Input.of_bytes("f", whole), 0, len(whole), lambda: unpacker(kind))
        size = 0
        try:
            for chunk in stream.chunks():
                size += len(chunk)
                if size > 1 << 22:
                    break
        except EvidenceError:
            pass
        assert stream.stopped <= len(whole)


@given(st.binary(max_size=8))
def test_properties_of_lzma_are_bounded(properties: bytes) -> None:
    try:
        lzma_raw(properties)
    except EvidenceError:
        return
    assert len(properties) == 5
    assert int.from_bytes(properties[1:], "little") <= 128 << 20


@pytest.mark.parametrize("kind", ["deflate", "zlib", "xz", "lzma"])
def test_what_comes_before_damage_within_one_window_is_there(kind: str) -> None:
    text = b"".join(b"%d " % number for number in range(20_000))
    whole = bytearray(packed(kind, text))
    whole[len(whole) // 2 :] = bytes(len(whole) // 2)
    stream = Stream(Input.of_bytes("f", bytes(whole)), 0, len(whole), lambda: unpacker(kind))
    got = b""
    try:
        for chunk in stream.chunks():
            got += chunk
    except EvidenceError:
        pass
    assert len(got) > len(text) // 4
    assert got[: len(text) // 4] == text[: len(text) // 4]
