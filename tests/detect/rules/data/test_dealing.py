"""What a rank is dealt, against accelerate where it is installed and against vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from torch.utils.data import BatchSampler, SequentialSampler

from tests.detect.rules.data.traces import declaration
from tests.examples import examples
from veracity.core.contract import LoaderDeclaration
from veracity.detect.rules.data.dealing import dealt, piece_size
from veracity.detect.rules.data.sampling import Order, Unknown


def batches(loader: LoaderDeclaration, length: int) -> list[list[int]]:
    order = dealt(loader, Order(range(length), length))
    assert isinstance(order, Order)
    size = piece_size(loader)
    return [list(order.indices[at : at + size]) for at in range(0, len(order.indices), size)]


def loader(batch_size: int, **dealing: Any) -> LoaderDeclaration:
    return replace(declaration(0, 9, batch_size, False, "any"), **dealing)


def test_batches_are_dealt_in_turn_and_the_beginning_fills_the_end() -> None:
    assert batches(loader(2, parts=2, part=0, even=True), 7) == [[0, 1], [4, 5]]
    assert batches(loader(2, parts=2, part=1, even=True), 7) == [[2, 3], [6, 0]]
    assert batches(loader(2, parts=2, part=1), 5) == [[2, 3]]
    assert batches(loader(2, parts=2, part=0), 5) == [[0, 1], [4]]
    assert batches(loader(4, parts=2, part=1, split=True, even=True), 7) == [[2, 3], [6, 0]]
    assert batches(loader(2, skipped=2), 7) == [[4, 5], [6]]


@pytest.mark.parametrize(
    "dealing",
    [
        {"parts": 2, "part": 2},
        {"parts": 2, "part": -1},
        {"parts": 3, "split": True},
        {"parts": 2, "batch_size": 0},
        {"parts": 10**9},
    ],
)
def test_what_makes_no_sense_is_unknown(dealing: dict[str, Any]) -> None:
    said = replace(loader(4), **{"part": 0, **dealing})
    assert isinstance(dealt(said, Order(range(9), 9)), Unknown)


def test_later_draws_stay_unsettled() -> None:
    order = dealt(loader(2, parts=2, part=1, even=True), Order(range(8), 3))
    assert isinstance(order, Order)
    assert (list(order.indices), order.settled) == ([2, 3, 6, 7], 1)


@given(
    length=st.integers(1, 60),
    parts=st.integers(1, 5),
    piece=st.integers(1, 5),
    split=st.booleans(),
    even=st.booleans(),
    drop_last=st.booleans(),
    skipped=st.integers(0, 3),
)
@settings(max_examples=examples(300))
def test_each_rank_is_dealt_what_accelerate_deals(
    length: int, parts: int, piece: int, split: bool, even: bool, drop_last: bool, skipped: int
) -> None:
    library = pytest.importorskip("accelerate.data_loader")
    assume(parts > 1 or skipped or even)  # else each rank receives the order as it is
    size = piece * parts if split else piece
    for part in range(parts):
        own = BatchSampler(SequentialSampler(range(length)), size, drop_last)
        theirs = library.BatchSamplerShard(own, parts, part, split_batches=split, even_batches=even)
        theirs = library.SkipBatchSampler(theirs, skipped)
        said = loader(
            size, parts=parts, part=part, split=split, even=even, skipped=skipped, drop_last=drop_last
        )
        assert batches(said, length) == [list(batch) for batch in theirs]
