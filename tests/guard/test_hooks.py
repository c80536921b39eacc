"""A program that clears the hooks of all optimizers: no accusation, and a gap that says what happened."""

from __future__ import annotations

import importlib

import pytest

from tests.guard.conftest import Guarded
from veracity.core.observation import Gap, Observation, StepRecord, WeightsMoved
from veracity.detect.rules.continuity.weights_changed import WeightsChanged

torch = pytest.importorskip("torch")


def clear() -> None:
    module = importlib.import_module("torch.optim.optimizer")
    module._global_optimizer_pre_hooks.clear()
    module._global_optimizer_post_hooks.clear()


@pytest.mark.parametrize("between", [True, False])
def test_hooks_that_were_cleared_come_back_and_are_told_once(guarded: Guarded, between: bool) -> None:
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader(torch.ones(64, 4), batch_size=2)
    for number, batch in enumerate(loader):
        if between and number in (5, 9):
            clear()
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        if not between and number in (5, 9):
            clear()
        optimizer.step()
    steps = [record.step for record in guarded.seen(StepRecord)]
    assert len(steps) == (32 if between else 30)
    left_out = (5, 10 if between else 9)
    assert steps == [step for step in range(len(steps) + 2) if step not in left_out]
    assert guarded.seen(WeightsMoved) == []
    detector = WeightsChanged()
    found = [one for record in guarded.seen(Observation) for one in detector.observe(record)]
    assert [one.message for one in (*found, *detector.finish())] == []
    (gap,) = [gap for gap in guarded.seen(Gap) if "hooks" in gap.what]
    assert (gap.law, gap.stops) == ("update", True)


def test_own_hooks_of_the_program_are_left_alone(guarded: Guarded) -> None:
    module = importlib.import_module("torch.optim.optimizer")
    calls: list[int] = []
    handle = module.register_optimizer_step_pre_hook(lambda *rest: calls.append(1))
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        handle.remove()
    assert len(calls) == 1
    assert [gap for gap in guarded.seen(Gap) if "hooks" in gap.what] == []
    assert len(guarded.seen(StepRecord)) == 3
