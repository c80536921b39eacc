"""States of optimizers that are not torch's are sampled under their own names, whatever lies beside them."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from tests.guard.conftest import Guarded
from veracity.core import observation as seen


class Own(torch.optim.Optimizer):
    """Keeps all kinds of things in its state."""

    def __init__(self, params: Any, step: object) -> None:
        self.count = step
        super().__init__(params, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for param in self.param_groups[0]["params"]:
            state = self.state[param]
            state.update(
                {
                    "step": self.count,
                    "trace": state.get("trace", torch.zeros_like(param)) + param.grad,
                    "flat": param.detach().flatten().clone(),
                    "rows": torch.zeros(len(param)),
                    "nothing": None,
                    "number": 0.5,
                    "inner": {"trace": torch.zeros_like(param)},
                    7: torch.zeros_like(param),
                }
            )
            param.sub_(state["trace"], alpha=0.1)


@pytest.mark.parametrize(
    ("count", "read"),
    [
        (3, 3.0),
        (torch.tensor(4.0), 4.0),
        (torch.tensor([5]), 5.0),
        (None, None),
        ("six", None),
        (torch.zeros(4, 6), None),
        ([7], None),
    ],
)
def test_states_of_the_parameters_own_size_are_read(
    guarded: Guarded, count: object, read: float | None
) -> None:
    weight = torch.nn.Parameter(torch.ones(4, 6))
    optimizer = Own([weight], count)
    for _ in range(2):
        weight.square().sum().backward()
        optimizer.step()
    record = guarded.seen(seen.StepRecord)[-1]
    (sample,) = [one for one in record.samples if not one.repeated]
    spread = {"step"} if isinstance(count, torch.Tensor) and count.numel() > 1 else set()
    assert set(sample.before) == {"param", "grad", "trace", "flat"} | spread
    assert set(sample.after) == {"param", "trace", "flat"} | spread
    assert sample.step_after == read
    assert [gap.reason for gap in guarded.seen(seen.Gap)] == []
