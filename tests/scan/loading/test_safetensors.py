"""The loader builds what the format's own reader would, and nothing that the gate finds fault with."""

from __future__ import annotations

import json
import struct

import pytest
import safetensors
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.scan.gating import is_clean
from veracity.core.errors import EvidenceError
from veracity.observe.artifact.input import Input
from veracity.observe.safetensorsheader import read_header
from veracity.scan.loading.load import SharedMemory
from veracity.scan.loading.safetensors import DTYPES, read_safetensors

ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HUGE = 1 << 62


def made(header: object, data: bytes = b"\0" * 8) -> bytearray:
    text = json.dumps(header).encode()
    return bytearray(struct.pack("<Q", len(text)) + text + data)


def read(data: bytearray) -> dict[str, torch.Tensor]:
    return read_safetensors(Input.of("model.safetensors", SharedMemory(data)), data)


def test_tensors_stand_on_the_memory_of_the_file() -> None:
    data = made({"a": ONE}, struct.pack("<2f", 1.5, -2.0))
    data = bytearray(data.replace(b"}}", b"}}" + b" " * (-len(data) % 4)))
    struct.pack_into("<Q", data, 0, len(data) - 16)
    tensor = read(data)["a"]
    assert tensor.tolist() == [1.5, -2.0]
    data[-8:-4] = struct.pack("<f", 7.0)
    assert tensor[0] == 7.0


def test_keys_that_the_own_reader_passes_over_are_passed_over() -> None:
    data = made({"a": {**ONE, "note": [1]}})
    assert [name for name, _ in safetensors.deserialize(bytes(data))] == ["a"]  # type: ignore[no-untyped-call]
    assert is_clean(bytes(data))
    assert read(data)["a"].shape == (2,)


@pytest.mark.parametrize("shape", [[0, HUGE, HUGE], [HUGE, 0, HUGE, HUGE], [0, (1 << 64) - 1]])
def test_a_shape_of_no_element_that_torch_has_not_is_an_error(shape: list[int]) -> None:
    data = made({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}, b"")
    with pytest.raises(EvidenceError, match="shape"):
        read(data)


def test_a_type_that_is_not_built_is_an_error() -> None:
    with pytest.raises(EvidenceError, match="F4"):
        read(made({"a": {"dtype": "F4", "shape": [16], "data_offsets": [0, 8]}}))


ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "I64", "F4"]),
        "shape": st.lists(st.integers(0, 3), max_size=3),
        "data_offsets": st.tuples(st.integers(0, 16), st.integers(0, 16)).map(list),
    }
)


def fitting(sizes: list[int]) -> tuple[dict[str, object], bytes]:
    """Bytes, one tensor behind the other."""
    header: dict[str, object] = {}
    for number, size in enumerate(sizes):
        at = sum(sizes[:number])
        header[f"t{number}"] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
    return header, bytes(range(sum(sizes)))


@given(
    st.one_of(
        st.tuples(st.dictionaries(st.sampled_from("abc"), ENTRIES, max_size=3), st.binary(max_size=16)),
        st.lists(st.integers(0, 9), max_size=4).map(fitting),
    )
)
@settings(max_examples=examples(300), deadline=None)
def test_what_is_built_is_what_the_own_reader_reads(parts: tuple[dict[str, object], bytes]) -> None:
    data = made(*parts)
    try:
        theirs = dict(safetensors.deserialize(bytes(data)))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        with pytest.raises(EvidenceError):
            read(data)
        return
    if any(one.dtype not in DTYPES for one in read_header(Input.of_bytes("x", bytes(data))).tensors):
        return
    ours = read(data)
    assert {name: tuple(one.shape) for name, one in ours.items()} == {
        name: tuple(one["shape"]) for name, one in theirs.items()
    }
    for name, one in ours.items():
        assert bytes(one.contiguous().reshape(-1).view(torch.uint8).tolist()) == bytes(theirs[name]["data"])
