"""Fields are read as they were written, and any bytes end in fields or an error of ours."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.observe.protobuf.messages import Value, message, varint
from veracity.core.errors import EvidenceError, ResourceLimitError
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input
from veracity.observe.protobuf.onnx import OnnxReader
from veracity.observe.protobuf.tensorflow import TensorflowReader
from veracity.observe.protobuf.wire import BYTES, GROUP, NUMBER, NotProtobufError, Wire, top_level

FIELDS = st.lists(
    st.tuples(st.integers(1, 3000), st.integers(0, (1 << 64) - 1) | st.binary(max_size=200)), max_size=20
)


@given(FIELDS)
@settings(max_examples=examples(100), deadline=None)
def test_fields_are_those_that_were_written(fields: list[tuple[int, Value]]) -> None:
    data = message(*fields)
    wire = Wire(Input.of_bytes("x", data))
    read = [
        (
            one.field,
            one.number
            if one.wire == NUMBER
            else wire.whole.read(one.body.start, one.body.end - one.body.start),
        )
        for one in wire.fields(wire.all())
    ]

    assert read == fields


@given(st.binary(max_size=100))
@settings(max_examples=examples(300), deadline=None)
def test_any_bytes_end_in_fields_or_an_error_of_ours(data: bytes) -> None:
    for made in (
        data,
        message((1, 8), (7, data), (25, data)),
        message((1, 1), (2, [(2, [(1, data)]), (7, data)])),
    ):
        whole = Input.of_bytes("x", made)
        for reader in (OnnxReader(), TensorflowReader()):
            if reader.claims(made, whole):
                try:
                    list(reader.read(whole, Budget()))
                except EvidenceError:
                    continue


def test_groups_are_passed_over_and_their_ends_must_match() -> None:
    group = varint(9 << 3 | 3) + message((1, 5), (2, "text")) + varint(9 << 3 | 4)

    assert set(top_level(Input.of_bytes("x", group + message((7, "a"))))) == {(9, GROUP), (7, BYTES)}
    assert top_level(Input.of_bytes("x", group[:-1])) == {}


def test_lengths_that_leave_their_message_are_refused_and_fields_are_bounded() -> None:
    for data in (varint(1 << 3 | 2) + varint(1 << 62), b"\x08" + b"\xff" * 12, b"\x00\x00", b"\x0f"):
        with pytest.raises(NotProtobufError):
            list(Wire(Input.of_bytes("x", data)).fields(Wire(Input.of_bytes("x", data)).all()))
    many = Wire(Input.of_bytes("x", message(*[(1, 1)] * 100)), fields=50)
    with pytest.raises(ResourceLimitError):
        list(many.fields(many.all()))
