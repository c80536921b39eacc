"""Programs that have tensors made elsewhere by default: what the guard makes for itself names its device.

``meta`` stands for the other device here: it holds no numbers, so whatever the guard made there would fail.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.guard.conftest import Guarded
from tests.guard.judging import judged
from veracity.core.observation import DatasetWritten, StepRecord

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from veracity.guard.datasets import Datasets

STEPS = 24


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """What names no device is made on ``meta``."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


class Classifier(nn.Module):
    """Returns its loss, so that its gradients are compared with differences of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 8, device="cpu"), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 3, device="cpu")
        )

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.layers(inputs), targets)


@pytest.mark.parametrize("hooked", [False, True])
def test_a_training_is_read_as_ever(guarded: Guarded, elsewhere: None, *, hooked: bool) -> None:
    torch.manual_seed(3)
    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def halve(stepping: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        for one in model.parameters():
            assert one.grad is not None
            one.grad.mul_(0.5)

    if hooked:
        optimizer.register_step_pre_hook(halve)
    for _ in range(STEPS):
        optimizer.zero_grad()
        targets = torch.randint(3, (8,), device="cpu")
        model(torch.randn(8, 4, device="cpu"), targets).backward()
        optimizer.step()
    outcome = judged(guarded)
    assert [one.message for one in outcome.findings if one.breaks] == []
    assert len(guarded.seen(StepRecord)) == STEPS
    assert outcome.update.checked == STEPS
    assert any(one.fingerprint_after for one in guarded.seen(StepRecord))
    # After a hook of the program, gradients are not those of the backward pass.
    assert hooked or outcome.coverage["gradient-truth"].checked


def test_a_data_set_in_memory_is_watched(guarded: Guarded, elsewhere: None) -> None:
    data = TensorDataset(torch.randn(64, 4, device="cpu"))
    watched = Datasets(guarded.session)
    watched.begin(0, 0, data)
    data.tensors[0].data.zero_()
    for _ in range(4):
        watched.delivered(0, 0)
    assert [one.changed for one in guarded.seen(DatasetWritten)] == [["tensors[0]"]]
