"""Data that change in mid-run are noted in a real training, and one that goes on is not."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.detect.recording import origin
from veracity.core.finding import Finding
from veracity.core.observation import StepRecord
from veracity.core.rule import Severity
from veracity.detect.rules.metric.shifted import Shifted

STEPS = 320
AT = 250


def train(noise: Callable[[int], float]) -> tuple[list[Finding], Shifted]:
    """A line fitted by SGD to points whose noise is ``noise(step)``."""
    draw = torch.Generator().manual_seed(11)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    detector = Shifted()
    found: list[Finding] = []
    for step in range(STEPS):
        inputs = torch.randn(64, 4, generator=draw)
        targets = inputs.sum(1, keepdim=True) + noise(step) * torch.randn(64, 1, generator=draw)
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9))
        optimizer.step()
        record = StepRecord(
            origin(), 0, step, [], {}, loss.item(), 1, {}, [], [], norm, 1e9, False, False
        )  # fmt: skip
        found += detector.observe(record)
    return found, detector


def test_data_that_change_are_noted_near_their_first_step() -> None:
    found, detector = train(lambda step: 0.5 if step < AT else 4.0)
    loss = next(one for one in found if one.subject.startswith("loss"))
    assert loss.first_step is not None
    assert AT <= loss.first_step < AT + 12
    assert {one.severity for one in found} == {Severity.NOTE}
    assert detector.coverage().checked == STEPS


def test_a_training_that_goes_on_is_not() -> None:
    found, _ = train(lambda step: 0.5)
    assert found == []


def test_steps_without_a_loss_are_not_covered() -> None:
    detector = Shifted()
    record = StepRecord(origin(), 0, 0, [], {}, None, 0, {}, [], [], None, None, False, False)
    assert list(detector.observe(record)) == []
    assert (detector.coverage().checked, detector.coverage().possible) == (0, 1)
