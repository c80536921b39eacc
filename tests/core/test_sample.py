from __future__ import annotations

import struct
import sys
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import EvidenceError
from veracity.core.sample import (
    ELEMENTS_PER_TENSOR,
    MAX_BLOCK,
    TENSORS_PER_STEP,
    TensorSample,
    keyed_order,
    pick,
    unpack,
)

KEYS = st.binary(min_size=32, max_size=32)
NUMELS = st.lists(st.integers(1, 10**10), min_size=1, max_size=70)
KEY = bytes(range(32))


@given(KEYS, NUMELS, st.integers(0, 10**6))
def test_every_tensor_comes_up_once_in_a_cycle(key: bytes, numels: list[int], cycle: int) -> None:
    length = -(-len(numels) // TENSORS_PER_STEP)
    seen: list[int] = []
    for step in range(cycle * length, (cycle + 1) * length):
        seen += [tensor for tensor, _ in pick(key, step, numels)]
    assert sorted(seen) == list(range(len(numels)))


@given(KEYS, NUMELS, st.integers(0, 2**63))
def test_indices_are_in_range_and_enough(key: bytes, numels: list[int], step: int) -> None:
    picked = pick(key, step, numels)
    assert len(picked) <= TENSORS_PER_STEP
    for tensor, indices in picked:
        assert all(0 <= index < numels[tensor] for index in indices)
        assert len(indices) >= min(ELEMENTS_PER_TENSOR, numels[tensor])
        if numels[tensor] <= ELEMENTS_PER_TENSOR:
            assert indices == list(range(numels[tensor]))
    assert sum(len(indices) for _, indices in picked) <= TENSORS_PER_STEP * ELEMENTS_PER_TENSOR


@given(KEYS, st.integers(0, 10**6))
def test_the_choice_is_a_function_of_key_and_step(key: bytes, step: int) -> None:
    numels = [10**6] * 40
    assert pick(key, step, numels) == pick(key, step, numels)
    assert pick(key, step, numels) != pick(key, step + 1, numels)
    other = bytes([key[0] ^ 1]) + key[1:]
    assert pick(key, step, numels) != pick(other, step, numels)


def test_few_tensors_get_more_elements_each() -> None:
    for tensors in (1, 2, 5):
        picked = pick(KEY, 3, [10**6] * tensors)
        total = sum(len(indices) for _, indices in picked)
        assert total > TENSORS_PER_STEP * (ELEMENTS_PER_TENSOR - 1)


def test_a_large_tensor_is_read_all_over() -> None:
    numel = 10**9
    seen = [index for step in range(200) for _, indices in pick(KEY, step, [numel]) for index in indices]
    tenths = [0] * 10
    for index in seen:
        tenths[index * 10 // numel] += 1
    assert min(tenths) > 0.9 * len(seen) / 10


def test_empty_tensors_and_no_tensors_are_passed_over() -> None:
    assert pick(KEY, 0, []) == []
    assert [tensor for tensor, _ in pick(KEY, 0, [0, 3, -1])] == [1]


@given(KEYS, st.integers(0, 1000), st.integers(1, 200))
def test_an_order_is_a_permutation(key: bytes, cycle: int, total: int) -> None:
    assert sorted(keyed_order(key, cycle, total)) == list(range(total))


def test_known_choice() -> None:
    # Guard and monitor may run different releases of Python: the choice must never depend on that.
    assert keyed_order(KEY, 0, 6) == (5, 4, 0, 1, 2, 3)
    chosen = dict(pick(KEY, 2, [10**6, 4]))
    assert chosen[0][:4] == [23338, 274214, 945497, 201504]
    assert chosen[1] == [0, 1, 2, 3]


Packed = tuple[list[list[object]], list[list[str]], bytes]


def pack(samples: list[TensorSample], typecode: str) -> Packed:
    """As the layout is documented: each tensor's before fields, then its after fields."""
    fields: list[list[str]] = []
    layout: list[list[object]] = []
    blob = b""
    for one in samples:
        sets = []
        for part in (one.before, one.after):
            names = list(part)
            if names not in fields:
                fields.append(names)
            sets.append(fields.index(names))
            for values in part.values():
                blob += struct.pack(f"<{one.count}{typecode}", *values)
        layout.append([one.tensor, int(one.repeated), one.count, one.step_before, one.step_after, *sets])
    return layout, fields, blob


NAMES = ["param", "grad", "exp_avg", "exp_avg_sq"]


def parts(typecode: str, count: int) -> st.SearchStrategy[dict[str, array[float]]]:
    number = st.floats(width=32 if typecode == "f" else 64, allow_nan=False)
    values = st.lists(number, min_size=count, max_size=count).map(lambda items: array(typecode, items))
    return st.dictionaries(st.sampled_from(NAMES), values)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[list[TensorSample], str]:
    typecode = draw(st.sampled_from("fd"))
    steps = st.none() | st.floats(0, 1e6)
    samples = []
    for _ in range(draw(st.integers(0, 4))):
        count = draw(st.integers(1, 4))
        before, after = draw(parts(typecode, count)), draw(parts(typecode, count))
        tensor, repeated = draw(st.integers(0, 100)), draw(st.booleans())
        samples.append(TensorSample(tensor, repeated, count, draw(steps), draw(steps), before, after))
    return samples, typecode


@given(blocks())
@settings(max_examples=examples(50))
def test_what_was_packed_is_unpacked(block: tuple[list[TensorSample], str]) -> None:
    samples, typecode = block
    layout, fields, blob = pack(samples, typecode)
    assert unpack(layout, fields, typecode, blob) == samples


def test_values_are_little_endian_on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    layout, fields = [[0, 0, 1, None, None, 0, 1]], [["param"], []]
    (sample,) = unpack(layout, fields, "f", struct.pack("<f", 1.5))
    assert list(sample.before["param"]) == [1.5]
    monkeypatch.setattr(sys, "byteorder", "big" if sys.byteorder == "little" else "little")
    (swapped,) = unpack(layout, fields, "f", struct.pack(">f", 1.5))
    assert list(swapped.before["param"]) == [1.5]


@given(blocks(), st.integers(1, 40), st.booleans())
@settings(max_examples=examples(50))
def test_a_block_of_another_length_is_refused(
    block: tuple[list[TensorSample], str], count: int, longer: bool
) -> None:
    samples, typecode = block
    layout, fields, blob = pack(samples, typecode)
    changed = blob + bytes(count) if longer else blob[: max(0, len(blob) - count)]
    if len(changed) != len(blob):
        with pytest.raises(EvidenceError):
            unpack(layout, fields, typecode, changed)


GOOD = [0, 0, 1, None, 1.0, 0, 0]


@pytest.mark.parametrize(
    "item",
    [
        [],
        GOOD[:6],
        [*GOOD, 0],
        [-1, *GOOD[1:]],
        [None, *GOOD[1:]],
        ["0", *GOOD[1:]],
        [0, 0, -1, None, None, 0, 0],
        [0, 0, 0, None, None, 0, 0],
        [0, 0, MAX_BLOCK + 1, None, None, 0, 0],
        [0, 0, 10**400, None, None, 0, 0],
        [0, 0, 1.0, None, None, 0, 0],
        [0, 0, 1, "1", None, 0, 0],
        [0, 0, 1, True, None, 0, 0],
        [0, 0, 1, 10**400, None, 0, 0],
        [0, 0, 1, None, [], 0, 0],
        [0, 0, 1, None, None, 1, 0],
        [0, 0, 1, None, None, 0, -1],
        [0, 0, 1, None, None, 0, None],
    ],
)
def test_a_malformed_item_is_refused(item: list[object]) -> None:
    assert unpack([GOOD], [["param"]], "f", bytes(8))
    with pytest.raises(EvidenceError):
        unpack([item], [["param"]], "f", bytes(8))


@pytest.mark.parametrize("typecode", ["", "q", "e", "ff", "F"])
def test_a_foreign_type_code_is_refused(typecode: str) -> None:
    with pytest.raises(EvidenceError, match="type code"):
        unpack([], [], typecode, b"")


def test_a_block_that_is_too_large_is_refused() -> None:
    with pytest.raises(EvidenceError, match="too large"):
        unpack([], [], "f", bytes(MAX_BLOCK + 4))


def test_a_short_description_cannot_cost_much_work() -> None:
    # Unchecked, these are 4·10⁹ turns of a loop: the test would not end.
    layout = [[0, 0, 1, None, None, 0, 0]] * 20_000
    for fields in ([["param"] * 100_000], [["param"], ["param"] * 100_000]):
        with pytest.raises(EvidenceError, match="length"):
            unpack(layout, fields, "f", bytes(64))
    with pytest.raises(EvidenceError, match="count"):
        unpack([[0, 0, 0, None, None, 0, 0]] * 20_000, [["param"] * 100_000], "f", b"")


ITEMS = st.lists(
    st.lists(
        st.none() | st.booleans() | st.integers(-2, 6) | st.sampled_from([2**70, 1e308, "x", []]), max_size=8
    ),
    max_size=6,
)


@given(
    ITEMS,
    st.lists(st.lists(st.sampled_from(NAMES), max_size=4), max_size=3),
    st.sampled_from("fdx"),
    st.binary(max_size=64),
)
@settings(max_examples=examples(120))
def test_no_description_raises_anything_else(
    layout: list[list[object]], fields: list[list[str]], typecode: str, blob: bytes
) -> None:
    try:
        samples = unpack(layout, fields, typecode, blob)
    except EvidenceError:
        return
    used = sum(len(values) for one in samples for part in (one.before, one.after) for values in part.values())
    assert used * struct.calcsize(typecode) == len(blob)
