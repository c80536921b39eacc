"""The sweep's places and its binary form."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core import sweep
from veracity.core.errors import EvidenceError

KEY = b"k" * 32
NUMELS = st.lists(st.integers(1, 2**40), min_size=1, max_size=40)


@given(NUMELS, st.integers(0, 10**6))
def test_every_place_lies_in_its_tensor(numels: list[int], step: int) -> None:
    count = sweep.per_tensor(len(numels))
    for start, numel in zip(sweep.starts(KEY, step, numels), numels, strict=True):
        places = sweep.positions(start, numel, count)
        assert len(places) == count
        assert all(0 <= place < numel for place in places)
        assert len(set(places)) == min(count, numel)


@given(st.integers(0, 10**6))
def test_places_differ_by_step_and_by_key(step: int) -> None:
    numels = [10**9] * 8
    here = sweep.starts(KEY, step, numels)
    assert here == sweep.starts(KEY, step, numels)
    assert here != sweep.starts(KEY, step + 1, numels)
    assert here != sweep.starts(b"other" * 8, step, numels)


@given(st.integers(1, 5000), st.integers(0, 100))
def test_each_tensor_comes_up_in_turn(total: int, step: int) -> None:
    candidates = list(range(7, 7 + total))
    parts = -(-total // sweep.MAX_SWEPT)
    first = step * parts
    seen = [tensor for at in range(first, first + parts) for tensor in sweep.turn(KEY, at, candidates)]
    assert sorted(seen) == candidates
    assert sweep.per_tensor(total) * min(total, sweep.MAX_SWEPT) >= sweep.TARGET


@given(st.lists(st.integers(0, 2**32 - 1), max_size=30), st.integers(1, 8), st.data())
def test_what_was_packed_is_unpacked(tensors: list[int], count: int, data: st.DataObject) -> None:
    size = count * len(tensors)
    values = array("f", data.draw(st.lists(st.floats(width=32), min_size=size, max_size=size)))
    found = sweep.unpack(len(tensors), count, sweep.pack(tensors, values.tobytes()))
    assert list(found.tensors) == tensors
    assert array("f", found.values).tobytes() == values.tobytes()


@given(st.integers(-3, 2000), st.integers(-3, 300), st.binary(max_size=200))
def test_no_bytes_raise_anything_else(tensors: int, count: int, data: bytes) -> None:
    try:
        found = sweep.unpack(tensors, count, data)
    except EvidenceError:
        return
    assert len(found.tensors) * found.count == len(found.values)


def test_another_length_is_refused() -> None:
    with pytest.raises(EvidenceError, match="differ in length"):
        sweep.unpack(2, 3, b"\0" * 4 * 7)


def test_writes_into_many_tensors_are_counted_by_turns() -> None:
    few, many = list(range(48)), list(range(100))
    assert [few[sweep.counted(step, few)] for step in range(3)] == [few] * 3
    turns = [many[sweep.counted(step, many)] for step in range(6)]
    assert turns[:3] == turns[3:]
    assert [one for turn in turns[:3] for one in turn] == many
    assert sweep.counted(5, []) == slice(0, 48)
