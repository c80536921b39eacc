"""``veracity.protect``: nothing without a guard, and what it hands out is used like what it was given."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import veracity
from veracity.core.protection import GUARD
from veracity.guard import protection
from veracity.guard.truth.losses import LossTruth


def squares(predicted: Any, wanted: Any = 0.0, *, scale: float = 1.0) -> Any:
    """Some loss."""
    return scale * (predicted - wanted) ** 2


class Margin:
    """A loss that is an object."""

    def __init__(self) -> None:
        self.margin = 0.5
        self.calls = 0

    def __call__(self, predicted: Any) -> Any:
        self.calls += 1
        return max(0.0, self.margin - predicted)

    def method(self, predicted: Any) -> Any:
        return predicted * self.margin


class Watcher:
    """Notes what is called."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def called(self, function: Any, args: Any, kwargs: Any) -> Any:
        self.seen.append(function)
        return function(*args, **kwargs)


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[protection.Registry]:
    monkeypatch.setitem(sys.modules, GUARD, protection)
    protection.registry.clear()
    yield protection.registry
    protection.registry.clear()


def test_without_a_guard_what_is_given_comes_back() -> None:
    assert veracity.protect(loss_fn=squares) is squares


def test_without_a_guard_nothing_is_imported() -> None:
    code = (
        "import sys, veracity; before = set(sys.modules); veracity.protect(loss_fn=print);"
        "print(sorted(set(sys.modules) - before), 'torch' in sys.modules, 'inspect' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False False"


def test_a_function_stays_what_it_is(guard: protection.Registry) -> None:
    loss_fn: Any = veracity.protect(loss_fn=squares)
    assert loss_fn(3.0, 1.0, scale=2.0) == 8.0
    assert loss_fn.__name__ == "squares"
    assert inspect.unwrap(loss_fn) is squares
    assert inspect.signature(loss_fn) == inspect.signature(squares)
    assert pickle.loads(pickle.dumps(loss_fn)) is squares
    assert copy.deepcopy(loss_fn) is squares
    assert veracity.protect(loss_fn=loss_fn) is loss_fn


def test_an_object_stays_what_it_is(guard: protection.Registry) -> None:
    inner = Margin()
    loss_fn: Any = veracity.protect(loss_fn=inner)
    loss_fn.margin = 2.0
    assert (inner.margin, loss_fn(0.5), inner.calls, loss_fn.calls) == (2.0, 1.5, 1, 1)
    assert guard.losses[0].name == "Margin"


def test_in_a_class_a_function_is_a_method(guard: protection.Registry) -> None:
    class Trainer:
        scale = 3.0

        def plain(self, predicted: float) -> float:
            return predicted * self.scale

        loss = veracity.protect(loss_fn=plain)

    assert Trainer().loss(2.0) == 6.0


def test_a_module_is_returned_as_it_is(guard: protection.Registry) -> None:
    torch = pytest.importorskip("torch")
    loss_fn = torch.nn.CrossEntropyLoss()
    before = dict(vars(loss_fn))
    assert veracity.protect(loss_fn=loss_fn) is loss_fn
    assert vars(loss_fn) == before
    assert guard.losses[0].alive
    del loss_fn
    assert not guard.losses[0].alive


def test_one_piece_of_code_is_one_loss(guard: protection.Registry) -> None:
    for scale in range(3):
        veracity.protect(loss_fn=functools.partial(squares, scale=scale))
        veracity.protect(loss_fn=lambda predicted: predicted)
        veracity.protect(loss_fn=Margin().method)
    assert [loss.name for loss in guard.losses] == ["squares", "<lambda>", "method"]


def test_there_are_not_too_many(guard: protection.Registry) -> None:
    for number in range(protection.MAX_LOSSES + 3):
        kind = type(f"Loss{number}", (), {"__call__": lambda self, predicted: predicted})
        veracity.protect(loss_fn=kind())
    assert len(guard.losses) == protection.MAX_LOSSES


def test_what_a_later_version_asks_for_is_passed_over(guard: protection.Registry) -> None:
    assert protection.protect(squares, differentiable=True, later=1)(2.0) == 4.0
    assert guard.losses[0].strict
    assert protection.protect(7, differentiable=False) == 7  # type: ignore[arg-type, comparison-overlap]


def test_calls_are_told_only_while_a_check_is_due(guard: protection.Registry) -> None:
    loss_fn = veracity.protect(loss_fn=squares)
    watcher = Watcher()
    loss_fn(1.0)
    guard.losses[0].watcher = watcher
    loss_fn(1.0)
    guard.losses[0].watcher = None
    loss_fn(1.0)
    assert watcher.seen == [squares]


def test_a_compiled_program_traces_through_it(guard: protection.Registry) -> None:
    torch = pytest.importorskip("torch")
    loss_fn = veracity.protect(loss_fn=squares)
    guard.losses[0].watcher = Watcher()

    @torch.compile(backend="eager", fullgraph=True)
    def loss_of(predicted: Any) -> Any:
        return loss_fn(predicted, 1.0).sum()

    assert loss_of(torch.full((3,), 3.0)).item() == 12.0
    whole: Any = torch.compile(loss_fn, backend="eager", fullgraph=True)
    assert whole(torch.tensor(3.0), 1.0).item() == 4.0
    assert guard.losses[0].watcher.seen == []


def test_a_loss_that_cannot_be_watched_is_handed_back_and_told_of(
    guard: protection.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protection, "MAX_LOSSES", 0)
    assert protection.protect(squares) is squares
    assert "more than 0" in guard.missed
    monkeypatch.setattr(guard, "add", lambda *_, **__: 1 / 0)
    assert protection.protect(squares) is squares
    assert "ZeroDivisionError" in guard.missed
    told: list[tuple[str, str]] = []
    session: Any = SimpleNamespace(
        gap=lambda what, why, *, law: told.append((law, why)), config=SimpleNamespace(key=b"", overhead=0.01)
    )
    losses = LossTruth(session)
    assert losses.wanted()
    losses.arm(0, 1)
    losses.arm(0, 2)
    assert told == [("loss-truth", "ZeroDivisionError: division by zero")]
    assert not losses.wanted()
