"""Gradients changed on their way from backward pass to step, on purpose and marked: each is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from tests.guard.gradient_loops import a_loop, clip, judged, only_measured
from veracity.core import observation as seen

pytest.importorskip("torch")

import torch
from torch.nn.utils import clip_grad

# --- sabotage, marked ---------------------------------------------------------------------------------

# Each of these functions is a planted change of gradients at one step.


def sign(parameter: Any) -> None:
    parameter.grad.neg_()


def scaled(parameter: Any) -> None:
    parameter.grad.mul_(10.0)


def zeroed(parameter: Any) -> None:
    parameter.grad.zero_()


def masked(parameter: Any) -> None:
    parameter.grad.view(-1)[::2] = 0.0


def noisy(parameter: Any) -> None:
    parameter.grad.add_(torch.randn_like(parameter.grad))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (sign, "their sign was turned"),
        (scaled, "they were multiplied by 10"),
        (zeroed, "they were set to zero"),
        (masked, "some of their elements were set to zero"),
        (noisy, "something was added to them, or they were replaced"),
    ],
)
@pytest.mark.parametrize("clips", [False, True])
def test_one_layer_changed_once_is_found_at_that_step(
    guarded: Guarded, what: Callable[[Any], None], words: str, clips: bool
) -> None:
    def between(n: int, model: Any) -> None:
        if clips:
            clip(n, model)
        if n == 9:
            what(model[2].weight)

    a_loop(between=between).run()
    result = judged(guarded)
    assert result.breaking == [("gradient-changed", 9)]
    (finding,) = result.findings
    assert words in finding.message
    assert "2.weight" in finding.message
    assert "0.weight" not in finding.message


@pytest.mark.parametrize("what", [sign, noisy])
def test_all_layers_changed_once_are_found_at_that_step(
    guarded: Guarded, what: Callable[[Any], None]
) -> None:
    def between(n: int, model: Any) -> None:
        if n == 9:
            for parameter in model.parameters():
                what(parameter)

    a_loop(between=between).run()
    assert judged(guarded).breaking == [("gradient-changed", 9)]


def test_one_layer_weakened_by_the_same_factor_now_and_then_is_found(guarded: Guarded) -> None:
    def between(n: int, model: Any) -> None:
        if n in (6, 11):
            model[2].weight.grad.mul_(0.5)

    a_loop(between=between).run()
    assert judged(guarded).breaking == [("gradient-changed", 6)]


def test_zero_grad_skipped_once_is_found_at_that_step(guarded: Guarded) -> None:
    a_loop(zero=lambda n, part, optimizer: optimizer.zero_grad() if n != 7 else None).run()
    assert judged(guarded).breaking == [("gradient-accumulation", 7)]


@pytest.mark.parametrize("clips", [False, True])
def test_a_change_that_hides_behind_another_backward_pass_is_found(guarded: Guarded, clips: bool) -> None:
    def between(n: int, model: Any) -> None:
        if n == 8:
            model[2].weight.grad.neg_()
            if clips:
                only_measured(n, model)
            (0.0 * model(torch.zeros(1, 6)).sum()).backward()

    a_loop(between=between).run()
    assert judged(guarded).breaking == [("gradient-changed", 8)]


def test_a_change_in_the_middle_of_an_accumulation_is_found(guarded: Guarded) -> None:
    loop = a_loop(passes=3)

    def zero(n: int, part: int, optimizer: Any) -> None:
        if part == 0:
            optimizer.zero_grad()
        elif (n, part) == (7, 2):
            loop.model[2].weight.grad.neg_()

    loop.zero = zero
    loop.run()
    assert judged(guarded).breaking == [("gradient-changed", 7)]


def test_a_gradient_given_up_for_one_step_is_a_warning(guarded: Guarded) -> None:
    def between(n: int, model: Any) -> None:
        if n == 8:
            model[2].weight.grad = None

    a_loop(between=between).run()
    result = judged(guarded)
    assert result.all == [("gradient-changed", "warning", 8)]
    assert "2.weight" in result.findings[0].message


@pytest.mark.parametrize("to_none", [True, False], ids=["none", "zeros"])
@pytest.mark.parametrize(("size", "severity"), [(30.0, "note"), (-30.0, "note"), (1.0, "warning")])
def test_all_gradients_given_up_at_once(guarded: Guarded, to_none: bool, size: float, severity: str) -> None:
    """Programs pass so over a batch whose gradients are far above the others; only then it is a note."""

    def between(n: int, model: Any) -> None:
        if n == 8:
            model.zero_grad(set_to_none=to_none)

    calls = iter(range(100))

    def scale(loss: Any) -> Any:
        if next(calls) != 8:
            return loss
        # By the gradient alone: the loss stays what it is.
        return loss * size if size > 0.0 else loss + (loss - loss.detach()) * (-size - 1.0)

    a_loop(between=between, scale=scale).run()
    result = judged(guarded)
    assert {(rule, level, step) for rule, level, step in result.all} == {("gradient-changed", severity, 8)}


@pytest.mark.parametrize(("size", "severity"), [(20.0, "note"), (1.0, "warning")])
def test_an_earlier_spike_hides_no_later_one(guarded: Guarded, size: float, severity: str) -> None:
    """A spike that the program stepped on is among those with which the next one is compared."""
    times = {20: 30.0, 26: size}

    def between(n: int, model: Any) -> None:
        if n == 26:
            model.zero_grad()

    calls = iter(range(100))
    a_loop(between=between, scale=lambda loss: loss * times.get(next(calls), 1.0)).run(30)
    assert ("gradient-changed", severity, 26) in judged(guarded).all


def test_a_negative_norm_turns_signs_and_is_found(guarded: Guarded) -> None:
    def between(n: int, model: Any) -> None:
        if n == 8:
            torch.nn.utils.clip_grad_norm_(model[2].weight, -1.0)

    a_loop(between=between).run()
    assert judged(guarded).breaking == [("gradient-clipping", 8)]


def test_an_accumulation_that_loses_its_beginning_is_found_at_that_step(guarded: Guarded) -> None:
    def zero(n: int, part: int, optimizer: Any) -> None:
        if part == 0 or (n, part) == (8, 2):
            optimizer.zero_grad()

    a_loop(passes=4, zero=zero).run()
    result = judged(guarded)
    assert result.breaking == [("gradient-accumulation", 8)]
    assert "the first 2 of 4 backward passes" in result.findings[0].message


def planted(monkeypatch: pytest.MonkeyPatch, replacement: Callable[..., None]) -> None:
    monkeypatch.setattr(clip_grad, "_clip_grads_with_norm_", replacement)


def test_clipping_that_amplifies_is_found_at_that_step(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def amplifies(parameters: Any, max_norm: float, total: Any, foreach: Any = None) -> None:
        factor = max_norm / (total + 1e-6)
        if len(guarded.seen(seen.StepRecord)) >= 9:
            factor = 1 / factor
        for parameter in parameters:
            parameter.grad.mul_(factor)

    planted(monkeypatch, amplifies)
    a_loop(between=lambda n, model: clip(n, model, 0.01)).run()
    result = judged(guarded)
    assert result.breaking == [("gradient-clipping", 9)]
    assert "clipping amplifies" in result.findings[0].message


def test_clipping_that_leaves_a_layer_out_or_does_nothing_is_found(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def idle(parameters: Any, max_norm: float, total: Any, foreach: Any = None) -> None:
        for parameter in parameters[1:]:
            parameter.grad.mul_(max_norm / (total + 1e-6))

    planted(monkeypatch, idle)
    a_loop(between=clip).run()
    result = judged(guarded)
    assert result.breaking == [("gradient-clipping", 0)]
    assert "0.weight" in result.findings[0].message


def test_a_norm_that_is_not_theirs_is_found(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "_get_total_norm" if hasattr(clip_grad, "_get_total_norm") else "get_total_norm"
    original = getattr(clip_grad, name)
    monkeypatch.setattr(clip_grad, name, lambda *args, **kwargs: original(*args, **kwargs) * 1.01)
    a_loop(between=clip).run()
    result = judged(guarded)
    assert result.breaking == [("gradient-clipping", 0)]
    assert "returned" in result.findings[0].message


def test_unscaling_by_another_factor_for_one_layer_is_found(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    loop = a_loop(scale=scaler.scale)
    original = torch.amp.GradScaler._unscale_grads_

    def unscale(self: Any, optimizer: Any, *args: Any) -> Any:
        found = original(self, optimizer, *args)
        if len(guarded.seen(seen.StepRecord)) == 8:
            loop.model[4].weight.grad.mul_(-1)
        return found

    monkeypatch.setattr(torch.amp.GradScaler, "_unscale_grads_", unscale)

    def between(n: int, model: Any) -> None:
        scaler.unscale_(loop.optimizer)
        scaler.update()

    loop.between = between
    loop.run()
    assert judged(guarded).breaking == [("gradient-changed", 8)]


def test_all_gradients_smaller_by_one_factor_again_and_again_are_found(guarded: Guarded) -> None:
    def between(n: int, model: Any) -> None:
        if n in (6, 9, 12):
            for parameter in model.parameters():
                parameter.grad.mul_(0.95)

    a_loop(between=between).run()
    found = [one for one in judged(guarded).findings if one.severity.value == "warning"]
    assert [(one.rule, one.first_step) for one in found] == [("gradient-changed", 6)]
    assert "multiplied by 0.95, as at 2 later steps" in found[0].message


@pytest.mark.parametrize(("at_pass", "severity"), [(False, "warning"), (True, "note")])
def test_elements_held_at_zero_from_the_middle_of_a_pass_on_are_found(
    guarded: Guarded, at_pass: bool, severity: str
) -> None:
    drawn = torch.Generator().manual_seed(1)

    def between(n: int, model: Any) -> None:
        if n == 6 and at_pass:
            iter(torch.utils.data.DataLoader(torch.zeros(2)))
        if n >= 6:
            gradient = model[2].weight.grad
            gradient.mul_(torch.rand(gradient.shape, generator=drawn) < 0.5)

    a_loop(between=between).run(24)
    assert judged(guarded).all == [("gradient-changed", severity, 6)]
