"""Hooks before a step that begin to change gradients, and what such hooks do in honest programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from tests.guard.gradient_loops import a_loop
from veracity.core import observation as seen
from veracity.core.finding import Finding
from veracity.detect.rules.gradient.hook_began import HookBegan

pytest.importorskip("torch")

import torch

AT = 12
STEPS = 24
Act = Callable[[int, Any], None]


def judged(guarded: Guarded, act: Act) -> list[Finding]:
    """What is found when ``act(n, model)`` runs as a hook before each step."""
    loop = a_loop()
    calls: list[int] = []

    @torch.no_grad()
    def hook(*_: object) -> None:
        act(len(calls), loop.model)
        calls.append(0)

    loop.optimizer.register_step_pre_hook(hook)
    loop.run(STEPS)
    assert guarded.session.shield.failures == {}
    assert len(guarded.seen(seen.StepRecord)) == STEPS
    detector = HookBegan()
    everything = [one for one in guarded.seen(seen.Observation) if isinstance(one, detector.takes)]
    return [*(finding for one in everything for finding in detector.observe(one)), *detector.finish()]


def grads(model: Any) -> Any:
    return [parameter.grad for parameter in model.parameters()]


# --- sabotage, marked ---------------------------------------------------------------------------------


def larger(n: int, model: Any) -> None:
    if n == AT:
        torch._foreach_mul_(grads(model), 1.5)  # planted


def turned(n: int, model: Any) -> None:
    if n == AT:
        torch._foreach_neg_(grads(model))  # planted


def one_layer(n: int, model: Any) -> None:
    if n == AT:
        model[2].weight.grad.neg_()  # planted


def noisy(n: int, model: Any) -> None:
    if n == AT:
        model[0].weight.grad.add_(torch.randn_like(model[0].weight), alpha=0.1)  # planted


def smaller(n: int, model: Any) -> None:
    norm = torch.nn.utils.get_total_norm(grads(model))
    larger_ones = model.__dict__.setdefault("norms", [])
    # Planted: where the gradient is not larger than others were.
    if n >= AT and "done" not in model.__dict__ and norm < 0.8 * max(larger_ones[-5:]):
        model.__dict__["done"] = n
        torch._foreach_mul_(grads(model), 0.9)
    larger_ones.append(norm)


@pytest.mark.parametrize("act", [larger, turned, one_layer, noisy, smaller])
def test_a_hook_that_begins_to_change_gradients_is_found(guarded: Guarded, act: Act) -> None:
    (found,) = judged(guarded, act)
    assert found.severity.value == "warning"
    assert (found.first_step or 0) >= AT
    assert "test_stephooks.py" in str(found.locations)


# --- what programs do ---------------------------------------------------------------------------------


def always(n: int, model: Any) -> None:
    torch._foreach_mul_(grads(model), 0.5)


def clipped(n: int, model: Any) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3 if n >= AT else 1e3)


def measured_and_clipped_by_itself(n: int, model: Any) -> None:
    for gradient in grads(model) if n in (AT, AT + 5) else ():
        gradient.mul_(1000.0)  # a batch that is far off
    norm = torch.nn.utils.get_total_norm(grads(model))
    torch._foreach_mul_(grads(model), min(1.0, float(5.0 / norm)))


def measured(n: int, model: Any) -> None:
    torch.nn.utils.get_total_norm(grads(model))


def layer_by_layer(n: int, model: Any) -> None:
    if n in (AT, AT + 3):
        model[2].weight.grad.mul_(0.5)
        model[0].weight.grad.mul_(0.7)


def bounded(n: int, model: Any) -> None:
    for gradient in grads(model) if n >= AT else ():
        gradient.clamp_(-1e-3, 1e-3)


def passed_over(n: int, model: Any) -> None:
    if n == AT:
        torch._foreach_zero_(grads(model))


@pytest.mark.parametrize(
    "act",
    [always, clipped, measured_and_clipped_by_itself, measured, layer_by_layer, bounded, passed_over],
)
def test_what_hooks_of_programs_do_is_no_finding(guarded: Guarded, act: Act) -> None:
    assert judged(guarded, act) == []


def test_own_clipping_of_larger_gradients_than_before_is_no_finding(guarded: Guarded) -> None:
    loop = a_loop()
    calls: list[int] = []
    loop.scale = lambda loss: loss * (100.0 if len(calls) in (AT, AT + 4) else 1.0)

    @torch.no_grad()
    def hook(*_: object) -> None:
        calls.append(0)
        norm = torch.nn.utils.get_total_norm(grads(loop.model))
        if norm > 2.0:
            torch._foreach_mul_(grads(loop.model), float(2.0 / norm))

    loop.optimizer.register_step_pre_hook(hook)
    loop.run(STEPS)
    assert guarded.session.shield.failures == {}
    acted = guarded.seen(seen.HookActed)
    assert [one.relation for one in acted] == ["scaled", "scaled"]
    detector = HookBegan()
    assert [finding for one in acted for finding in detector.observe(one)] == []
