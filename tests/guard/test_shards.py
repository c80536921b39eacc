"""Sharded parameters are read where they lie: DTensors of a process group that only pretends to be one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.guard.shards import count_of, local_of, sharded_kind

pytest.importorskip("torch")

import torch

fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
sharding = pytest.importorskip("torch.distributed.tensor")

RANKS = 4


@pytest.fixture
def mesh() -> Iterator[Any]:
    torch.distributed.init_process_group("fake", store=fake.FakeStore(), rank=RANKS - 1, world_size=RANKS)
    yield torch.distributed.device_mesh.init_device_mesh("cpu", (RANKS,))
    torch.distributed.destroy_process_group()


def held(mesh: Any, rows: int, placement: Any, whole: int) -> Any:
    """A DTensor of ``whole`` rows, of which this rank holds ``rows``."""
    local = torch.arange(3.0 * rows).view(rows, 3) + 1
    return sharding.DTensor.from_local(
        local, mesh, [placement], run_check=False, shape=torch.Size((whole, 3)), stride=(3, 1)
    )


def train(parameters: list[Any], gradients: list[Any], steps: int = 3) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    for _ in range(steps):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()


def test_the_local_part_is_read(guarded: Guarded, mesh: Any) -> None:
    shard = sharding.Shard(0)
    parameters = [torch.nn.Parameter(held(mesh, 2, shard, 8)), torch.nn.Parameter(torch.ones(2))]
    train(parameters, [held(mesh, 2, shard, 8), torch.ones(2)])
    (declared,) = guarded.seen(seen.OptimizerDeclared)
    assert declared.optimizer.sharded == 1
    assert [one.shape for one in declared.optimizer.tensors] == [[8, 3], [2]]
    steps = guarded.seen(seen.StepRecord)
    assert len(steps) == 3
    for step in steps:
        (sample,) = [one for one in step.samples if one.tensor == 0 and not one.repeated]
        assert sample.count == 6
        assert "grad" in sample.before
        assert set(sample.after) == {"param", "exp_avg", "exp_avg_sq"}
    (first,) = [one for one in steps[0].samples if one.tensor == 0]
    assert list(first.before["param"]) == [1, 2, 3, 4, 5, 6]
    assert 0 in steps[0].swept_after.tensors
    assert guarded.seen(seen.Gap) == []
    assert guarded.session.shield.failures == {}


def test_a_rank_that_holds_nothing_goes_on(guarded: Guarded, mesh: Any) -> None:
    shard = sharding.Shard(0)
    parameters = [torch.nn.Parameter(held(mesh, 0, shard, 3)), torch.nn.Parameter(torch.ones(2))]
    train(parameters, [held(mesh, 0, shard, 3), torch.ones(2)])
    assert len(guarded.seen(seen.StepRecord)) == 3
    assert guarded.session.shield.failures == {}


def test_a_gradient_in_another_layout_is_left_out_and_not_called_missing(guarded: Guarded, mesh: Any) -> None:
    parameter = torch.nn.Parameter(held(mesh, 2, sharding.Replicate(), 2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    parameter.grad = held(mesh, 2, sharding.Partial(), 2)
    optimizer.step()
    (step,) = guarded.seen(seen.StepRecord)
    assert step.samples == []
    assert guarded.session.shield.failures == {}


def test_what_only_a_collective_could_read_is_not_read(mesh: Any) -> None:
    kind = sharded_kind()
    partial = held(mesh, 1, sharding.Partial(), 1)
    assert local_of(partial, kind) is partial
    assert count_of(partial, kind) is None
    assert count_of(torch.tensor(3.0), kind) == 3.0
    assert local_of(torch.ones(2), None) is not None
