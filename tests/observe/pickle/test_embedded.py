"""Pickles within pickles, and arrays of joblib among opcodes."""

from __future__ import annotations

import io
import pickle
import struct

import numpy as np
import pytest

from veracity.core.pickleprogram import End, Import, PickleProgram
from veracity.observe.pickle import walk

joblib = pytest.importorskip("joblib")


def loads_of(data: bytes, protocol: int) -> bytes:
    """A pickle that would unpickle some bytes."""
    inner = pickle.dumps(data, protocol)
    start = 2 if protocol > 1 else 0
    if inner[2:3] == b"\x95":
        start += 9
    return b"\x80" + bytes([protocol]) + b"cpickle\nloads\n" + inner[start:-1] + b"\x85R."


def names(program: PickleProgram) -> list[str]:
    return [one.value.name for one in program.operations if isinstance(one, Import)]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("padding", [0, 2000])
def test_bytes_that_are_loaded_again_are_followed(protocol: int, padding: int) -> None:
    inner = b"N0" * padding + b"cnamed\nthing\n."
    program = walk(loads_of(inner, protocol))
    assert [names(one) for one in program.embedded] == [["thing"]]


def test_depth_is_bounded() -> None:
    data = b"N."
    for _ in range(8):
        data = loads_of(data, 4)
    deepest = walk(data)
    for _ in range(5):
        deepest = deepest.embedded[-1]
    assert deepest.ending.kind is End.LIMIT


def dumped(value: object) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        [np.arange(10), "after"],
        [np.zeros((3, 4), order="F"), np.ones(5, dtype="u1"), np.array(["ab", "c"]), np.array([b"ab"])],
        [np.zeros(3, dtype=[("a", "i4"), ("b", "f8", (2,))]), np.array(2.0), np.zeros((0, 3))],
        [np.array(["2026-01-01"], dtype="M8[s]"), np.array([True]), np.array([1j]), np.float16([1])],
        [np.array([1, None, "x"], dtype=object), np.arange(3)],
        [np.array([(1, None)], dtype=[("a", "i4"), ("b", "O")]), "after"],
        {"weights": np.arange(100_000, dtype=float)},
    ],
)
def test_arrays_of_joblib_are_stepped_over(value: object) -> None:
    data = dumped(value)
    program = walk(data)
    assert program.ending.kind is End.STOP
    assert program.consumed == len(data)
    assert (program.reading, program.doubts) == ("joblib", ())


def test_an_array_that_is_longer_than_the_file_is_truncated() -> None:
    data = dumped(np.arange(1000))
    assert walk(data[: len(data) // 2]).ending.kind is End.TRUNCATED


def test_an_array_within_a_frame_is_in_doubt() -> None:
    data = bytearray(dumped([np.arange(10)]))
    at = data.index(b"\x95")
    (length,) = struct.unpack_from("<Q", data, at + 1)
    struct.pack_into("<Q", data, at + 1, length + 20)
    assert "frame" in {one.kind for one in walk(bytes(data)).doubts}
