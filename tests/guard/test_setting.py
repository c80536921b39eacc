"""What sets torch's generator is seen, and neither its state nor the functions are others for it."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from veracity.core import observation as seen

pytest.importorskip("torch")

import torch
from torch.utils.checkpoint import checkpoint


def train(steps: int, before: Callable[[int], object], *, again: bool = False) -> None:
    model: Any = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in range(steps):
        before(number)
        inputs = torch.ones(2, 4)
        output = checkpoint(model, inputs, use_reentrant=False) if again else model(inputs)
        output.sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def steps(guarded: Guarded) -> list[seen.StepRecord]:
    assert guarded.session.shield.failures == {}
    return guarded.seen(seen.StepRecord)


def put_back(guarded: Guarded) -> list[bool]:
    return [bool(one.set_to) and one.set_to != one.rng["torch"] for one in steps(guarded)]


@pytest.mark.parametrize("name", ["manual_seed", "set_rng_state"])
@pytest.mark.parametrize("owner", [torch, torch.random])
def test_a_seed_and_a_state_that_is_put_back_are_seen(guarded: Guarded, owner: Any, name: str) -> None:
    value: Any = 7 if name == "manual_seed" else torch.get_rng_state()
    train(4, lambda number: getattr(owner, name)(value) if number in (1, 3) else None)
    assert put_back(guarded) == [False, True, False, True]
    (one, other) = [record for record in steps(guarded) if record.set_to]
    assert (one.set_to, one.rng["torch"]) == (other.set_to, other.rng["torch"])


def test_nothing_is_set_where_the_program_sets_nothing(guarded: Guarded) -> None:
    train(12, lambda number: None)
    assert [record.set_to for record in steps(guarded)] == [""] * 12


def test_an_evaluation_under_a_seed_leaves_the_state_that_goes_on(guarded: Guarded) -> None:
    def evaluate(number: int) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(5)
            torch.randn(3)

    train(5, evaluate)
    assert all(record.set_to for record in steps(guarded))
    assert len({record.rng["torch"] for record in steps(guarded)}) == 5


def test_activation_checkpointing_moves_on(guarded: Guarded) -> None:
    train(5, lambda number: None, again=True)
    assert len({record.rng["torch"] for record in steps(guarded)}) == 5


def test_the_functions_are_what_they_were(guarded: Guarded) -> None:
    generator = torch.manual_seed(3)
    assert generator is torch.default_generator
    kept = torch.get_rng_state()
    first = torch.randn(3)
    assert torch.set_rng_state(kept) is None
    assert torch.equal(torch.randn(3), first)
    for name in ("manual_seed", "set_rng_state"):
        function = getattr(torch, name)
        if "torch._dynamo" in sys.modules:
            continue  # which puts a wrapper of its own around one of the two, found by no name
        assert function is getattr(torch.random, name)
        assert pickle.loads(pickle.dumps(function)) is function
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        torch.manual_seed("x")
