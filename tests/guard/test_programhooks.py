"""Hooks of programs, watched: nothing is changed by it, and what they begin to do is shipped."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from tests.guard.conftest import Guarded
from veracity.core.observation import HookActed
from veracity.guard.programhooks import Hooked

STEPS = 12
Hook = Callable[..., object]


def module_level(gradient: torch.Tensor) -> None:
    """A hook that can be pickled."""


def train(register: Callable[[nn.Sequential, Callable[[], int]], object]) -> nn.Sequential:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    steps: list[int] = []
    register(model, lambda: len(steps))
    while len(steps) < STEPS:
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        steps.append(0)
    return model


def on_weight(hook: Callable[[torch.Tensor, int], object]) -> Callable[..., object]:
    return lambda model, now: model[0].weight.register_hook(lambda gradient: hook(gradient, now()))


LATE: dict[str, tuple[Callable[..., object], str]] = {
    "flip": (on_weight(lambda g, n: -g if n == 9 else None), "other"),
    "flip, always returned": (on_weight(lambda g, n: -g if n == 9 else g), "other"),
    "scale": (on_weight(lambda g, n: g * 0.9 if n == 9 else None), "scaled"),
    "clamp": (on_weight(lambda g, n: g.clamp(-1e-4, 1e-4) if n == 9 else None), "clamped"),
    "accumulated": (
        lambda model, now: model[0].weight.register_post_accumulate_grad_hook(
            lambda weight: setattr(weight, "grad", -weight.grad) if now() == 9 else None
        ),
        "other",
    ),
    "passed on": (
        lambda model, now: model[2].register_full_backward_hook(
            lambda module, passed, came: tuple(-one for one in passed) if now() == 9 else None
        ),
        "other",
    ),
    "output": (
        lambda model, now: model[0].register_forward_hook(
            lambda module, inputs, output: output.detach() if now() == 9 else None
        ),
        "replaced",
    ),
    "input": (
        lambda model, now: model[2].register_forward_pre_hook(
            lambda module, inputs: (inputs[0] * 0,) if now() == 9 else None
        ),
        "replaced",
    ),
    "output in place": (
        lambda model, now: model[1].register_forward_hook(
            lambda module, inputs, output: (output.data.mul_(0), None)[1] if now() == 9 else None
        ),
        "",
    ),
}


@pytest.mark.parametrize("name", LATE)
def test_a_hook_that_begins_late_is_shipped_at_its_step(guarded: Guarded, name: str) -> None:
    register, relation = LATE[name]
    train(register)
    seen = [(one.step, one.relation, one.steps) for one in guarded.seen(HookActed)]
    assert seen == ([(9, relation, 9)] if relation else [])
    assert guarded.session.shield.failures == {}


HABITS: dict[str, Callable[..., object]] = {
    "nothing": on_weight(lambda g, n: None),
    "the same": on_weight(lambda g, n: g),
    "scale": on_weight(lambda g, n: g * 0.5),
    "mask": on_weight(lambda g, n: g * (torch.arange(4) > 0)),
    "in place": on_weight(lambda g, n: (g.mul_(0.5), None)[1]),
    "output": lambda model, now: model[0].register_forward_hook(lambda m, i, output: output * 2),
}


@pytest.mark.parametrize("name", HABITS)
def test_what_a_hook_always_does_is_not_shipped(guarded: Guarded, name: str) -> None:
    train(HABITS[name])
    assert guarded.seen(HookActed) == []


def test_a_hook_that_writes_in_place_is_seen_from_its_second_time(guarded: Guarded) -> None:
    train(on_weight(lambda g, n: (g.neg_(), None)[1] if n > 7 else None))
    assert [one.step for one in guarded.seen(HookActed)] == [9, 10, 11]


@pytest.mark.parametrize("name", [*LATE, *HABITS])
def test_training_is_the_same_to_the_bit(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    register = LATE[name][0] if name in LATE else HABITS[name]
    watched = train(register).state_dict()
    monkeypatch.setattr(Hooked, "__call__", lambda self, *args, **kwargs: self._hook(*args, **kwargs))
    bare = train(register).state_dict()
    assert all(torch.equal(bare[key], watched[key]) for key in bare)


def test_copies_and_pickles_hold_the_programs_hook(guarded: Guarded) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0
            self.inner = nn.Linear(2, 2)
            self.inner.register_forward_hook(self.count)

        def count(self, *_: object) -> None:
            self.calls += 1

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.inner(x)
            return result

    model = Counting()
    twin = copy.deepcopy(model)
    twin(torch.ones(1, 2))
    assert (model.calls, twin.calls) == (0, 1)
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(module_level)
    loaded = pickle.loads(pickle.dumps(layer))
    assert list(loaded._forward_hooks.values()) == [module_level]


def test_handles_and_callable_objects_are_left_as_they_are(guarded: Guarded) -> None:
    class Standing:
        def __call__(self, *_: object) -> None:
            raise AssertionError("the handle was removed")

    layer = nn.Linear(2, 2)
    hook = Standing()
    handle = layer.register_forward_hook(hook)
    assert list(layer._forward_hooks.values()) == [hook]
    handle.remove()
    other = layer.register_forward_hook(lambda *_: None, prepend=True, with_kwargs=True)
    layer(torch.ones(1, 2))
    other.remove()
    assert not layer._forward_hooks


@pytest.mark.parametrize("fullgraph", [True, False])
def test_compiled_modules_keep_their_hooks(guarded: Guarded, fullgraph: bool) -> None:
    torch._dynamo.reset()
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda module, inputs, output: output * 2)
    compiled = torch.compile(layer, backend="eager", fullgraph=fullgraph)
    assert torch.equal(compiled(torch.ones(1, 2)), layer(torch.ones(1, 2)))
    assert guarded.session.shield.failures == {}
