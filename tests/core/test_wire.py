from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, ResourceLimitError
from veracity.core.wire import HEAD, MAGIC, MAX_BLOB, MAX_HEADER, Frame, pack, unpack

FRAME = pack("step", 3, 12, {"a": [1, "é"], "b": float("nan")}, b"\x00blob")


@given(
    st.text(max_size=10),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=4),
    st.binary(max_size=200),
)
def test_what_was_packed_is_unpacked(
    kind: str, seq: int, at: int, body: dict[str, object], blob: bytes
) -> None:
    data = pack(kind, seq, at, body, blob)
    found = unpack(data)
    assert found is not None
    frame, end = found
    assert (frame.blob, frame.raw, end) == (blob, data, len(data))
    assert json.loads(frame.header) == {"k": kind, "s": seq, "t": at, "b": body}


def test_frames_stand_one_behind_the_other() -> None:
    second = pack("bye", 4, 13, {})
    buffer = bytearray(FRAME + second)
    found = unpack(buffer, 0)
    assert found is not None
    frame, offset = found
    assert unpack(memoryview(buffer), offset) == (Frame(second[HEAD.size :], b"", second), len(buffer))
    assert frame.raw == FRAME
    assert unpack(buffer, len(buffer)) is None


@pytest.mark.parametrize("length", range(len(FRAME)))
def test_a_frame_cut_anywhere_is_not_there_yet(length: int) -> None:
    assert unpack(FRAME[:length]) is None


@pytest.mark.parametrize("place", range(len(FRAME)))
def test_a_changed_byte_is_never_taken_for_the_frame(place: int) -> None:
    for bit in (1, 0x80):
        data = bytearray(FRAME)
        data[place] ^= bit
        if 4 <= place < 12:
            # A length: longer than what is there, impossible, or shifted and so damaged.
            try:
                found = unpack(data + bytes(512))
            except EvidenceError:
                continue
            assert found is None
        else:
            with pytest.raises(EvidenceError):
                unpack(data)


@pytest.mark.parametrize(("header", "blob"), [(MAX_HEADER + 1, 0), (0, MAX_BLOB + 1), (2**32 - 1, 2**32 - 1)])
def test_an_impossible_length_is_refused_before_it_is_waited_for(header: int, blob: int) -> None:
    with pytest.raises(ResourceLimitError, match="claims"):
        unpack(struct.pack("<4sIII", MAGIC, header, blob, 0))


@given(st.binary(max_size=64), st.integers(0, 8))
def test_no_bytes_raise_anything_else(data: bytes, offset: int) -> None:
    for candidate in (data, MAGIC + data):
        try:
            found = unpack(candidate, offset)
        except EvidenceError:
            continue
        assert found is None or found[0].raw == candidate[offset : found[1]]
