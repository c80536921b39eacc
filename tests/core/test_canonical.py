from __future__ import annotations

import enum
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.canonical import Json, decode, encode
from veracity.core.errors import EvidenceError

KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_encoded_is_decoded(value: Json) -> None:
    data = encode(value)
    assert data.isascii()
    assert decode(data) == value
    assert encode(decode(data)) == data


@given(st.dictionaries(KEYS, st.integers(0, 9), min_size=2, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, int], random: object) -> None:
    names = list(value)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert encode({name: value[name] for name in names}) == encode(dict(value))


def test_known_bytes() -> None:
    assert encode({"b": [1, None, True], "a": "é\n"}) == b'{"a":"\\u00e9\\n","b":[1,null,true]}'


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        [0.5],
        {"a": 1e3},
        2**63,
        -(2**63) - 1,
        b"x",
        (1,),
        {1: 2},
        {"é": 1},
        {None: 1},
        {1, 2},
    ],
)
def test_foreign_values_are_refused(value: object) -> None:
    with pytest.raises(EvidenceError):
        encode(value)  # type: ignore[arg-type]


def test_deep_nesting_is_refused_in_both_directions() -> None:
    value: Json = 1
    for _ in range(65):
        value = [value]
    with pytest.raises(EvidenceError, match="deeply"):
        encode(value)
    for depth in (65, 100_000):
        with pytest.raises(EvidenceError):
            decode(b"[" * depth + b"1" + b"]" * depth)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b" 1",
        b"1 ",
        b"01",
        b"1.0",
        b"NaN",
        b"-0",
        b'{"b":1,"a":1}',
        b'{"a":1,"a":1}',
        b'{"a": 1}',
        b'"\\u0061"',
        b'"\xc3\xa9"',
        b'"\xff"',
        b"9223372036854775808",
        b"1" * 5000,
        "1".encode("utf-16"),
        b"\xef\xbb\xbf1",
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        decode(data)


@given(st.binary(max_size=60) | st.text(max_size=30).map(lambda text: json.dumps(text).encode()))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        value = decode(data)
    except EvidenceError:
        return
    assert encode(value) == data


def test_a_number_of_a_subclass_has_the_spelling_of_its_value() -> None:
    class Level(enum.IntEnum):
        HIGH = 3

    assert encode(Level.HIGH) == b"3"
