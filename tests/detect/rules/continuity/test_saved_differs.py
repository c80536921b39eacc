from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from tests.detect.rules.continuity.made import PATH, Story, judge
from veracity.core.observation import TensorDigest
from veracity.detect.rules.continuity.saved_differs import SavedDiffers


def walk(value: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield prefix, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, f"{prefix}.{key}" if prefix else str(key))


def described(value: Any) -> list[TensorDigest]:
    """In logical order, which for a transposed tensor is not that of its storage."""
    found = []
    for key, one in walk(value):
        flat = one.detach().contiguous().reshape(-1)
        content = flat.view(torch.uint8).numpy().tobytes()
        dtype = str(one.dtype).removeprefix("torch.")
        found.append(TensorDigest(key, hashlib.sha256(content).hexdigest(), dtype, list(one.shape)))
    return found


def storages(value: Any) -> list[str]:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as archive:
        names = [name for name in archive.namelist() if "/data/" in name]
        return [hashlib.sha256(archive.read(name)).hexdigest() for name in names]


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm(8), nn.Linear(8, 5), nn.Linear(5, 5))


class Saving:
    """Saves of a model that is trained a little in between."""

    def __init__(self, model: nn.Module | None = None) -> None:
        torch.manual_seed(1)
        self.model = model or network()
        self.story = Story()
        self.story.declare(names=[name for name, _ in self.model.named_parameters()])

    def save(self, tamper: Callable[[dict[str, Any]], None] | None = None, **extra: Any) -> None:
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter += torch.randn_like(parameter)
        value = {"model": dict(self.model.state_dict()), **extra}
        tensors = described(value)
        written = dict(value)
        if tamper is not None:
            written["model"] = {key: one.clone() for key, one in value["model"].items()}
            tamper(written["model"])
        number = self.story.saved(tensors)
        self.story.file("saved", number, storages=storages(written))
        self.story.step(number)

    def judge(self) -> tuple[SavedDiffers, list[Any]]:
        detector = SavedDiffers()
        return detector, judge(detector, self.story.seen)


def scale_all(state: dict[str, Any]) -> None:
    for one in state.values():
        one.mul_(0.9)


def scale_matrix(state: dict[str, Any]) -> None:
    state["2.weight"].mul_(0.9)


def test_clean_saves_hold() -> None:
    saving = Saving()
    for _ in range(3):
        saving.save()
    detector, found = saving.judge()
    assert found == []
    assert detector.coverage().reasons == {}


def test_weights_scaled_on_their_way_to_the_file_are_found_at_the_first_save() -> None:
    saving = Saving()
    saving.save(scale_all)
    _, (finding,) = saving.judge()
    assert finding.breaks
    assert finding.locations[0].path == PATH
    assert finding.first_step == 9
    assert "in memory are not in the file" in finding.message


def test_one_matrix_scaled_is_found_once_a_clean_save_was_seen() -> None:
    saving = Saving()
    saving.save()
    saving.save(scale_matrix)
    _, (finding,) = saving.judge()
    assert finding.breaks
    assert "model.2.weight" in finding.message
    first = Saving()
    first.save(scale_matrix)
    detector, found = first.judge()
    assert found == []
    assert (
        "some saved tensors may be views and were not compared with the file" in detector.coverage().reasons
    )


class Shared(nn.Module):
    """Tied weights, a parameter that is a slice, a transposed one, two in a flat buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(6, 6, bias=False)
        self.head = nn.Linear(6, 6, bias=False)
        self.head.weight = self.embedding.weight
        self.position = nn.Parameter(torch.zeros(10, 4)[:7])
        self.turned = nn.Parameter(torch.zeros(5, 3).t())
        flat = torch.zeros(20)
        self.one, self.two = nn.Parameter(flat[:9]), nn.Parameter(flat[9:])
        self.scalar, self.empty = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.zeros(0))


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"losses": torch.arange(100.0)[:7], "others": torch.arange(50.0)[:9]},
        {"wide": torch.tensor(2.0).expand(4), "mask": torch.zeros(3, dtype=torch.bool)},
        {"rng": torch.arange(16, dtype=torch.uint8), "half": torch.ones(3, 3).bfloat16()},
        {"strided": torch.arange(20.0)[::2], "row": torch.arange(20.0).view(4, 5)[1]},
    ],
)
def test_views_ties_scalars_and_slices_never_alarm(extra: dict[str, Any]) -> None:
    saving = Saving(Shared())
    for _ in range(4):
        saving.save(**extra)
    assert saving.judge()[1] == []


def test_channels_last_never_alarms_even_when_it_begins_with_zeros() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)).to(memory_format=torch.channels_last)
    saving = Saving(model)
    zeros = {"state": {"0": torch.zeros(4, 3, 3, 3).to(memory_format=torch.channels_last)}}
    saving.save(optimizer=zeros)
    for _ in range(3):
        filled = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
        saving.save(optimizer={"state": {"0": filled}})
    assert saving.judge()[1] == []


def test_a_file_written_again_before_it_was_read_does_not_alarm() -> None:
    saving = Saving()
    saving.save()
    saving.save(scale_all)
    late = saving.story
    first, second = late.seen[-3], late.seen[-2]
    late.seen[-3:] = [first, late.seen[-1]]
    late.saved([])
    late.seen.append(second)
    detector, found = saving.judge()
    assert found == []
    assert "a file was written again before it was read" in detector.coverage().reasons


def test_what_cannot_be_compared_is_a_reason() -> None:
    story = Story()
    story.file("saved", story.saved([]))
    story.file("saved", story.saved([], truncated=True), storages=["00"])
    story.file("saved", 99, storages=["00"])
    detector = SavedDiffers()
    assert judge(detector, story.seen) == []
    assert detector.coverage().reasons == {
        "a saved file is not one whose storages can be read": 1,
        "the tensors given to a save were not all recorded": 2,
    }
