"""What torch computes with, set by a line in the middle of a run: read by the guard, judged by the rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("torch")

import torch

from tests.guard.conftest import Guarded
from tests.guard.test_layers import AT, STEPS, judged, train
from veracity.core.rule import Severity

Set = Callable[[bool], object]


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(False)
    torch.set_autocast_enabled("cpu", False)
    torch.set_num_threads(threads)


def _autocast(on: bool) -> None:
    torch.set_autocast_enabled("cpu", on)


def _precision(on: bool) -> None:
    torch.set_float32_matmul_precision("medium" if on else "highest")


def _threads(on: bool) -> None:
    torch.set_num_threads(2 if on else 1)


SETTINGS: dict[str, tuple[Set, Severity]] = {
    "autocast": (_autocast, Severity.WARNING),
    "precision of matrix products": (_precision, Severity.NOTE),
    "deterministic algorithms": (torch.use_deterministic_algorithms, Severity.NOTE),
    "threads": (_threads, Severity.NOTE),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_another_for_some_steps(guarded: Guarded, name: str) -> None:
    change, severity = SETTINGS[name]
    train(lambda net, step: change(step in AT))
    assert judged(guarded) == [(severity, 14, f"torch: {name}")]


@pytest.mark.parametrize("name", SETTINGS)
def test_what_stays_is_a_note(guarded: Guarded, name: str) -> None:
    change, _ = SETTINGS[name]
    train(lambda net, step: change(step >= STEPS - 8))
    assert judged(guarded) == [(Severity.NOTE, STEPS - 8, f"torch: {name}")]


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_so_from_the_start_and_what_is_put_back_is_not_told(guarded: Guarded, name: str) -> None:
    change, _ = SETTINGS[name]

    def evaluated(net: object, step: int) -> None:
        change(False)
        change(True)

    train(evaluated)
    assert judged(guarded) == []
