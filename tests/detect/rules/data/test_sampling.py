from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DistributedSampler

from tests.detect.rules.data.traces import captured, shuffled, state_of
from veracity.core.observation import SamplerStarted
from veracity.core.origin import Origin, Trust
from veracity.detect.rules.data.sampling import MAX_DERIVED, Derivation, Order, Unknown

ORIGIN = Origin("guard", Trust.USERLAND, 1, 0, 1, 1)
STATE = state_of(torch.Generator().manual_seed(1))
RANKS: dict[str, Any] = {
    "dataset_length": 10,
    "num_replicas": 3,
    "rank": 0,
    "seed": 0,
    "epoch": 0,
    "shuffle": True,
    "drop_last": False,
}


def started(kind: str, length: int = 10, state: str = STATE, **parameters: Any) -> SamplerStarted:
    name = f"torch.utils.data.{kind}"
    return SamplerStarted(ORIGIN, 0, name, length, True, state, parameters, True)


# With fewer indices than replicas torch's own drop_last gives negative lengths.
SHARES = [
    (length, replicas, drop_last)
    for length in (1, 2, 3, 10, 11)
    for replicas in (1, 2, 3, 4, 25)
    for drop_last in (False, True)
    if length >= replicas or not drop_last
]


@pytest.mark.parametrize(("length", "replicas", "drop_last"), SHARES)
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_rank_gets_torchs_share(length: int, replicas: int, drop_last: bool, shuffle: bool) -> None:
    derivation = Derivation()
    for rank in range(replicas):
        sampler: Any = DistributedSampler(
            range(length), replicas, rank, shuffle=shuffle, seed=5, drop_last=drop_last
        )
        sampler.set_epoch(3)
        seen = started("distributed.DistributedSampler", len(sampler), "", **captured(sampler)[2])
        order = derivation.order(seen)
        assert isinstance(order, Order)
        assert list(order.indices) == list(sampler)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (started("distributed.DistributedSampler", **{**RANKS, "rank": 3}), "parameters"),
        (started("distributed.DistributedSampler", **{**RANKS, "seed": "0"}), "seed or epoch"),
        (started("distributed.DistributedSampler", **{**RANKS, "num_replicas": True}), "parameters"),
        (
            started("distributed.DistributedSampler", **{**RANKS, "dataset_length": MAX_DERIVED + 1}),
            "more than",
        ),
        (started("sampler.RandomSampler", -1), "length of its data"),
        (started("sampler.RandomSampler", state=""), "state of its generator"),
        (started("sampler.RandomSampler", state="00"), "foreign length"),
        (started("sampler.RandomSampler", MAX_DERIVED + 1), "more than"),
        (started("sampler.RandomSampler", 50_000, dataset_length=1), "more than"),
        (started("sampler.SequentialSampler", -1), "length of its data"),
        (started("sampler.SubsetRandomSampler", 2, indices=[1]), "too many"),
        (started("sampler.SubsetRandomSampler", 2, indices=[1, "2"]), "not integers"),
        (started("sampler.SubsetRandomSampler", 2, "", indices=[1, 2]), "state of its generator"),
        (started("sampler.WeightedRandomSampler"), "not re-derived"),
    ],
)
def test_what_cannot_be_derived_says_why(seen: SamplerStarted, words: str) -> None:
    derived = Derivation().order(seen)
    assert isinstance(derived, Unknown)
    assert words in derived.reason


def test_an_empty_dataset_has_an_empty_order() -> None:
    order = Derivation().order(started("sampler.RandomSampler", 0))
    assert isinstance(order, Order)
    assert list(order.indices) == []


@pytest.mark.parametrize("own", [True, False])
def test_only_the_first_draw_of_a_shared_generator_is_settled(own: bool) -> None:
    sampler = shuffled(20, seed=1 if own else None, num_samples=50)
    seen = SamplerStarted(ORIGIN, 0, "torch.utils.data.sampler.RandomSampler", 50, *captured(sampler), True)
    order = Derivation().order(seen)
    assert isinstance(order, Order)
    assert list(order.indices) == list(sampler)
    assert order.settled == (20 if own else 50)
