"""Odd but honest programs under the real guard and all detectors: none is accused, nothing crashes."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from tests.guard.judging import Outcome, judged
from tests.guard.test_steps import a_model, backward, train
from veracity.core.rule import Severity
from veracity.guard import declare

pytest.importorskip("torch")

import torch
from torch.optim import swa_utils


@pytest.fixture(autouse=True)
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are looked for among all objects of the process for each optimizer, which takes long here."""
    monkeypatch.setattr(declare, "modules_holding", lambda _parameters: [])


def innocent(guarded: Guarded) -> Outcome:
    outcome = judged(guarded)
    assert [one.message for one in outcome.findings if one.severity is Severity.ERROR] == []
    return outcome


def silent(guarded: Guarded) -> Outcome:
    outcome = judged(guarded)
    assert [one.message for one in outcome.findings] == []
    return outcome


KINDS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Adafactor")


def optimizer_of(kind: str, parameters: Any, **hyper: Any) -> Any:
    return getattr(torch.optim, kind)(parameters, **{"lr": 0.01, **hyper})


# --- optimizers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_every_optimizer_is_checked_at_every_step(guarded: Guarded, dtype: str) -> None:
    for kind in KINDS:
        model = a_model(getattr(torch, dtype))
        decay = {} if kind == "Adadelta" else {"weight_decay": 0.1}
        optimizer = optimizer_of(kind, model.parameters(), **decay)
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.5})
        train(model, optimizer, 12)
    outcome = silent(guarded)
    every = 12 * len(KINDS)
    assert (outcome.update.checked, outcome.update.possible) == (every, every), outcome.update.reasons


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_whose_step_is_altered_is_found(guarded: Guarded, kind: str) -> None:
    model = a_model()
    optimizer = optimizer_of(kind, model.parameters())
    train(model, optimizer, 4)
    name = "_single_tensor_" + kind.lower().removesuffix("w")
    files = {"AdamW": "adam", "Adafactor": "_adafactor"}
    module = sys.modules["torch.optim." + files.get(kind, kind.lower())]
    kept = getattr(module, name)

    def altered(params: Any, *arguments: Any, **options: Any) -> Any:
        before = [parameter.clone() for parameter in params]
        result = kept(params, *arguments, **options)
        for parameter, was in zip(params, before, strict=True):
            parameter.copy_(was - 0.9 * (was - parameter))
        return result

    setattr(module, name, altered)
    try:
        train(model, optimizer, 2)
    finally:
        setattr(module, name, kept)
    found = judged(guarded).of("update-not-declared")
    assert [finding.first_step for finding in found if "not " + kind in finding.message] == [4]


class Inherits(torch.optim.RMSprop):
    """Adds nothing to the step."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.01, momentum=0.5)


class Overrides(torch.optim.AdamW):
    """Counts its steps, and may turn around."""

    calls = 0
    turns_at = 1000

    def step(self, closure: Any = None) -> Any:
        self.calls += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                if self.calls >= self.turns_at and parameter.grad is not None:
                    parameter.grad.neg_()
        return super().step(closure)


class Other(torch.optim.AdamW):
    """Something else from the start."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad.sign_()
        return super().step(closure)


class Lion(torch.optim.Optimizer):
    """Lion as it is published."""

    turns_at = 1000

    def __init__(self, parameters: Any, lr: float = 1e-3, weight_decay: float = 0.1) -> None:
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.99), "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["calls"] = 0
                state["calls"] += 1
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                average = state["exp_avg"]
                direction = average.clone().mul_(beta1).add_(parameter.grad, alpha=1 - beta1).sign_()
                if state["calls"] >= self.turns_at:
                    direction.neg_()
                parameter.add_(direction, alpha=-group["lr"])
                average.mul_(beta2).add_(parameter.grad, alpha=1 - beta2)


def test_a_class_that_inherits_the_step_is_checked_as_its_parent(guarded: Guarded) -> None:
    model = a_model()
    train(model, Inherits(model.parameters()), 6)
    outcome = silent(guarded)
    assert (outcome.update.checked, outcome.update.possible) == (6, 6)


@pytest.mark.parametrize("kind", [Overrides, Lion])
def test_a_class_of_its_own_is_checked_once_its_first_steps_agreed(guarded: Guarded, kind: Any) -> None:
    model = a_model()
    train(model, kind(model.parameters()), 10)
    outcome = silent(guarded)
    assert (outcome.update.checked, outcome.update.possible) == (7, 10)
    assert any("first steps of a class" in reason for reason in outcome.update.reasons)


@pytest.mark.parametrize("kind", [Overrides, Lion])
def test_a_class_of_its_own_that_departs_later_is_a_warning(guarded: Guarded, kind: Any) -> None:
    model = a_model()
    optimizer = kind(model.parameters())
    optimizer.turns_at = 7
    train(model, optimizer, 9)
    outcome = judged(guarded)
    (found,) = outcome.of("update-not-declared")
    assert (found.first_step, found.severity) == (6, Severity.WARNING)
    assert outcome.update.checked == 3
    assert "departed from it at step 6" in outcome.update.stopped
    assert "until then" in found.message


def test_a_class_of_its_own_that_never_agreed_is_not_checked(guarded: Guarded) -> None:
    model = a_model()
    train(model, Other(model.parameters()), 9)
    outcome = silent(guarded)
    assert outcome.update.checked == 0
    assert any(
        "did not step by AdamW's formula from the start" in reason for reason in outcome.update.reasons
    )


def test_of_two_optimizers_the_one_that_is_not_checked_is_named(guarded: Guarded) -> None:
    model = a_model()
    known = torch.optim.AdamW(model[0].parameters())
    unknown = torch.optim.ASGD(model[2].parameters())
    for _ in range(5):
        known.zero_grad()
        unknown.zero_grad()
        backward(model)
        known.step()
        unknown.step()
    outcome = silent(guarded)
    assert (outcome.update.checked, outcome.update.possible) == (5, 10)
    (named,) = [reason for reason in outcome.update.reasons if reason.startswith("optimizer 1 (ASGD)")]
    assert "none of its 5 steps was checked: no formula is known" in named


# --- loss scaling ----------------------------------------------------------------------------------


def scaled(model: Any, optimizer: Any, times: int, bad: int, *, clip: bool = False) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    for number in range(times):
        optimizer.zero_grad()
        loss = model(torch.ones(2, 5)).square().mean()
        scaler.scale(loss * (float("inf") if number == bad else 1.0)).backward()
        if clip:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("bad", [0, 4])
@pytest.mark.parametrize("form", [{}, {"fused": True}])
@pytest.mark.parametrize("kind", ["SGD", "AdamW", "Adagrad"])
def test_scaled_gradients_are_checked_and_skipped_steps_are_no_finding(
    guarded: Guarded, kind: str, form: dict[str, bool], bad: int, clip: bool
) -> None:
    model = a_model()
    momentum = {"momentum": 0.9} if kind == "SGD" else {}
    optimizer = optimizer_of(kind, model.parameters(), **momentum, **form)
    scaled(model, optimizer, 9, bad, clip=clip)
    outcome = silent(guarded)
    steps = 9 - (bad < 9 and not form)
    assert (outcome.update.checked, outcome.update.possible) == (steps, steps), outcome.update.reasons


def test_a_fused_step_that_forgets_to_divide_by_the_scale_is_found(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    train(model, optimizer, 2)
    module: Any = sys.modules["torch.optim.adam"]
    kept = module._fused_adam

    def forgets(*arguments: Any, **options: Any) -> Any:
        return kept(*arguments, **{**options, "grad_scale": None})

    module._fused_adam = forgets
    try:
        scaled(model, optimizer, 1, 99)
    finally:
        module._fused_adam = kept
    (found,) = judged(guarded).of("update-not-declared")
    assert found.first_step == 2
    assert "gradient scaled by 1024" in found.message


# --- programs --------------------------------------------------------------------------------------


def batches(count: int = 6) -> Any:
    return torch.utils.data.DataLoader(torch.ones(count * 2, 5), batch_size=2)


def test_accumulation_with_a_short_last_window(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters())
    for number in range(11):
        backward(model)
        if number % 4 == 3 or number == 10:
            optimizer.step()
            optimizer.zero_grad()
    assert silent(guarded).update.checked == 3


@pytest.mark.parametrize("steps", [0, 3])
def test_gradients_that_are_accumulated_and_never_used(guarded: Guarded, steps: int) -> None:
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters())
    train(model, optimizer, steps)
    for _ in range(30):
        backward(model)
    assert silent(guarded).update.checked == steps


def test_an_optimizer_that_never_steps_beside_one_that_does(guarded: Guarded) -> None:
    model = a_model()
    idle = torch.optim.AdamW(model[2].parameters())
    train(model, torch.optim.SGD(model[0].parameters(), lr=0.1), 5)
    assert not idle.state
    assert silent(guarded).update.checked == 5


def test_two_steps_on_the_same_gradients(guarded: Guarded) -> None:
    for kind in KINDS:
        model = a_model()
        optimizer = optimizer_of(kind, model.parameters())
        for _ in range(4):
            optimizer.zero_grad()
            backward(model)
            optimizer.step()
            optimizer.step()
    assert silent(guarded).update.checked == 8 * len(KINDS)


def test_an_average_of_the_weights_that_is_put_in_for_each_evaluation(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    average = [parameter.detach().clone() for parameter in model.parameters()]
    for _ in range(4):
        train(model, optimizer, 2)
        schedule.step()
        with torch.no_grad():
            for mean, parameter in zip(average, model.parameters(), strict=True):
                mean.lerp_(parameter, 0.1)
            kept = [parameter.clone() for parameter in model.parameters()]
            for _again in range(3):
                for weights in (average, kept):
                    for value, parameter in zip(weights, model.parameters(), strict=True):
                        parameter.copy_(value)
                    for batch in batches(2):
                        model(batch)
    assert silent(guarded).update.checked == 8


@pytest.mark.parametrize("how", ["apart", "loaded", "copied"])
def test_stochastic_weight_averaging(guarded: Guarded, how: str) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7), torch.nn.Linear(7, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    averaged = swa_utils.AveragedModel(model)
    schedule = swa_utils.SWALR(optimizer, swa_lr=0.05)
    for _ in range(3):
        for batch in batches():
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
        averaged.update_parameters(model)
        schedule.step()
    if how == "apart":
        swa_utils.update_bn(batches(), averaged)
    elif how == "loaded":
        model.load_state_dict(averaged.module.state_dict())
        swa_utils.update_bn(batches(), model)
    else:
        with torch.no_grad():
            for parameter, mean in zip(model.parameters(), averaged.module.parameters(), strict=True):
                parameter.copy_(mean)
        swa_utils.update_bn(batches(), model)
    outcome = judged(guarded)
    assert outcome.update.checked == 18
    # Weights copied in by hand as the last thing are told, and break nothing.
    assert [finding.breaks for finding in outcome.findings] == ([False] if how == "copied" else [])


@pytest.mark.parametrize("grads", ["none", "zero", "kept"])
def test_layers_frozen_and_thawed_in_the_middle(guarded: Guarded, grads: str) -> None:
    for kind in KINDS:
        model = a_model()
        optimizer = optimizer_of(kind, model.parameters())
        train(model, optimizer, 3)
        model[0].requires_grad_(False)
        for _ in range(3):
            optimizer.zero_grad(set_to_none=grads == "none")
            if grads == "kept":
                model[0].weight.grad = torch.ones(7, 5)
            backward(model)
            optimizer.step()
        model[0].requires_grad_(True)
        train(model, optimizer, 3)
    assert silent(guarded).update.checked == 9 * len(KINDS)


def test_a_rate_set_by_hand(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for rate in (0.01, 0.001, 0.01):
        optimizer.param_groups[0]["lr"] = rate
        train(model, optimizer, 3)
    assert innocent(guarded).update.checked == 9


def test_a_group_added_in_the_middle(guarded: Guarded) -> None:
    for kind in KINDS:
        model = a_model()
        optimizer = optimizer_of(kind, model[0].parameters())
        train(model, optimizer, 3)
        optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.5})
        train(model, optimizer, 6)
    assert silent(guarded).update.checked == 9 * len(KINDS)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite(guarded: Guarded, value: float) -> None:
    for kind in KINDS:
        model = a_model()
        optimizer = optimizer_of(kind, model.parameters())
        train(model, optimizer, 3)
        for _ in range(3):
            optimizer.zero_grad()
            (model(torch.ones(2, 5)).square().mean() * value).backward()
            optimizer.step()
        train(model, optimizer, 2)
    outcome = innocent(guarded)
    assert outcome.update.checked >= 3 * len(KINDS)
    assert any("not finite" in reason for reason in outcome.update.reasons)


def test_a_gradient_that_is_infinite_in_one_place(guarded: Guarded) -> None:
    for kind in KINDS:
        model = a_model()
        optimizer = optimizer_of(kind, model.parameters())
        train(model, optimizer, 2)
        for number in range(3):
            optimizer.zero_grad()
            backward(model)
            model[0].weight.grad[2, 3] = float("inf") if number == 0 else 1e30
            optimizer.step()
    innocent(guarded)


def test_gradients_of_nothing_but_zeros(guarded: Guarded) -> None:
    for kind in KINDS:
        model = a_model()
        optimizer = optimizer_of(kind, model.parameters())
        for scale in (0.0, 0.0, 1.0, 0.0, 0.0):
            optimizer.zero_grad()
            (model(torch.ones(2, 5)).square().mean() * scale).backward()
            optimizer.step()
    assert silent(guarded).update.possible == 5 * len(KINDS)


def test_parameters_without_gradients(guarded: Guarded) -> None:
    for kind in KINDS:
        model = a_model()
        unused = torch.nn.Parameter(torch.ones(4, 4))
        optimizer = optimizer_of(kind, [*model.parameters(), unused])
        train(model, optimizer, 4)
        optimizer.zero_grad()
        optimizer.step()
    assert silent(guarded).update.checked == 5 * len(KINDS)


@pytest.mark.parametrize("kind", ["SparseAdam", "SGD", "Adagrad"])
def test_sparse_gradients_are_not_checked_and_say_so(guarded: Guarded, kind: str) -> None:
    table = torch.nn.Embedding(10, 4, sparse=True)
    optimizer = optimizer_of(kind, table.parameters())
    for _ in range(4):
        optimizer.zero_grad()
        table(torch.tensor([1, 3, 3])).square().sum().backward()
        optimizer.step()
    outcome = silent(guarded)
    assert outcome.update.checked == 0
    assert outcome.update.reasons


def test_one_optimizer_after_another_on_the_same_weights(guarded: Guarded) -> None:
    model = a_model()
    for kind in KINDS:
        train(model, optimizer_of(kind, model.parameters()), 4)
    assert silent(guarded).update.checked == 4 * len(KINDS)


def test_an_optimizer_loaded_back_and_one_copied(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.NAdam(model.parameters())
    train(model, optimizer, 3)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    train(model, optimizer, 3)
    model.load_state_dict(weights)
    optimizer.load_state_dict(state)
    train(model, optimizer, 3)
    train(model, copy.deepcopy(optimizer), 1)
    innocent(guarded)


@pytest.mark.parametrize("change", ["bfloat16", "double"])
def test_a_model_that_changes_its_precision_in_the_middle(guarded: Guarded, change: str) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, 4)
    getattr(model, change)()
    train(model, optimizer, 4)
    innocent(guarded)


def test_a_rate_that_is_a_tensor(guarded: Guarded) -> None:
    for kind in KINDS:
        for dtype in (torch.float32, torch.float64):
            model = a_model(dtype)
            train(model, optimizer_of(kind, model.parameters(), lr=torch.tensor(0.01)), 5)
    assert silent(guarded).update.checked == 10 * len(KINDS)


def test_weight_decay_that_the_program_schedules_is_told_once(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.RMSprop(model.parameters(), weight_decay=0.1)
    for step in range(5):
        optimizer.param_groups[0]["weight_decay"] = 0.1 / (1 + step)
        train(model, optimizer, 1)
    outcome = innocent(guarded)
    assert len(outcome.of("update-hyper-drift")) == 1


def momentum_cycled(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=12)


@pytest.mark.parametrize("kind", ["SGD", "RMSprop", "AdamW", "NAdam", "RAdam", "Adamax"])
def test_momentum_that_is_cycled(guarded: Guarded, kind: str) -> None:
    model = a_model()
    momentum: dict[str, Any] = {"momentum": 0.9} if kind in ("SGD", "RMSprop") else {}
    optimizer = optimizer_of(kind, model.parameters(), **momentum)
    schedule = momentum_cycled(optimizer)
    for _ in range(11):
        train(model, optimizer, 1)
        schedule.step()
    assert silent(guarded).update.checked == 11
