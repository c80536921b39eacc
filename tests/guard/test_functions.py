"""Functions that decide a step are read again while the run goes on."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.guard.functions import Functions

torch = pytest.importorskip("torch")

LOOK = Functions.look


@pytest.fixture
def watched(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    """A guard that looks at functions, which that of the other tests does not."""
    monkeypatch.setattr(Functions, "look", LOOK)
    return guarded


def steps(count: int) -> Iterator[None]:
    """Steps on one more optimizer; the guard looks after each."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter])
    yield
    for _ in range(count):
        parameter.sum().backward()
        optimizer.step()
        yield


def looks(guarded: Guarded) -> list[tuple[int, list[str]]]:
    return [(look.step, [one.name for one in look.functions]) for look in guarded.seen(seen.FunctionsSeen)]


def test_nothing_is_reported_while_nothing_changes(watched: Guarded) -> None:
    for _ in steps(30):
        pass
    ((first, names),) = looks(watched)
    assert first == 0
    assert "torch.optim.adam._single_tensor_adam" in names
    assert "torch.optim.lr_scheduler.LRScheduler.step" in names


@pytest.mark.parametrize("how", ["exchanged", "code exchanged", "method"])
def test_an_optimizers_function_is_seen_in_the_very_step(
    watched: Guarded, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    adam = importlib.import_module("torch.optim.adam")
    running = steps(12)
    for _ in range(8):
        next(running)
    name = {"method": "Adam._init_group"}.get(how, "_single_tensor_adam")
    if how == "exchanged":
        kept = adam._single_tensor_adam
        monkeypatch.setattr(adam, "_single_tensor_adam", lambda *given, **named: kept(*given, **named))
    elif how == "code exchanged":
        name = "_get_value"
        module = importlib.import_module("torch.optim.optimizer")
        code = module._get_value.__code__
        monkeypatch.setattr(adam._get_value, "__code__", code.replace(co_firstlineno=code.co_firstlineno + 1))
    else:
        kept = adam.Adam._init_group
        monkeypatch.setattr(adam.Adam, "_init_group", lambda *given: kept(*given))
    next(running)
    changed = looks(watched)[1:]
    assert [step for step, _ in changed] == [7]
    assert f"torch.optim.adam.{name}" in changed[0][1]
    for _ in running:
        pass
    assert len(looks(watched)) == 2
