"""What changes a training changes its likeness; what honest repeats differ in does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from veracity.core.contract import (
    LoaderDeclaration,
    OptimizerDeclaration,
    RateFunction,
    SchedulerDeclaration,
    TensorDeclaration,
)
from veracity.core.likeness import LENGTH, likeness, optimizer_likeness

OPTIMIZER = OptimizerDeclaration(
    0, "torch.optim.sgd.SGD", "/a/sgd.py", 20, [{"lr": 0.1, "foreach": None}],
    [TensorDeclaration("weight", [4, 2], "float32", 8, 0)],
)  # fmt: skip
SCHEDULER = SchedulerDeclaration(0, 0, "torch.optim.lr_scheduler.StepLR", {"gamma": 0.5}, [0.1], [0.1], 0)
LOADER = LoaderDeclaration(0, "app.Texts", 1000, 32, False, "RandomSampler", "BatchSampler", 2, False, False)


def like(
    optimizer: OptimizerDeclaration = OPTIMIZER,
    scheduler: SchedulerDeclaration = SCHEDULER,
    loader: LoaderDeclaration = LOADER,
    world: int = 1,
    began_from: tuple[str, ...] = (),
) -> str:
    return likeness({0: optimizer}, {0: scheduler}, {0: loader}, world=world, began_from=began_from)


@pytest.mark.parametrize(
    "other",
    [
        like(optimizer=replace(OPTIMIZER, class_name="torch.optim.adam.Adam")),
        like(optimizer=replace(OPTIMIZER, groups=[{"lr": 0.2}])),
        like(optimizer=replace(OPTIMIZER, tensors=[TensorDeclaration("weight", [2, 4], "float32", 8, 0)])),
        like(optimizer=replace(OPTIMIZER, tensors=[TensorDeclaration("weight", [4, 2], "bfloat16", 8, 0)])),
        like(scheduler=replace(SCHEDULER, parameters={"gamma": 0.9})),
        like(scheduler=replace(SCHEDULER, functions=[RateFunction("warm", {"steps": 3})])),
        like(scheduler=replace(SCHEDULER, children=[SCHEDULER])),
        like(loader=replace(LOADER, dataset_length=999)),
        like(loader=replace(LOADER, batch_size=64)),
        like(loader=replace(LOADER, sampler_class="SequentialSampler")),
        like(world=2),
        like(began_from=("ab",)),
        likeness({}, {}, {}, world=1, began_from=()),
    ],
)
def test_what_defines_the_training_counts(other: str) -> None:
    assert other != like()
    assert len(other) == LENGTH


@pytest.mark.parametrize(
    "other",
    [
        like(optimizer=replace(OPTIMIZER, path="/b/sgd.py", line=21)),
        like(optimizer=replace(OPTIMIZER, groups=[{"lr": 0.1, "foreach": True, "fused": False}])),
        like(scheduler=replace(SCHEDULER, lrs=[0.05], last_epoch=7)),
        like(loader=replace(LOADER, num_workers=8, persistent_workers=True, part=1, skipped=4)),
    ],
)
def test_what_honest_repeats_differ_in_does_not(other: str) -> None:
    assert other == like()


def test_an_optimizer_has_a_likeness_of_its_own() -> None:
    assert optimizer_likeness(OPTIMIZER) == optimizer_likeness(replace(OPTIMIZER, index=3))
    assert optimizer_likeness(OPTIMIZER) != optimizer_likeness(replace(OPTIMIZER, sharded=1))


def test_schedules_nested_without_end_are_taken() -> None:
    nested = SCHEDULER
    for _ in range(5000):
        nested = replace(SCHEDULER, children=[nested])
    assert len(like(scheduler=nested)) == LENGTH


def test_numbers_and_names_of_any_kind_are_taken() -> None:
    odd = replace(OPTIMIZER, groups=[{"lr": float("nan"), "\ud800": [1, None, "é"]}])
    assert len(like(optimizer=odd)) == LENGTH
