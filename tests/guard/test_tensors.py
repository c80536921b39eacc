"""Reading tensors in place gives what torch's own indexing gives, and fingerprints see every element."""

from __future__ import annotations

import hashlib
import struct
from array import array
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veracity.guard import tensors
from veracity.guard.fingerprint import CHUNK, Fingerprinter, choose
from veracity.guard.tensors import Reader

pytest.importorskip("torch")

import torch

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool"]


@st.composite
def a_tensor(draw: st.DrawFn, dtypes: list[str] = DTYPES) -> Any:
    """A tensor of any of the layouts that parameters come in."""
    dtype = getattr(torch, draw(st.sampled_from(dtypes)))
    shape = draw(st.lists(st.integers(1, 5), min_size=0, max_size=3))
    seed = draw(st.integers(0, 1000))
    generator = torch.Generator().manual_seed(seed)
    base = (torch.randn([*shape, 3], generator=generator) * 50).to(dtype)
    layout = draw(st.sampled_from(["contiguous", "transposed", "expanded", "strided", "offset", "parameter"]))
    if layout == "transposed":
        return base.transpose(0, -1)
    if layout == "expanded":
        return base.unsqueeze(0).expand(4, *base.shape)
    if layout == "strided":
        return base[..., ::2]
    if layout == "offset":
        return base.reshape(-1)[1:]
    if layout == "parameter":
        return torch.nn.Parameter(base, requires_grad=base.is_floating_point())
    return base


MODULES = pytest.mark.parametrize("module", [numpy, None])


@MODULES
@given(tensor=a_tensor(), data=st.data())
def test_elements_are_torchs_own(module: object, tensor: Any, data: st.DataObject) -> None:
    reader = Reader(module)
    flat = tensor.detach().reshape(-1)
    for _ in range(2):
        indices = data.draw(st.lists(st.integers(0, flat.numel() - 1), min_size=1, max_size=20))
        piece = reader.elements((0, "param"), tensor, reader.pick(indices), flat.numel())
        assert piece is not None
        code, raw = piece
        wide = torch.float64 if flat.dtype == torch.float64 else torch.float32
        assert code == ("d" if wide is torch.float64 else "f")
        expected = flat[torch.tensor(indices)].to(wide).tolist()
        assert array(code, raw).tolist() == expected


@MODULES
@given(words=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40))
def test_float32_is_read_bit_for_bit(module: object, words: list[int]) -> None:
    """Signalling NaNs and negative zeros included."""
    tensor = torch.frombuffer(bytearray(struct.pack(f"<{len(words)}I", *words)), dtype=torch.float32)
    reader = Reader(module)
    piece = reader.elements((0, "param"), tensor, reader.pick(range(len(words))), len(words))
    assert piece is not None
    assert list(struct.unpack(f"<{len(words)}I", piece[1])) == words


@MODULES
def test_a_place_that_moved_is_found_again(module: object) -> None:
    reader = Reader(module)
    picked = reader.pick([0, 3])
    parameter = torch.nn.Parameter(torch.arange(4.0))

    def read() -> tuple[str, bytes] | None:
        return reader.elements((0, "param"), parameter, picked, 4)

    assert read() == ("f", struct.pack("<2f", 0, 3))
    kept = parameter.data
    parameter.data = torch.arange(10.0, 14.0)
    assert read() == ("f", struct.pack("<2f", 10, 13))
    kept.add_(1)
    parameter.data = parameter.data.to(torch.float64)
    assert read() == ("d", struct.pack("<2d", 10, 13))
    parameter.data = torch.arange(20.0, 24.0).view(2, 2).t()
    assert read() == ("f", struct.pack("<2f", 20, 23))
    parameter.data = torch.arange(6.0)
    assert read() is None  # of another size than was declared: its elements are others


@MODULES
def test_what_is_no_plain_tensor_is_not_read(module: object) -> None:
    class Own(torch.Tensor):
        pass

    reader = Reader(module)
    picked = reader.pick([1])
    values = (None, 3, "text", torch.eye(2).to_sparse(), torch.ones(2).as_subclass(Own))
    assert [reader.elements((0, "x"), value, picked, 2) for value in values] == [None] * 5
    assert reader.elements((0, "x"), torch.tensor([1.0, 5.0]), picked, 2) == ("f", struct.pack("<f", 5))


def test_a_storage_shrunk_under_the_tensor_is_not_read_in_place() -> None:
    reader = Reader()
    tensor = torch.arange(1000.0)
    reader.elements((0, "param"), tensor, reader.pick([999]), 1000)
    fresh = torch.arange(8.0)
    fresh.untyped_storage().resize_(4)
    assert reader._look((1, "param"), fresh) is None


@given(a_tensor())
def test_digests_are_of_the_elements_in_logical_order(tensor: Any) -> None:
    expected = b"".join(tensors.raw_bytes(element.clone()) for element in tensor.detach().reshape(-1))
    assert tensors.raw_bytes(tensor) == expected
    assert tensors.digest(tensor) == hashlib.sha256(expected).hexdigest()


@given(a_tensor(), st.data())
def test_a_fingerprint_changes_with_any_element(tensor: Any, data: st.DataObject) -> None:
    fingerprinter = Fingerprinter(b"k" * 32)
    copy = tensor.detach().clone()
    (before,) = fingerprinter.take([tensor])
    assert fingerprinter.take([copy, copy.contiguous()]) == [before, before]
    position = data.draw(st.integers(0, copy.numel() - 1))
    flat = copy.contiguous().view(-1)
    flat[position] = flat[position].logical_not() if flat.dtype == torch.bool else flat[position] + 64
    if not torch.equal(flat, tensor.detach().reshape(-1)):
        assert fingerprinter.take([flat]) != [before]


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2 * CHUNK + 4), st.integers(0, 31))
def test_a_fingerprint_sees_one_bit_in_any_chunk(position: int, bit: int) -> None:
    fingerprinter = Fingerprinter(b"k" * 32)
    words = torch.arange(2 * CHUNK + 5, dtype=torch.int32)
    (before,) = fingerprinter.take([words])
    words[position] ^= torch.tensor(1 << bit, dtype=torch.int64).to(torch.int32)
    assert fingerprinter.take([words]) != [before]


def test_fingerprints_are_of_each_tensor_alone_and_of_the_key() -> None:
    listed = [torch.arange(5.0), torch.empty(0), torch.arange(7.0) - 3]
    one, other = Fingerprinter(b"a" * 32), Fingerprinter(b"b" * 32)
    assert one.take(listed) == [one.take([tensor])[0] for tensor in listed]
    assert one.take(listed)[1] == 0
    assert one.take(listed[:1]) != other.take(listed[:1])
    assert one.take([]) == []


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=40), st.integers(0, 39))
def test_every_tensor_is_fingerprinted_in_turn(numels: list[int], start: int) -> None:
    order = list(range(len(numels)))
    position, seen = start % len(order), set()
    for _ in range(2 * len(order)):
        chosen, position = choose(order, numels, position)
        assert chosen
        assert len(set(chosen)) == len(chosen)
        seen |= set(chosen)
    assert seen == set(order)


def test_what_cannot_be_read_element_by_element_is_not_plain() -> None:
    class Own(torch.Tensor):
        pass

    assert tensors.is_plain(torch.nn.Parameter(torch.ones(2)))
    assert not tensors.is_plain(torch.ones(2).to_sparse())
    assert not tensors.is_plain(torch.empty(2, device="meta"))
    assert not tensors.is_plain(torch.ones(2).as_subclass(Own))


def test_describe_goes_through_nested_values_in_order() -> None:
    cyclic: dict[str, Any] = {"weight": torch.ones(2)}
    cyclic["self"] = cyclic
    value = {"model": cyclic, "list": [torch.zeros(1), (torch.zeros(1), "text")], "step": 3}
    found, truncated = tensors.describe(tensors.walk(value))
    assert not truncated
    keys = [one["key"] for one in found]
    assert keys[0] == "model.weight"
    assert keys[-2:] == ["list.0", "list.1.0"]


def test_a_block_of_mixed_precision_is_of_the_wider_one() -> None:
    code, raw = tensors.join([("f", struct.pack("<2f", 0.5, 0.25)), ("d", struct.pack("<d", 0.1))])
    assert code == "d"
    assert struct.unpack("<3d", raw) == (0.5, 0.25, 0.1)
    assert tensors.join([]) == ("f", b"")
