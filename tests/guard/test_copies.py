"""Copies of the weights that programs save: multiples are told, and what else they are is not."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from tests.guard.test_held import judged
from veracity.core.finding import Finding
from veracity.core.observation import CheckpointSaved
from veracity.core.rule import Severity
from veracity.detect.rules.continuity.saved_differs import SavedDiffers

torch = pytest.importorskip("torch")
Save = Callable[[Any, Any], Any]


def model(dtype: Any = None) -> Any:
    torch.manual_seed(5)
    layers = torch.nn.Linear(12, 24), torch.nn.LayerNorm(24), torch.nn.Linear(24, 6)
    return torch.nn.Sequential(*layers).to(dtype or torch.float32)


def saved(
    guarded: Guarded, save: Save, *, steps: int = 6, every: int = 2, dtype: Any = None, inside: bool = False
) -> list[Finding]:
    """A training that saves what ``save`` makes of the model and an average of it, every few steps.

    ``inside``: the model is a part of a module that gives its parameters other names.
    """
    net = model(dtype)
    around = torch.nn.ModuleDict({"net": net, "head": torch.nn.Identity()}) if inside else net
    average = copy.deepcopy(net)
    optimizer = torch.optim.AdamW(around.parameters(), lr=1e-2)
    for step in range(steps):
        net.zero_grad()
        net(torch.randn(8, 12, dtype=dtype)).square().mean().backward()
        optimizer.step()
        with torch.no_grad():
            for kept, parameter in zip(average.parameters(), net.parameters(), strict=True):
                kept.lerp_(parameter, 0.1)
        if step % every == every - 1:
            torch.save(save(net, average), io.BytesIO())
    assert guarded.session.shield.failures == {}
    return judged(guarded, SavedDiffers())


def times(net: Any, factor: float, *only: str) -> dict[str, Any]:
    state = net.state_dict()
    return {name: value * factor if not only or name in only else value for name, value in state.items()}


@pytest.mark.parametrize("factor", [0.5, 0.95, 1.001, -1.0])
@pytest.mark.parametrize("prefix", ["model", "module", "state.net"])
def test_weights_saved_as_a_multiple_are_a_warning(guarded: Guarded, prefix: str, factor: float) -> None:
    (finding,) = saved(guarded, lambda net, _: {prefix: times(net, factor), "step": 3})
    assert (finding.rule, finding.severity) == ("continuity-saved-differs", Severity.WARNING)
    assert finding.first_step == 1
    assert f"by {factor:.6g}" in finding.message


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_multiple_in_another_format_is_a_warning(guarded: Guarded, dtype: str) -> None:
    def save(net: Any, _: Any) -> Any:
        return {name: (value * 0.9).to(getattr(torch, dtype)) for name, value in net.state_dict().items()}

    assert [one.severity for one in saved(guarded, save)] == [Severity.WARNING]


def test_one_tensor_saved_as_a_multiple_is_a_warning(guarded: Guarded) -> None:
    (finding,) = saved(guarded, lambda net, _: {"model": times(net, 0.9, "2.weight")})
    assert finding.severity is Severity.WARNING
    assert "1 tensor was saved multiplied" in finding.message
    assert "model.2.weight" in finding.message


@pytest.mark.parametrize("prefix", ["model", "state.net"])
def test_a_multiple_of_the_model_inside_its_wrapper_is_a_warning(guarded: Guarded, prefix: str) -> None:
    found = saved(guarded, lambda net, _: {prefix: times(net, 0.9, "2.weight")}, inside=True)
    assert [one.severity for one in found] == [Severity.WARNING]


@pytest.mark.parametrize("name", ["itself", "half", "average", "average-alone", "other", "older-and-decayed"])
def test_what_is_saved_of_a_model_inside_its_wrapper_is_no_finding(guarded: Guarded, name: str) -> None:
    assert saved(guarded, CLEAN[name], inside=True) == []


def test_a_multiple_beside_the_parameters_themselves_is_a_note(guarded: Guarded) -> None:
    found = saved(guarded, lambda net, _: {"model": net.state_dict(), "half": times(net, 0.5)})
    assert [one.severity for one in found] == [Severity.NOTE]


def dead(net: Any, average: Any) -> Any:
    """An older state, whose unused layer has only decayed since."""
    older = times(average, 1.0)
    older["2.weight"] = net.state_dict()["2.weight"] * 1.05
    return older


CLEAN: dict[str, Save] = {
    "itself": lambda net, _: net.state_dict(),
    "copied": lambda net, _: copy.deepcopy(net.state_dict()),
    "wrapped": lambda net, _: torch.nn.DataParallel(net).state_dict(),
    "half": lambda net, _: {name: value.half() for name, value in net.state_dict().items()},
    "bfloat16": lambda net, _: {name: value.bfloat16() for name, value in net.state_dict().items()},
    "float64": lambda net, _: {name: value.double() for name, value in net.state_dict().items()},
    "through-bfloat16": lambda net, _: {n: v.bfloat16().float() for n, v in net.state_dict().items()},
    "average": lambda net, average: {"model": net.state_dict(), "ema": average.state_dict()},
    "average-alone": lambda _, average: average.state_dict(),
    "average-in-bfloat16": lambda _, average: {n: v.bfloat16() for n, v in average.state_dict().items()},
    "other": lambda net, _: {"teacher": model().state_dict(), "model": net.state_dict()},
    "transposed": lambda net, _: {
        name: value.t() * 2 for name, value in net.state_dict().items() if "2.w" in name
    },
    "older-and-decayed": dead,
    "whole": lambda net, _: list(net.parameters()),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CLEAN)
def test_copies_of_other_kinds_are_no_finding(guarded: Guarded, name: str, dtype: str) -> None:
    assert saved(guarded, CLEAN[name], dtype=getattr(torch, dtype)) == []


def test_averages_of_stochastic_weights_are_no_finding(guarded: Guarded) -> None:
    net = model()
    averaged = torch.optim.swa_utils.AveragedModel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        net.zero_grad()
        net(torch.randn(8, 12)).square().mean().backward()
        optimizer.step()
        averaged.update_parameters(net)
        torch.save(averaged.state_dict(), io.BytesIO())
    assert judged(guarded, SavedDiffers()) == []


def test_weights_that_are_not_finite_are_no_finding(guarded: Guarded) -> None:
    def save(net: Any, _: Any) -> Any:
        with torch.no_grad():
            net[0].weight.fill_(float("nan"))
        return times(net, 0.5)

    assert saved(guarded, save, steps=2) == []


def test_a_save_of_the_parameters_ships_no_values(guarded: Guarded, tmp_path: Path) -> None:
    saved(guarded, lambda net, _: {"model": net.state_dict()})
    records = guarded.seen(CheckpointSaved)
    assert [record.copies for record in records] == [[]] * 3
    assert [record.same for record in records] == [{"model.": 6}] * 3
