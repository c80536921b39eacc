"""Gradients on their way from backward pass to step: honest programs, and odd but legitimate ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from tests.guard.gradient_loops import STEPS, a_loop, a_model, clip, judged, only_measured
from veracity.core import observation as seen

pytest.importorskip("torch")

import numpy
import torch
from torch.nn.utils import clip_grad

from veracity.guard.gradientreader import CYCLES, GLANCES
from veracity.guard.gradients import Trail

# --- nothing was done --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("numpy", [True, False])
def test_honest_training_is_followed_at_every_step(
    guarded: Guarded, dtype: Any, numpy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not numpy:
        monkeypatch.setattr("veracity.guard.gradientreader.numpy_of", lambda module: None)
        monkeypatch.setattr("veracity.guard.reader.numpy_of", lambda module: None)
    a_loop(dtype, between=clip).run()
    result = judged(guarded)
    assert result.all == []
    for rule, checked in (("gradient-changed", STEPS), ("gradient-clipping", STEPS)):
        assert result.coverage[rule].checked == checked, result.coverage[rule]
    assert result.coverage["gradient-accumulation"].checked == STEPS - 1


def test_training_is_the_same_bit_for_bit(guarded: Guarded) -> None:
    one = a_loop(between=clip)
    one.run()
    with_guard = copy.deepcopy(one.model.state_dict())
    original = clip_grad.clip_grad_norm_.__wrapped__
    other = a_loop(between=lambda n, model: original(model.parameters(), 0.05))
    other.run()
    for name, value in other.model.state_dict().items():
        assert torch.equal(value, with_guard[name])


def values(n: int, model: Any) -> None:
    torch.nn.utils.clip_grad_value_(model.parameters(), 0.01)


def twice(n: int, model: Any) -> None:
    clip(n, model[0])
    clip(n, model[2])


def listed_twice(n: int, model: Any) -> None:
    torch.nn.utils.clip_grad_norm_([*model.parameters(), model[0].weight], 0.02)


def by_largest(n: int, model: Any) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01, norm_type=float("inf"))


def by_third(n: int, model: Any) -> None:
    torch.nn.utils.clip_grad_norm_(parameters=model.parameters(), max_norm=0.01, norm_type=3)


def each_by_itself(n: int, model: Any) -> None:
    for parameter in model.parameters():
        torch.nn.utils.clip_grad_norm_(parameter, 0.01)


def frozen_from_ten(n: int, model: Any) -> None:
    if n >= 10:
        model[0].weight.grad = None
        model[0].bias.grad = None


def not_a_number_once(n: int, model: Any) -> None:
    if n == 8:
        for parameter in model.parameters():
            parameter.grad.fill_(float("nan"))


@pytest.mark.parametrize(
    "between",
    [values, twice, listed_twice, by_largest, by_third, each_by_itself, only_measured, frozen_from_ten],
)
def test_what_is_declared_or_done_by_torch_is_no_finding(
    guarded: Guarded, between: Callable[[int, Any], None]
) -> None:
    a_loop(between=between).run()
    assert judged(guarded).all == []


def test_the_generator_of_parameters_is_run_through_once(guarded: Guarded) -> None:
    model = a_model()
    model(torch.ones(2, 6)).sum().backward()
    calls = []

    def parameters() -> Any:
        calls.append(1)
        yield from model.parameters()

    total = torch.nn.utils.clip_grad_norm_(parameters(), 1e-3)
    norm = torch.sqrt(sum(one.grad.square().sum() for one in model.parameters()))
    assert calls == [1]
    assert norm < 1.1e-3 < total
    with pytest.warns(UserWarning, match="empty generator"):
        torch.nn.utils.clip_grad_norm_((one for one in list[Any]()), 1.0)
    model[0].weight.grad.fill_(float("inf"))
    with pytest.raises(RuntimeError, match="non-finite"):
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)


# --- legitimate ways of programs ---------------------------------------------------------------------


def test_a_constant_factor_is_a_note_and_then_taken_into_account(guarded: Guarded) -> None:
    def divide(n: int, model: Any) -> None:
        for parameter in model.parameters():
            parameter.grad.div_(3)
            if n == 10 and parameter is model[2].weight:
                parameter.grad.neg_()

    a_loop(between=divide).run()
    result = judged(guarded)
    assert result.all == [("gradient-changed", "note", 2), ("gradient-changed", "error", 10)]


def per_token(n: int, model: Any) -> None:
    for parameter in model.parameters():
        parameter.grad.mul_(1.0 + n % 5)


def noise(n: int, model: Any) -> None:
    for parameter in model.parameters():
        parameter.grad.add_(torch.randn_like(parameter.grad), alpha=0.01)


def centralised(n: int, model: Any) -> None:
    for parameter in model.parameters():
        if parameter.grad.dim() > 1:
            parameter.grad.sub_(parameter.grad.mean(1, keepdim=True))


def by_layer(n: int, model: Any) -> None:
    model[0].weight.grad.mul_(0.1)


@pytest.mark.parametrize("between", [per_token, noise, centralised, by_layer])
def test_a_habit_from_the_first_step_on_is_not_covered_and_no_finding(
    guarded: Guarded, between: Callable[[int, Any], None]
) -> None:
    a_loop(between=between).run()
    result = judged(guarded)
    assert result.all == []
    coverage = result.coverage["gradient-changed"]
    assert coverage.checked <= 4
    assert any("the program" in reason for reason in coverage.reasons)


def test_noise_that_begins_later_and_stays_is_a_warning(guarded: Guarded) -> None:
    a_loop(between=lambda n, model: noise(n, model) if n >= 8 else None).run()
    assert judged(guarded).all == [("gradient-changed", "warning", 8)]


def test_own_clipping_that_sets_in_later_is_a_note(guarded: Guarded) -> None:
    def own(n: int, model: Any) -> None:
        if n in (6, 9, 10):
            for parameter in model.parameters():
                parameter.grad.mul_(0.5 + n / 100)

    a_loop(between=own).run()
    assert judged(guarded).all == [("gradient-changed", "note", 6)]


def test_own_clipping_of_single_tensors_is_a_warning_at_most(guarded: Guarded) -> None:
    def own(n: int, model: Any) -> None:
        if n >= 6 and n % 2:
            model[2].weight.grad.mul_(0.5 + n / 100)

    a_loop(between=own).run(24)
    assert judged(guarded).all == [("gradient-changed", "warning", 7)]


def test_a_layer_that_is_held_at_zero_for_good_is_a_note(guarded: Guarded) -> None:
    a_loop(between=lambda n, model: model[2].weight.grad.zero_() if n >= 7 else None).run()
    assert judged(guarded).all == [("gradient-changed", "note", 7)]


def test_a_mask_of_few_elements_is_no_finding(guarded: Guarded) -> None:
    def mask(n: int, model: Any) -> None:
        model[2].weight.grad[3, 4] = 0.0

    a_loop(between=mask).run(60)
    assert judged(guarded).all == []


def test_gradients_that_are_not_finite_are_passed_over(guarded: Guarded) -> None:
    loop = a_loop(between=clip)
    loop.scale = lambda loss: loss * (float("nan") if len(guarded.seen(seen.StepRecord)) == 8 else 1.0)

    def skip(n: int, model: Any) -> None:
        bad = any(not torch.isfinite(one.grad).all() for one in model.parameters())
        for parameter in model.parameters():
            torch.nan_to_num_(parameter.grad) if bad else None
        clip(n, model)

    loop.between = skip
    loop.run()
    result = judged(guarded)
    assert result.all == []
    assert "gradients are not finite" in result.coverage["gradient-changed"].reasons


def test_gradients_set_by_hand_are_not_covered(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        loss = model(torch.randn(8, 6)).square().mean()
        for parameter, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            parameter.grad = gradient
        optimizer.step()
    result = judged(guarded)
    assert result.all == []
    assert result.coverage["gradient-changed"].checked == 0
    (reason,) = result.coverage["gradient-changed"].reasons
    assert reason.startswith("no backward pass of torch ended")


def test_closures_and_steps_within_a_backward_pass_are_not_covered(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = model(torch.ones(8, 6)).square().mean()
        loss.backward()
        clip(0, model)
        return loss

    for _ in range(6):
        optimizer.step(closure)
    other = a_model()
    singles = {one: torch.optim.SGD([one], lr=0.1) for one in other.parameters()}

    def step(parameter: Any) -> None:
        singles[parameter].step()
        singles[parameter].zero_grad()

    for parameter in other.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(6):
        other(torch.randn(8, 6)).square().mean().backward()
    result = judged(guarded)
    assert result.all == []
    assert result.coverage["gradient-changed"].checked == 0


def test_a_grad_scaler_unscales_and_skips(guarded: Guarded) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for n in range(STEPS):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 6)).square().mean() * (float("inf") if n == 7 else 1.0)
        scaler.scale(loss).backward()
        if n % 2:
            scaler.unscale_(optimizer)
            clip(n, model)
        scaler.step(optimizer)
        scaler.update()
    result = judged(guarded)
    assert result.all == []
    assert result.coverage["gradient-changed"].checked == STEPS - 1
    assert len(guarded.seen(seen.StepRecord)) == STEPS - 1


def test_a_grad_scaler_that_is_not_enabled_is_called_all_the_same(guarded: Guarded) -> None:
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for n in range(STEPS):
        scaler.scale(model(torch.randn(8, 6)).square().mean()).backward()
        scaler.unscale_(optimizer)
        clip(n, model)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
    result = judged(guarded)
    assert result.all == []
    assert result.coverage["gradient-changed"].checked == STEPS
    assert guarded.seen(seen.Gap) == []


def test_a_layer_that_is_thawed_is_clipped_by_its_own_norm(guarded: Guarded) -> None:
    """The head trains from some step on, with the largest gradients of all: others are below the limit."""

    def between(n: int, model: Any) -> None:
        for parameter in model[2].parameters():
            if n < 6:
                parameter.grad = None
            else:
                parameter.grad.mul_(0.01 / parameter.grad.norm())

    a_loop(between=between).run()
    assert judged(guarded).all == []


def test_two_optimizers_that_leave_each_other_gradients(guarded: Guarded) -> None:
    generator, critic = a_model(), torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 1))
    first = torch.optim.Adam(generator.parameters(), lr=0.01)
    second = torch.optim.Adam(critic.parameters(), lr=0.01)
    for _ in range(STEPS):
        noise = torch.randn(8, 6)
        first.zero_grad()
        critic(generator(noise)).mean().backward()
        first.step()
        second.zero_grad()
        critic(torch.randn(8, 4)).mean().backward()
        (-critic(generator(noise).detach()).mean()).backward()
        second.step()
    result = judged(guarded)
    assert result.all == []
    assert result.coverage["gradient-changed"].checked == 2 * STEPS


def test_clipping_of_every_micro_batch_is_followed(guarded: Guarded) -> None:
    loop = a_loop(passes=3)

    def zero(n: int, part: int, optimizer: Any) -> None:
        if part == 0:
            optimizer.zero_grad()
        else:
            clip(n, loop.model, 0.02 if n > 5 else 10.0)

    loop.zero = zero
    loop.run(12)
    result = judged(guarded)
    assert result.all == []
    assert result.coverage["gradient-changed"].checked == 12


def accumulate(n: int, part: int, optimizer: Any) -> None:
    if part == 0:
        optimizer.zero_grad(set_to_none=n % 2 == 0)


def test_accumulation_with_fewer_passes_at_the_end_and_more_later(guarded: Guarded) -> None:
    loop = a_loop(passes=4, zero=accumulate, between=clip)
    loop.run(6)
    loop.passes = 2
    loop.run(1)
    loop.passes = 8
    loop.run(5)
    assert judged(guarded).all == []


def test_a_bad_batch_is_skipped_and_zeroed(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for n in range(STEPS):
        for _ in range(3):
            model(torch.randn(8, 6)).square().mean().backward()
        if n != 9:
            optimizer.step()
        optimizer.zero_grad()
    assert judged(guarded).all == []


def test_a_backward_pass_that_raises_is_passed_over(guarded: Guarded) -> None:
    loop = a_loop(passes=2, zero=lambda n, part, optimizer: optimizer.zero_grad() if not part else None)

    def fails(loss: Any) -> Any:
        calls.append(1)
        if len(calls) == 15:
            with pytest.raises(RuntimeError, match="does not require grad"):
                torch.ones(()).backward()
            loop.optimizer.zero_grad()
        return loss

    calls: list[int] = []
    loop.scale = fails
    loop.run()
    result = judged(guarded)
    assert result.all == []
    assert "a backward pass raised" in result.coverage["gradient-accumulation"].reasons


def test_never_zeroing_is_a_warning(guarded: Guarded) -> None:
    a_loop(zero=lambda n, part, optimizer: None).run()
    result = judged(guarded)
    assert result.breaking == []
    assert [one[:2] for one in result.all] == [("gradient-accumulation", "warning")]


def test_a_frozen_layer_that_keeps_its_gradient_is_a_warning(guarded: Guarded) -> None:
    def zero(n: int, part: int, optimizer: Any) -> None:
        model[0].requires_grad_(n < 8)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = None

    loop = a_loop(zero=zero)
    model = loop.model
    loop.run()
    result = judged(guarded)
    assert [one[:2] for one in result.all] == [("gradient-accumulation", "warning")]


def test_clipping_left_out_and_another_limit_are_warnings(guarded: Guarded) -> None:
    def between(n: int, model: Any) -> None:
        if n != 12:
            clip(n, model, 0.05 if n < 30 else 0.02)

    a_loop(between=between).run(32)
    assert judged(guarded).all == [
        ("gradient-clipping", "warning", 12),
        ("gradient-clipping", "warning", 30),
    ]


def test_a_glance_comes_to_every_tensor_in_a_few_steps() -> None:
    parameters = [torch.nn.Parameter(torch.randn(20)) for _ in range(40)]
    for parameter in parameters:
        parameter.grad = torch.randn(20)
    trail = Trail(b"k" * 32, parameters, range(40), numpy)
    assert len(trail.chosen(0)) == 40
    trail.look_closely(close=False)
    seen_at = [set(trail.chosen(step)) for step in range(4, 12)]
    assert {len(chosen) for chosen in seen_at} == {10}
    assert set().union(*seen_at[:4]) == set().union(*seen_at[4:]) == set(range(40))
    assert seen_at[0] == seen_at[4] != set(trail.chosen(4 + GLANCES * CYCLES))
