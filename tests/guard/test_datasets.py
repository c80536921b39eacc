"""Data held in memory, and loaders that are rearranged after they were built."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

pytest.importorskip("torch")

import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, SequentialSampler, Subset, TensorDataset

from tests.guard.conftest import Guarded
from veracity.core.finding import Finding
from veracity.core.observation import Observation
from veracity.core.rule import Severity
from veracity.detect.rules.data.loader_rewired import LoaderRewired
from veracity.detect.rules.data.set_changed import SetChanged


class Own(Dataset[Any]):
    """Items of whatever is held."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        return torch.as_tensor(self.values[index])


def found(guarded: Guarded) -> list[Finding]:
    detectors = (SetChanged(), LoaderRewired())
    assert guarded.session.shield.failures == {}
    return [
        finding
        for record in guarded.seen(Observation)
        for one in detectors
        for finding in one.observe(record)
    ]


def through(loader: DataLoader[Any], *changes: tuple[int, Callable[[], object]], batches: int = 40) -> None:
    """Take batches, pass after pass; each change is made before one of them."""
    endless = itertools.chain.from_iterable(itertools.repeat(loader))
    for number in range(batches):
        for at, change in changes:
            if at == number:
                change()
        next(endless)


TENSOR = torch.arange(400.0).reshape(100, 4)


def hold(way: str) -> tuple[Dataset[Any], Any]:
    tensor = TENSOR.clone()
    array = tensor.numpy().copy()
    sets: dict[str, tuple[Dataset[Any], Any]] = {
        "tensor data set": (TensorDataset(tensor, tensor[:, 0].clone()), tensor),
        "own": (Own(tensor), tensor),
        "array": (Own(array), array),
        "subset": (Subset(Own(tensor), range(100)), tensor),
        "several": (ConcatDataset([Own(tensor[:50].clone()), Own(tensor)]), tensor),
    }
    return sets[way]


@pytest.mark.parametrize("way", ["tensor data set", "own", "array", "subset", "several"])
def test_a_write_in_the_middle_of_a_pass_is_found(guarded: Guarded, way: str) -> None:
    dataset, held = hold(way)
    loader = DataLoader(dataset, batch_size=2, shuffle=True)

    def write() -> None:
        held[::3] = -1.0

    through(loader, (20, write))
    findings = found(guarded)
    assert [(one.rule, one.severity) for one in findings] == [("data-set-changed", Severity.WARNING)]


def test_a_write_round_the_counter_is_met_at_sampled_elements(guarded: Guarded) -> None:
    dataset, held = hold("own")
    through(DataLoader(dataset, batch_size=2), (20, lambda: held.data.mul_(0.5)))
    assert [one.rule for one in found(guarded)] == ["data-set-changed"]


@pytest.mark.parametrize(("first", "severity"), [(0, Severity.NOTE), (3, Severity.WARNING)])
def test_labels_renewed_batch_by_batch_from_a_pass_on(
    guarded: Guarded, first: int, severity: Severity
) -> None:
    dataset, held = hold("own")
    parameter = torch.nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    loader = DataLoader(dataset, batch_size=5)
    for turn in range(3):
        for number, batch in enumerate(loader):
            optimizer.zero_grad()
            (batch * parameter).mean().backward()
            optimizer.step()
            if turn == 2 and number >= first:
                held[number] *= 0.9
    assert [one.severity for one in found(guarded)] == [severity]


def test_a_write_between_passes_is_a_note(guarded: Guarded) -> None:
    dataset, held = hold("own")
    loader = DataLoader(dataset, batch_size=5)
    list(loader)
    held.mul_(0.5)
    list(loader)
    assert [one.severity for one in found(guarded)] == [Severity.NOTE]


class Labelled(Own):
    """Items and their classes."""

    def __init__(self, values: Any, classes: Any) -> None:
        super().__init__(values)
        self.classes = classes

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index), int(self.classes[index])


def classes(seed: int = 0) -> Any:
    return numpy.random.default_rng(seed).integers(0, 10, 100)


def edited(array: Any) -> Any:
    array = array.clone() if isinstance(array, torch.Tensor) else array.copy()
    array[::6] = (array[::6] + 1) % 10
    return array


@pytest.mark.parametrize("tensors", [False, True])
def test_an_edited_copy_in_the_middle_of_a_pass_is_found(guarded: Guarded, *, tensors: bool) -> None:
    dataset = Labelled(TENSOR, torch.from_numpy(classes()) if tensors else classes())

    def exchange() -> None:
        dataset.classes = edited(dataset.classes)

    through(DataLoader(dataset, batch_size=2, shuffle=True), (21, exchange))
    findings = found(guarded)
    assert [(one.rule, one.severity) for one in findings] == [("data-set-changed", Severity.WARNING)]
    assert "classes" in findings[0].subject


def test_data_exchanged_by_programs_is_no_finding(guarded: Guarded) -> None:
    def next_part(dataset: Labelled) -> None:
        dataset.values, dataset.classes = TENSOR.flip(0).clone(), edited(dataset.classes)

    def other_classes(dataset: Labelled) -> None:
        dataset.classes = classes(1)

    def same_copied(dataset: Labelled) -> None:
        dataset.classes = dataset.classes.copy()

    def shorter_type(dataset: Labelled) -> None:
        dataset.classes = edited(dataset.classes).astype("int32")

    def as_list(dataset: Labelled) -> None:
        dataset.classes = edited(dataset.classes).tolist()

    for change in (next_part, other_classes, same_copied, shorter_type, as_list):
        dataset = Labelled(TENSOR, classes())
        through(DataLoader(dataset, batch_size=2, shuffle=True), (21, lambda: change(dataset)))  # noqa: B023
    dataset = Labelled(TENSOR, classes())

    def count() -> None:
        dataset.classes = edited(dataset.classes)

    through(DataLoader(dataset, batch_size=2), *((at, count) for at in range(2, 40, 3)))
    assert found(guarded) == []


def test_working_memory_is_left_alone(guarded: Guarded) -> None:
    dataset, held = hold("own")
    always = [(at, lambda: held.add_(1.0)) for at in range(3, 40, 4)]
    through(DataLoader(dataset, batch_size=2), *always)
    assert found(guarded) == []


def test_what_is_only_read_is_no_finding(guarded: Guarded, tmp_path: Path) -> None:
    mapped: Any = numpy.memmap(tmp_path / "data", dtype="float32", mode="w+", shape=(100, 4))
    for dataset in (hold("own")[0], hold("array")[0], Own(mapped), Own([1.0] * 100), Own(torch.ones(100, 0))):
        through(DataLoader(dataset, batch_size=2, shuffle=True))
    assert found(guarded) == []


def exchange_sampler(loader: DataLoader[Any]) -> None:
    loader.batch_sampler.sampler = SequentialSampler(loader.dataset)


def exchange_collate(loader: DataLoader[Any]) -> None:
    kept = loader.collate_fn
    loader.collate_fn = lambda items: kept(items)


@pytest.mark.parametrize(
    ("exchange", "part"), [(exchange_sampler, "sampler"), (exchange_collate, "collate function")]
)
@pytest.mark.parametrize("late", [False, True])
def test_a_loader_that_was_rearranged_is_found(
    guarded: Guarded, exchange: Callable[[DataLoader[Any]], None], part: str, late: bool
) -> None:
    loader = DataLoader(hold("own")[0], batch_size=20, shuffle=True)
    if late:
        list(loader)
    exchange(loader)
    list(loader)
    findings = found(guarded)
    assert [(one.rule, one.subject) for one in findings] == [("data-loader-rewired", f"loader 0: {part}")]


class Arranged(DataLoader[Any]):
    """A library's loader, which arranges itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        exchange_collate(self)


def test_loaders_as_libraries_build_them_are_no_finding(guarded: Guarded) -> None:
    dataset = hold("own")[0]
    batches = torch.utils.data.BatchSampler(SequentialSampler(dataset), 4, False)
    for loader in (
        Arranged(dataset, batch_size=4),
        DataLoader(dataset, batch_sampler=batches),
        DataLoader(dataset, batch_size=None),
        DataLoader(dataset, collate_fn=list, batch_size=3),
    ):
        list(loader)
    batches.sampler = SequentialSampler(dataset)
    list(loader)
    assert found(guarded) == []
