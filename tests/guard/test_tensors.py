"""Digests cover what they say, fingerprints see every element, blocks hold what was put in."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.guard import tensors
from veracity.guard.fingerprint import CHUNK, Fingerprinter, choose

pytest.importorskip("torch")

import torch

from .some_tensors import a_tensor


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


@settings(max_examples=examples(10))
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
