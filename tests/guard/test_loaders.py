"""Loaders and samplers: what is drawn, in which order, from which generator state."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from veracity.core import observation as seen

pytest.importorskip("torch")

import torch
from torch.utils import data


class Numbers(data.Dataset):
    """Item i is i."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        return index


def drawn(guarded: Guarded, iteration: int) -> list[list[int]]:
    parts = [part for part in guarded.seen(seen.BatchesDrawn) if part.iteration == iteration]
    batches: list[list[int]] = []
    for part in parts:
        assert part.first == len(batches)
        batches += part.indices
    return batches


def no_failure(guarded: Guarded) -> None:
    assert guarded.session.shield.failures == {}
    assert guarded.seen(seen.Gap) == []


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_what_is_drawn_is_what_is_delivered(guarded: Guarded, workers: int, shuffle: bool) -> None:
    loader = data.DataLoader(Numbers(), batch_size=3, shuffle=shuffle, num_workers=workers)
    for iteration in range(2):
        delivered = [batch.tolist() for batch in loader]
        assert drawn(guarded, iteration) == delivered
    last = guarded.seen(seen.BatchesDrawn)[-1]
    assert (last.ended, last.delivered) == (True, 4)
    digests = [
        digest for part in guarded.seen(seen.BatchesDrawn) if part.iteration == 0 for digest in part.digests
    ]
    assert len(digests) == 4
    assert len(set(digests)) == 4
    no_failure(guarded)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_order_follows_from_the_captured_state(guarded: Guarded, workers: int) -> None:
    generator = torch.Generator().manual_seed(5)
    loader = data.DataLoader(Numbers(), batch_size=4, shuffle=True, generator=generator, num_workers=workers)
    for iteration in range(2):
        delivered = [int(item) for batch in loader for item in batch]
        started = guarded.seen(seen.SamplerStarted)[iteration]
        assert started.own_generator
        assert started.exact_class
        again = torch.Generator()
        again.set_state(torch.tensor(list(bytes.fromhex(started.generator_state)), dtype=torch.uint8))
        assert torch.randperm(10, generator=again).tolist() == delivered
    no_failure(guarded)


def test_the_global_generators_state_is_that_of_the_first_draw(guarded: Guarded) -> None:
    torch.manual_seed(11)
    sampler = data.RandomSampler(Numbers())
    drawing = iter(sampler)
    torch.rand(7)
    state = torch.get_rng_state()
    next(drawing)
    (started,) = guarded.seen(seen.SamplerStarted)
    assert bytes.fromhex(started.generator_state) == bytes(state.tolist())
    assert not started.own_generator


def test_persistent_workers_are_one_loader_with_many_passes(guarded: Guarded) -> None:
    loader = data.DataLoader(Numbers(), batch_size=5, shuffle=True, num_workers=1, persistent_workers=True)
    passes = [[batch.tolist() for batch in loader] for _ in range(3)]
    assert [drawn(guarded, iteration) for iteration in range(3)] == passes
    declared = guarded.seen(seen.LoaderStarted)
    assert [one.iteration for one in declared] == [0, 1, 2]
    assert {one.loader.index for one in declared} == {0}
    assert declared[0].loader.persistent_workers
    del loader
    no_failure(guarded)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_left_early_has_not_ended(guarded: Guarded, workers: int) -> None:
    loader = data.DataLoader(Numbers(), batch_size=2, num_workers=workers)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for number, batch in enumerate(loader):
        (weight * batch.sum()).sum().backward()
        optimizer.step()
        if number == 1:
            break
    parts = [part for part in guarded.seen(seen.BatchesDrawn) if part.iteration == 0]
    assert parts[-1].delivered == 2
    assert not any(part.ended for part in parts)
    assert drawn(guarded, 0)[:2] == [[0, 1], [2, 3]]
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert len(drawn(guarded, 1)) == 5
    no_failure(guarded)


def test_a_distributed_sampler_tells_rank_and_epoch(guarded: Guarded) -> None:
    sampler = data.DistributedSampler(Numbers(), num_replicas=2, rank=1, seed=9)
    sampler.set_epoch(3)
    loader = data.DataLoader(Numbers(), batch_size=2, sampler=sampler)
    delivered = [batch.tolist() for batch in loader]
    (started,) = guarded.seen(seen.SamplerStarted)
    wanted = {"num_replicas": 2, "rank": 1, "epoch": 3, "seed": 9, "shuffle": True, "dataset_length": 10}
    assert {name: started.parameters[name] for name in wanted} == wanted
    assert drawn(guarded, 0) == delivered
    no_failure(guarded)


def test_an_epoch_that_the_sampler_does_not_keep_is_told_as_the_program_said_it(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgets(self: Any, epoch: int) -> None:
        """Marked sabotage: the order of the first epoch comes again and again."""
        self.epoch = 0

    wrapper = data.DistributedSampler.set_epoch
    monkeypatch.setattr(wrapper, "__wrapped__", forgets)
    kept = wrapper.__closure__
    for cell in kept or ():
        if getattr(cell.cell_contents, "__name__", "") == "set_epoch":
            monkeypatch.setattr(cell, "cell_contents", forgets)
    sampler = data.DistributedSampler(Numbers(), num_replicas=2, rank=1)
    for epoch in (0, 1, 2):
        sampler.set_epoch(epoch)
        list(data.DataLoader(Numbers(), sampler=sampler))
    sampler.epoch = 7
    list(data.DataLoader(Numbers(), sampler=sampler))
    assert [one.parameters["epoch"] for one in guarded.seen(seen.SamplerStarted)] == [0, 1, 2, 7]


def test_samplers_of_the_programs_own_are_listed(guarded: Guarded) -> None:
    class Backwards(data.Sampler):
        def __iter__(self) -> Any:
            return iter(range(9, -1, -1))

    class Mine(data.RandomSampler):
        pass

    delivered = [batch.tolist() for batch in data.DataLoader(Numbers(), batch_size=5, sampler=Backwards())]
    assert drawn(guarded, 0) == delivered
    assert guarded.seen(seen.SamplerStarted) == []
    list(data.DataLoader(Numbers(), sampler=Mine(Numbers())))
    (started,) = guarded.seen(seen.SamplerStarted)
    assert not started.exact_class
    no_failure(guarded)


def test_iterable_datasets_and_odd_indices_do_no_harm(guarded: Guarded) -> None:
    class Stream(data.IterableDataset):
        def __iter__(self) -> Any:
            return iter(range(5))

    class ByName(data.Dataset):
        def __getitem__(self, name: str) -> int:
            return len(name)

    assert [batch.tolist() for batch in data.DataLoader(Stream(), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [int(item) for item in data.DataLoader(ByName(), sampler=["a", "bb"], batch_size=None)] == [1, 2]
    first, second = guarded.seen(seen.LoaderStarted)
    assert first.loader.iterable
    assert (first.loader.dataset_length, second.loader.dataset_length) == (-1, -1)
    no_failure(guarded)


def test_two_passes_at_once_are_kept_apart(guarded: Guarded) -> None:
    one = data.DataLoader(Numbers(), batch_size=5)
    other = data.DataLoader(Numbers(), batch_size=2)
    pairs = [(a.tolist(), b.tolist()) for a, b in zip(one, other, strict=False)]
    assert len(pairs) == 2
    parts = guarded.seen(seen.BatchesDrawn)
    assert [part.indices for part in parts if part.loader == 0] == [[[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]]


def test_a_dataset_that_raises_raises_as_ever(guarded: Guarded) -> None:
    class Fails(Numbers):
        def __getitem__(self, index: int) -> int:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(data.DataLoader(Fails()))
    no_failure(guarded)


class Deals(data.BatchSampler):
    """As accelerate's BatchSamplerShard keeps what it was told."""

    __module__, __qualname__ = "accelerate.data_loader", "BatchSamplerShard"

    def __init__(self, batch_sampler: Any, parts: int, part: int) -> None:
        self.batch_sampler, self.num_processes, self.process_index = batch_sampler, parts, part
        self.split_batches, self.even_batches = False, True

    def __iter__(self) -> Any:
        return itertools.islice(self.batch_sampler, self.process_index, None, self.num_processes)


class Skips(data.BatchSampler):
    """As accelerate's SkipBatchSampler."""

    __module__, __qualname__ = "accelerate.data_loader", "SkipBatchSampler"

    def __init__(self, batch_sampler: Any, skipped: int) -> None:
        self.batch_sampler, self.skip_batches = batch_sampler, skipped

    def __iter__(self) -> Any:
        return itertools.islice(self.batch_sampler, self.skip_batches, None)


class PassesOver(Skips):
    """The program's own."""


def started_with(guarded: Guarded, batch_sampler: Any) -> seen.LoaderStarted:
    for _ in data.DataLoader(Numbers(), batch_sampler=batch_sampler):
        pass
    (started,) = guarded.seen(seen.LoaderStarted)
    (sampled,) = guarded.seen(seen.SamplerStarted)
    assert started.sampler == sampled.sampler
    no_failure(guarded)
    return started


def test_a_batch_sampler_of_torchs_own_is_looked_into(guarded: Guarded) -> None:
    own = data.BatchSampler(data.RandomSampler(range(10)), 4, drop_last=True)
    said = started_with(guarded, own).loader
    assert (said.batch_size, said.drop_last, said.parts, said.skipped) == (4, True, 1, 0)
    assert said.sampler_class == "torch.utils.data.sampler.RandomSampler"


def test_what_accelerate_puts_around_it_too(guarded: Guarded) -> None:
    own = data.BatchSampler(data.RandomSampler(range(10)), 2, drop_last=False)
    said = started_with(guarded, Skips(Deals(own, 2, 1), 1)).loader
    assert (said.batch_size, said.parts, said.part, said.even, said.skipped) == (2, 2, 1, True, 1)
    assert said.batch_sampler_class == "torch.utils.data.sampler.BatchSampler"


def test_a_list_of_batches_is_a_batch_sampler_too(guarded: Guarded) -> None:
    for _ in data.DataLoader(Numbers(), batch_sampler=[[0, 1], [5]]):
        pass
    (started,) = guarded.seen(seen.LoaderStarted)
    assert started.loader.batch_sampler_class == "builtins.list"
    assert drawn(guarded, 0) == [[0, 1], [5]]
    no_failure(guarded)


def test_any_other_batch_sampler_is_only_named(guarded: Guarded) -> None:
    own = data.BatchSampler(data.RandomSampler(range(10)), 2, drop_last=False)
    for _ in data.DataLoader(Numbers(), batch_sampler=PassesOver(own, 1)):
        pass
    (started,) = guarded.seen(seen.LoaderStarted)
    assert (started.loader.batch_size, started.loader.skipped) == (0, 0)
    assert started.loader.batch_sampler_class.endswith("PassesOver")
    no_failure(guarded)
