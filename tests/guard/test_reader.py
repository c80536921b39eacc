"""Reading tensors in place gives what torch's own indexing gives."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core import sample
from veracity.guard.reader import Piece, Reader, Wanted

pytest.importorskip("torch")

import torch

from .some_tensors import a_tensor

MODULES = pytest.mark.parametrize("module", [numpy, None])


def read(reader: Reader, tensor: object, positions: Sequence[int], numel: int) -> Piece | None:
    (piece,) = reader.read([((0, "param"), tensor, reader.pick(positions), numel)])
    return piece


@MODULES
@given(tensor=a_tensor(), data=st.data())
def test_elements_are_torchs_own(module: object, tensor: Any, data: st.DataObject) -> None:
    reader = Reader(module)
    flat = tensor.detach().reshape(-1)
    for _ in range(2):
        indices = data.draw(st.lists(st.integers(0, flat.numel() - 1), min_size=1, max_size=20))
        piece = read(reader, tensor, indices, flat.numel())
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
    piece = read(reader, tensor, range(len(words)), len(words))
    assert piece is not None
    assert list(struct.unpack(f"<{len(words)}I", piece[1])) == words


@MODULES
def test_a_place_that_moved_is_found_again(module: object) -> None:
    reader = Reader(module)
    parameter = torch.nn.Parameter(torch.arange(4.0))

    def read_it() -> tuple[str, bytes] | None:
        return read(reader, parameter, [0, 3], 4)

    assert read_it() == ("f", struct.pack("<2f", 0, 3))
    kept = parameter.data
    parameter.data = torch.arange(10.0, 14.0)
    assert read_it() == ("f", struct.pack("<2f", 10, 13))
    kept.add_(1)
    parameter.data = parameter.data.to(torch.float64)
    assert read_it() == ("d", struct.pack("<2d", 10, 13))
    parameter.data = torch.arange(20.0, 24.0).view(2, 2).t()
    assert read_it() == ("f", struct.pack("<2f", 20, 23))
    parameter.data = torch.arange(6.0)
    assert read_it() is None  # of another size than was declared: its elements are others


@MODULES
def test_what_is_no_plain_tensor_is_not_read(module: object) -> None:
    class Own(torch.Tensor):
        pass

    reader = Reader(module)
    values = (None, 3, "text", torch.eye(2).to_sparse(), torch.ones(2).as_subclass(Own))
    assert [read(reader, value, [1], 2) for value in values] == [None] * 5
    assert read(reader, torch.tensor([1.0, 5.0]), [1], 2) == ("f", struct.pack("<f", 5))


def test_a_storage_shrunk_under_the_tensor_is_not_read_in_place() -> None:
    reader = Reader()
    tensor = torch.arange(1000.0)
    read(reader, tensor, [999], 1000)
    fresh = torch.arange(8.0)
    fresh.untyped_storage().resize_(4)
    assert reader._look((1, "param"), fresh) is None


@MODULES
@given(st.lists(a_tensor(), min_size=1, max_size=8), st.data())
def test_many_tensors_are_read_as_each_alone(module: object, tensors: list[Any], data: st.DataObject) -> None:
    """In whichever order those come that are read in place and those that are not."""
    reader = Reader(module)
    wanted: list[Wanted] = []
    for number, tensor in enumerate(tensors):
        positions = data.draw(st.lists(st.integers(0, tensor.numel() - 1), min_size=1, max_size=9))
        wanted.append(((number, "param"), tensor, reader.pick(positions), tensor.numel()))
    wanted.insert(data.draw(st.integers(0, len(wanted))), ((99, "grad"), None, reader.pick([0]), 1))
    for _ in range(2):
        assert reader.read(wanted) == [Reader(None).read([one])[0] for one in one_by_one(wanted)]


def one_by_one(wanted: Sequence[Wanted]) -> list[Wanted]:
    plain = Reader(None)
    return [
        (place, tensor, plain.pick(list(picked.positions())), numel)
        for place, tensor, picked, numel in wanted
    ]


@given(
    st.binary(min_size=1, max_size=32),
    st.integers(0, 2**40),
    st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**40)), max_size=20),
)
def test_numpy_picks_what_the_monitor_expects(key: bytes, step: int, numels: list[int]) -> None:
    for module in (numpy, None):
        picks = Reader(module).picks(key, step, numels)
        found = [(tensor, list(picked.positions())) for tensor, picked in picks]
        assert found == sample.pick(key, step, numels)
        assert [picked.count for _, picked in picks] == [len(places) for _, places in found]


@MODULES
def test_words_that_begin_in_the_middle_of_one_are_read_by_torch(module: object) -> None:
    storage = bytearray(struct.pack("<x4f", 1, 2, 3, 4))
    tensor = torch.frombuffer(storage, dtype=torch.float32, offset=1)
    assert tensor.data_ptr() % 4
    assert read(Reader(module), tensor, [0, 3], 4) == ("f", struct.pack("<2f", 1, 4))
