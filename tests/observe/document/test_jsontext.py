"""JSON is read as Python reads it, with every doubled key."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import EvidenceError
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input
from veracity.observe.document.jsonreader import JsonReader
from veracity.observe.document.jsontext import NotJsonError, parse_json
from veracity.observe.document.value import Fields, Value, objects, path_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def plain(value: Value) -> object:
    if isinstance(value, Fields):
        return {key: plain(one) for key, one in value.pairs}
    return [plain(one) for one in value] if isinstance(value, list) else value


@given(VALUES, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"]))
@settings(max_examples=examples(100), deadline=None)
def test_values_are_those_of_python_s_reader(value: object, encoding: str) -> None:
    data = json.dumps(value).encode(encoding)

    assert plain(parse_json(data, "x")) == value


@given(st.binary(max_size=40) | st.text('{}[]",:01\\u ', max_size=30).map(str.encode))
@settings(max_examples=examples(200), deadline=None)
def test_any_bytes_are_read_without_an_error_of_pythons(data: bytes) -> None:
    reader, whole = JsonReader(), Input.of_bytes("x", data)
    if reader.claims(data[:4096], whole):
        list(reader.read(whole, Budget()))
    try:
        parse_json(data, "x")
    except NotJsonError:
        with pytest.raises(ValueError, match=r"\w"):
            json.loads(data)


def test_doubled_keys_are_kept_and_places_named() -> None:
    root = parse_json('{"a": [{"b": {}}, {"b": {"c": 1}}], "a": 2}', "x")

    assert isinstance(root, Fields)
    assert len(root.get("a")) == 2
    assert [path_text(path) for path, _ in objects(root)] == ["", "a[0]", "a[0].b", "a[1]", "a[1].b"]


def test_numbers_and_depth_are_bounded() -> None:
    with pytest.raises(EvidenceError, match="digits"):
        parse_json("9" * 100_000, "x")
    with pytest.raises(EvidenceError, match="deeper"):
        parse_json("[" * 200_000, "x")
