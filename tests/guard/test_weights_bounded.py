"""A bound on the norms of rows that acts late is the program's way; a row shortened at one step is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.core.finding import Finding
from veracity.core.rule import Severity
from veracity.detect.rules.continuity.weights_changed import WRITES, WeightsChanged

pytest.importorskip("torch")

import torch

STEPS, AT = 24, 18


def shortened_at(
    guarded: Guarded, *, writes_always: bool, at: Sequence[int] = (AT,), steps: int = STEPS
) -> list[Finding]:
    """All rows of a matrix are halved before a step; at the others they are written as they are, or not."""
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Linear(6, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    matrix = model[0].weight
    for step in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        if writes_always or step in at:
            with torch.no_grad():
                matrix.copy_(matrix * (0.5 if step in at else 1.0))
    detector = WeightsChanged()
    found = [one for record in guarded.seen(seen.Observation) for one in detector.observe(record)]
    return [*found, *detector.finish()]


def test_what_is_written_between_all_steps_may_act_late(guarded: Guarded) -> None:
    (finding,) = shortened_at(guarded, writes_always=True)
    assert (finding.severity, finding.first_step) == (Severity.NOTE, AT + 1)
    assert finding.message.endswith(WRITES)


def test_what_is_written_at_one_step_is_an_error(guarded: Guarded) -> None:
    (finding,) = shortened_at(guarded, writes_always=False)
    assert (finding.breaks, finding.first_step) == (True, AT + 1)


@pytest.mark.parametrize("at", [(0,), (0, AT), (3,)])
@pytest.mark.parametrize("steps", [8, STEPS])
def test_a_bound_that_acts_at_first_may_not_act_again_for_long(
    guarded: Guarded, at: Sequence[int], steps: int
) -> None:
    (finding,) = shortened_at(guarded, writes_always=True, at=at, steps=steps)
    assert (finding.severity, finding.first_step) == (Severity.NOTE, at[0] + 1)
    assert finding.message.endswith(WRITES)


@pytest.mark.parametrize("at", [(0,), (3,)])
@pytest.mark.parametrize("steps", [8, STEPS])
def test_what_is_written_at_one_of_the_first_steps_alone_is_an_error(
    guarded: Guarded, at: Sequence[int], steps: int
) -> None:
    (finding,) = shortened_at(guarded, writes_always=False, at=at, steps=steps)
    assert (finding.breaks, finding.first_step) == (True, at[0] + 1)
