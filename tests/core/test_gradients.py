"""The binary form of a trail of gradients."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core import gradients
from veracity.core.errors import EvidenceError


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20, unique=True), st.integers(1, 8), st.data())
def test_what_was_packed_is_unpacked(tensors: list[int], count: int, data: st.DataObject) -> None:
    absent = [
        data.draw(st.lists(st.sampled_from(tensors), unique=True)) if tensors else []
        for _ in range(data.draw(st.integers(0, gradients.MAX_READINGS)))
    ]
    sizes = [count * (len(tensors) - len(missing)) for missing in absent]
    values = [data.draw(st.lists(st.floats(width=32), min_size=size, max_size=size)) for size in sizes]
    words = [struct.pack(f"<{len(one)}f", *one) for one in values]
    blob = gradients.pack(tensors, words)
    assert len(blob) == gradients.length(len(tensors), count, absent)
    found, readings = gradients.unpack(len(tensors), count, absent, blob)
    assert found == tuple(tensors)
    for reading, missing, one in zip(readings, absent, words, strict=True):
        assert reading.tensors == tuple(tensor for tensor in tensors if tensor not in missing)
        assert b"".join(part.tobytes() for part in reading.by_tensor().values()) == one
        assert reading.values.tobytes() == one


@pytest.mark.parametrize(
    ("size", "count", "absent", "data"),
    [
        (-1, 1, [], b""),
        (2**30, 1, [], b""),
        (1, 2**30, [], b""),
        (1, 1, [[]] * 21, b"\0" * 88),
        (1, 1, [[]], b"\0" * 7),
        (1, 1, [[5]], struct.pack("<I", 3)),
        (2, 1, [[3, 3]], struct.pack("<2I", 3, 4)),
    ],
)
def test_what_does_not_fit_is_refused(size: int, count: int, absent: list[list[int]], data: bytes) -> None:
    with pytest.raises(EvidenceError, match="trail of gradients"):
        gradients.unpack(size, count, absent, data)


def test_each_tensor_has_two_elements_while_there_is_room() -> None:
    assert [gradients.per_tensor(tensors) for tensors in (0, 1, 17, 150, 512, 513, 1024)] == [
        256,
        256,
        16,
        2,
        2,
        1,
        1,
    ]
