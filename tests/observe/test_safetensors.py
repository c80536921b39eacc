"""safetensors: the rules of the format's own reader, each broken once, and files that its writer made."""

from __future__ import annotations

import json
import struct

import numpy
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.scan.gating import gated, is_clean
from veracity.core.errors import EvidenceError
from veracity.core.observation import FormatRuleBroken
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input
from veracity.observe.safetensors import SafetensorsReader

READER = SafetensorsReader()
ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
TWO = {"dtype": "U8", "shape": [4], "data_offsets": [8, 12]}


def made(header: object, data: bytes = b"\0" * 8) -> bytes:
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def broken(data: bytes) -> list[str]:
    whole = Input.of_bytes("model.safetensors", data)
    assert READER.claims(data[:4096], whole)
    found = []
    try:
        for one in READER.read(whole, Budget()):
            if isinstance(one, FormatRuleBroken):
                found.append(one.effect)
    except EvidenceError:
        found.append("cut off")
    return found


def is_refused(data: bytes) -> bool:
    try:
        safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return True
    return False


BROKEN = [
    ("hidden", made({"a": ONE}, b"\0" * 9)),
    ("hidden", made({"a": {**ONE, "data_offsets": [4, 12]}}, b"\0" * 12)),
    ("hidden", made({}, b"MZ")),
    ("ambiguous", made({"a": ONE, "b": {**TWO, "data_offsets": [4, 8]}})),
    ("ambiguous", made({"a": {**ONE, "shape": [3]}})),
    ("ambiguous", made({"a": {**ONE, "shape": [1 << 62, 1 << 62, 1 << 62]}})),
    ("ambiguous", made('{"a": {"dtype": "U8", "dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}')),
    ("refused", made({"a": {**ONE, "dtype": "F7"}})),
    ("refused", made({"a": {**ONE, "shape": [-2]}})),
    ("refused", made({"a": {**ONE, "data_offsets": [0, 8, 9]}})),
    ("refused", made({"a": 1, "b": ONE})),
    ("refused", made({"__metadata__": {"format": 1}, "a": ONE})),
    ("refused", made({"__metadata__": ["x"], "a": ONE})),
]


@pytest.mark.parametrize(("effect", "data"), BROKEN)
def test_each_rule_that_is_broken_is_told(effect: str, data: bytes) -> None:
    assert effect in broken(data)
    assert is_refused(data)
    assert gated(data).status == "findings"


def test_two_tensors_of_one_name_are_told_though_the_own_reader_takes_them() -> None:
    text = json.dumps({"a": ONE})[:-1] + ', "a": {"dtype": "I32", "shape": [2], "data_offsets": [0, 8]}}'

    assert not is_refused(made(text))
    assert "ambiguous" in broken(made(text))


def test_files_of_the_own_writer_are_clean() -> None:
    for dtype in ("float32", "float16", "int64", "uint8", "bool", "complex64"):
        tensors: dict[str, object] = {
            "a": numpy.zeros((3, 4), dtype),
            "empty": numpy.zeros((0, 4), dtype),
            "n": numpy.ones(1, dtype),
        }
        assert is_clean(safetensors.numpy.save(tensors, {"format": "pt", "note": "os.system"}))
    assert is_clean(safetensors.numpy.save({}))
    assert is_clean(made({"a": {**ONE, "dtype": "F4", "shape": [16]}}))


def test_a_file_that_is_cut_off_is_incomplete() -> None:
    data = safetensors.numpy.save({"a": numpy.zeros(100)})

    assert gated(data[:40]).status == "incomplete"
    assert gated(data[:-1]).status == "incomplete"
    assert gated(made("{ no json }")).status == "incomplete"


def test_plain_numbers_are_not_taken_for_a_header() -> None:
    numbers = numpy.array([2, 123, 4], "int64").tobytes()
    assert not READER.claims(numbers, Input.of_bytes("x", numbers))


def test_what_lies_behind_the_tensors_is_read_like_a_file() -> None:
    config = json.dumps({"auto_map": {"AutoModel": "someone/else--a.B"}}).encode()
    found = [one.rule for one in gated(made({"a": ONE}, b"\0" * 8 + config)).findings]

    assert found == ["checkpoint-format-broken", "checkpoint-remote-code"]


ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "I64", "F4"]),
        "shape": st.lists(st.integers(0, 3), max_size=3),
        "data_offsets": st.tuples(st.integers(0, 16), st.integers(0, 16)).map(list),
    }
)


@given(st.dictionaries(st.sampled_from("abc"), ENTRIES, max_size=3), st.binary(max_size=16))
@settings(max_examples=examples(300), deadline=None)
def test_what_the_own_reader_refuses_is_told(header: dict[str, object], data: bytes) -> None:
    assert bool(broken(made(header, data))) == is_refused(made(header, data))


@given(st.binary(max_size=80), st.integers(0, 80))
@settings(max_examples=examples(200), deadline=None)
def test_any_bytes_give_facts_or_an_error_of_ours(data: bytes, length: int) -> None:
    made_up = struct.pack("<Q", length) + b"{" + data
    if READER.claims(made_up, Input.of_bytes("x", made_up)):
        try:
            list(READER.read(Input.of_bytes("x", made_up), Budget()))
        except EvidenceError:
            return
