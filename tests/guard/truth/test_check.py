"""Gradient truth on real trainings: what is right agrees, what is wrong differs, and nothing is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from tests.examples import quickly
from tests.guard.conftest import Guarded
from tests.guard.truth import programs
from tests.guard.truth.programs import WRONG, adam, train
from veracity.core import gradients
from veracity.core import observation as seen
from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.core.rule import Severity
from veracity.detect.rules.gradient.not_derivative import STALE, NotDerivative
from veracity.guard import resting, schedule
from veracity.guard.truth import check

STEPS = 14


@pytest.fixture
def checked(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    """A guard that checks every step."""
    monkeypatch.setattr(check, "TRUTH", replace(schedule.TRUTH, credit=1e9, eager=1.0))
    monkeypatch.setattr(resting, "WARM", 10**6)  # how soon it rests depends on how busy the machine is
    torch.manual_seed(5)
    return guarded


def judged(guarded: Guarded) -> tuple[list[Finding], Coverage]:
    detector = NotDerivative()
    found = [one for record in guarded.seen(seen.Observation) for one in detector.observe(record)]
    assert guarded.session.shield.failures == {}
    return found, detector.coverage()


@torch.compile(backend="aot_eager")
def elsewhere(values: Any) -> Any:
    """Compiled code that has nothing to do with the model."""
    return values.square().sum()


def compiled() -> Any:
    elsewhere(torch.ones(3))
    return torch.compile(programs.perceptron(), backend="aot_eager")


CLEAN: dict[str, Callable[[], None]] = {
    "dropout": lambda: train(model := programs.perceptron(), adam(model), STEPS),
    "batch norm": lambda: train(model := programs.convolution(), adam(model), STEPS, image=True),
    "accumulation and clipping": lambda: train(
        model := programs.perceptron(), adam(model), STEPS, parts=3, clip=0.3
    ),
    "recurrent": lambda: programs.language(programs.Recurrent(), STEPS),
    "tied weights": lambda: programs.language(programs.Tied(), STEPS),
    "loss returned": lambda: programs.loss_returned(programs.WithLoss(), STEPS),
    "two models": lambda: programs.adversarial(STEPS),
    "parts of a model": lambda: programs.in_parts(STEPS),
    "checkpointed": lambda: train(model := programs.Checkpointed(False), adam(model), STEPS),
    "checkpointed, reentrant": lambda: train(model := programs.Checkpointed(True), adam(model), STEPS),
    "compiled": lambda: train(model := compiled(), adam(model), STEPS),
    "momentum": lambda: train(
        model := programs.perceptron(), torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), STEPS
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_the_gradients_of_a_right_program_agree(checked: Guarded, name: str) -> None:
    CLEAN[name]()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked >= STEPS // 2, coverage.reasons


def test_mixed_precision_is_checked_or_says_that_it_cannot_be(checked: Guarded) -> None:
    model = programs.perceptron()
    train(model, adam(model), STEPS, autocast=True)
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked + sum(coverage.reasons.values()) >= STEPS - 1


def test_a_scaler_divides_by_what_it_says(checked: Guarded) -> None:
    model = programs.perceptron()
    train(model, adam(model), STEPS, scaler=torch.amp.GradScaler("cpu"))
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked >= STEPS // 2


def test_a_normalisation_at_zero_before_a_relu_is_no_wrong_gradient(checked: Guarded) -> None:
    channels = 24
    model = nn.Sequential(
        nn.Conv2d(1, channels, 3),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * channels, 5),
    )

    def hold(step: int) -> None:
        with torch.no_grad():
            model[1].weight[6:] = 0
            model[1].bias[6:] = 0

    hold(0)
    train(model, torch.optim.SGD(model.parameters(), 0.05), 8 * STEPS, image=True, after=hold)
    found, coverage = judged(checked)
    assert found == []
    assert coverage.reasons["the loss has no derivative where elements are held at zero"] >= 1
    assert coverage.checked >= 3 * STEPS


def test_a_gradient_masked_where_weights_are_zero_is_wrong(checked: Guarded) -> None:
    model = programs.perceptron()
    with torch.no_grad():
        model[3].bias.zero_()
    drop = model[3].bias.register_hook(torch.zeros_like)  # sabotage: a bias learns nothing
    train(model, torch.optim.SGD(model.parameters(), 0.05), 3 * STEPS)
    drop.remove()
    found, _ = judged(checked)
    assert {one.subject.rpartition(" ")[2] for one in found} == {"3.bias"}


def test_clipping_by_value_is_no_wrong_gradient(checked: Guarded) -> None:
    model = programs.perceptron()

    def clip(step: int) -> None:
        nn.utils.clip_grad_value_(model.parameters(), 0.02)

    train(model, adam(model), STEPS, after=clip)
    found, coverage = judged(checked)
    assert found == []
    assert coverage.reasons["the gradient was clipped element by element"] >= STEPS // 2


def noise(parameter: Any, step: int) -> None:
    parameter.grad.add_(torch.randn_like(parameter.grad))


@pytest.mark.parametrize(
    "change",
    [
        lambda parameter, step: parameter.grad.mul_(0.37),
        lambda parameter, step: parameter.grad.mul_(1 / (2 + step % 3)),
        lambda parameter, step: parameter.grad.add_(parameter, alpha=0.1),
        noise,
    ],
    ids=["a factor", "another factor each time", "weight decay", "noise"],
)
def test_gradients_that_the_program_changes_afterwards_are_not_judged(
    checked: Guarded, change: Callable[[Any, int], object]
) -> None:
    model = programs.perceptron()

    def after(step: int) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                change(parameter, step)

    train(model, adam(model), STEPS, after=after)
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked == 0
    assert any("changed after the backward pass" in why for why in coverage.reasons)


def test_a_write_that_no_element_shows_is_seen_as_well(
    checked: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "per_tensor", lambda tensors: 1)
    model = programs.perceptron()
    optimizer = adam(model)

    def after(step: int) -> None:
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.grad[0] = 0

    train(model, optimizer, STEPS, after=after, clip=0.3)
    found, coverage = judged(checked)
    assert found == []
    told = sum(times for why, times in coverage.reasons.items() if "changed after the backward pass" in why)
    assert coverage.checked + told == STEPS - 1
    assert told >= STEPS // 3, "half of the tensors are matrices"


def test_a_factor_on_the_whole_loss_of_the_backward_pass_alone_is_a_note(checked: Guarded) -> None:
    model = programs.perceptron()
    for parameter in model.parameters():
        parameter.register_hook(Unwatched(lambda gradient: gradient * 0.37))
    train(model, adam(model), STEPS)
    found, _ = judged(checked)
    assert [one.severity for one in found] == [Severity.NOTE]


class Unwatched:
    """A hook that is an object: such are not watched."""

    def __init__(self, hook: Callable[[Any], Any]) -> None:
        self.hook = hook

    def __call__(self, gradient: Any) -> Any:
        return self.hook(gradient)


def test_a_layer_that_a_hook_has_always_scaled_is_a_note(checked: Guarded) -> None:
    model = programs.perceptron()
    next(model.parameters()).register_hook(lambda gradient: gradient / (1 + gradient.norm()))
    train(model, adam(model), 4 * STEPS)
    found, _ = judged(checked)
    assert {one.severity for one in found} == {Severity.NOTE}


@pytest.mark.parametrize("name", ["penalty", "shared matrix"])
def test_parameters_used_outside_their_module_are_not_judged(checked: Guarded, name: str) -> None:
    torch.manual_seed(3)
    embed = nn.Embedding(20, 16)
    head = nn.Linear(16, 20, bias=False)
    model = nn.Sequential(embed, head)
    if name == "shared matrix":
        head.weight = embed.weight
    optimizer = adam(model)
    for _ in range(STEPS):
        tokens = torch.randint(20, (8, 5))
        optimizer.zero_grad()
        if name == "penalty":
            logits, extra = model(tokens), sum(one.square().sum() for one in model.parameters())
        else:
            logits, extra = head(embed(tokens)), 0.0
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens.roll(1, 1).flatten())
        (loss + 0.01 * extra).backward()
        optimizer.step()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked == 0


@pytest.mark.parametrize("name", ["0.weight", "3.bias"])
@pytest.mark.parametrize("wrong", quickly("scaled", "half of it masked", of=WRONG))
def test_a_wrong_gradient_of_one_tensor_is_found(checked: Guarded, wrong: str, name: str) -> None:
    model = programs.perceptron()
    dict(model.named_parameters())[name].register_hook(Unwatched(WRONG[wrong]))
    train(model, adam(model), 8 * STEPS)
    found, _ = judged(checked)
    assert [one.subject for one in found if one.breaks] == [name]
    assert {one.rule for one in found} == {"gradient-not-derivative"}


def test_a_gradient_that_goes_wrong_later_is_found_at_that_step(checked: Guarded) -> None:
    model = programs.perceptron()
    step = [0]
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.register_hook(lambda gradient: -gradient if step[0] >= 20 else gradient)

    def count(at: int) -> None:
        step[0] = at + 1

    train(model, adam(model), 40, after=count)
    found, _ = judged(checked)
    assert found
    assert all(one.first_step is not None and one.first_step >= 20 for one in found)
    assert min(one.first_step or 0 for one in found) <= 24


def test_a_stopped_gradient_is_a_note_that_names_the_line(checked: Guarded) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 5)

        def forward(self, inputs: Any) -> Any:
            hidden = torch.tanh(self.first(inputs))
            return self.last(hidden * hidden.detach().mean())

    model = Model()
    train(model, adam(model), 2 * STEPS)
    found, coverage = judged(checked)
    assert coverage.checked >= STEPS, coverage.reasons
    assert [one.severity for one in found] == [Severity.NOTE]
    assert any(
        "detached at" in evidence.observed and __file__ in evidence.observed for evidence in found[0].evidence
    )


@pytest.mark.parametrize("name", ["masked", "limited"])
def test_what_a_hook_on_a_tensor_has_always_done_is_a_note(checked: Guarded, name: str) -> None:
    model = programs.perceptron()
    mask = (torch.rand(24, 12) < 0.5).float()
    does = (
        (lambda gradient: gradient * mask)
        if name == "masked"
        else (lambda gradient: gradient.clamp(-0.01, 0.01))
    )
    model[0].weight.register_hook(does)
    train(model, adam(model), 4 * STEPS)
    found, _ = judged(checked)
    assert {one.severity for one in found} == {Severity.NOTE}
    assert {one.subject for one in found} == {"0.weight"}


class Straight(nn.Module):
    """Rounds its first layer's weights on the way forwards, and scales by what is no part of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 8), nn.Linear(8, 5)

    def forward(self, inputs: Any) -> Any:
        weight = self.first.weight
        rounded = weight + ((weight * 8).round() / 8 - weight).detach()
        hidden = torch.tanh(nn.functional.linear(inputs, rounded, self.first.bias))
        with torch.no_grad():
            scale = hidden.abs().mean()
        return self.last(hidden / scale * hidden.square().mean().item())


def test_straight_through_estimators_and_parts_without_gradients_are_checked(checked: Guarded) -> None:
    model = Straight()
    train(model, adam(model), 2 * STEPS)
    found, coverage = judged(checked)
    assert [one.severity for one in found] == [Severity.NOTE]
    assert coverage.checked >= STEPS, coverage.reasons


def test_a_wrong_gradient_beside_a_stopped_one_is_found(checked: Guarded) -> None:
    model = Straight()
    model.first.weight.register_hook(Unwatched(lambda gradient: gradient * 0.3))
    train(model, adam(model), 4 * STEPS)
    found, _ = judged(checked)
    assert [one.subject for one in found if one.severity is not Severity.NOTE] == ["first.weight"]


@pytest.mark.parametrize("name", ["asked for on the way", "scaled in place"])
def test_what_comes_back_by_other_ways_and_losses_scaled_in_place_are_checked(
    checked: Guarded, name: str
) -> None:
    body = programs.perceptron()
    model = programs.WithLoss() if name == "scaled in place" else body
    optimizer = adam(model)
    for _ in range(2 * STEPS):
        inputs, targets = torch.randn(16, 12, requires_grad=True), torch.randint(5, (16,))
        optimizer.zero_grad()
        if name == "scaled in place":
            loss = model(inputs, targets)["loss"]
            loss *= 0.5
        else:
            logits = model(inputs)
            torch.autograd.grad(logits.square().sum(), inputs, retain_graph=True)
            loss = nn.functional.cross_entropy(logits, targets)
        loss.backward()
        optimizer.step()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked >= STEPS, coverage.reasons


def test_gradients_that_are_never_zeroed_are_not_judged(checked: Guarded) -> None:
    model = programs.perceptron()
    train(model, adam(model), STEPS, zero=False)
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked <= 1
    assert STALE in coverage.reasons


# --- what cannot be repeated ------------------------------------------------------------------------------


class Noisy(nn.Module):
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = programs.perceptron()
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, inputs: Any) -> Any:
        return self.body(inputs) + torch.rand(1, generator=self.generator)


class Growing(nn.Module):
    """Keeps a list of what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.body = programs.perceptron()
        self.sizes: list[int] = []

    def forward(self, inputs: Any) -> Any:
        self.sizes.append(len(inputs))
        return self.body(inputs)


class Failing(nn.Module):
    """Fails when it is called for the second time with the same data."""

    def __init__(self) -> None:
        super().__init__()
        self.body = programs.perceptron()
        self.__dict__["seen"] = set()

    def forward(self, inputs: Any) -> Any:
        number = float(inputs.sum())
        if number in SEEN:
            raise ValueError("seen before")
        SEEN.add(number)
        return self.body(inputs)


SEEN: set[float] = set()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(Noisy, "bit for bit"), (Growing, "a list that a module keeps"), (Failing, "ValueError: seen before")],
)
def test_what_cannot_be_repeated_is_a_reason_and_no_finding(checked: Guarded, kind: Any, reason: str) -> None:
    model = kind()
    train(model, adam(model), STEPS)
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked == 0
    assert any(reason in why for why in coverage.reasons), coverage.reasons
    assert len(checked.seen(seen.GradientChecked)) <= 3


def test_attributes_are_as_the_programs_own_call_left_them(checked: Guarded) -> None:
    model = programs.WithLoss()
    programs.loss_returned(model, STEPS)
    assert model.calls == STEPS
    assert model.last.grad_fn is not None
    assert judged(checked)[1].checked


def test_a_graph_with_a_second_use_of_the_predictions_is_not_judged(checked: Guarded) -> None:
    model = programs.WithLoss()
    optimizer = adam(model)
    for _ in range(STEPS):
        result = model(torch.randn(16, 12), torch.randint(5, (16,)))
        optimizer.zero_grad()
        (result["loss"] + 0.01 * result["predictions"].square().mean()).backward()
        optimizer.step()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked == 0
    assert any("depend on each other" in why for why in coverage.reasons)


def test_frozen_and_unused_parameters_are_no_failures(checked: Guarded) -> None:
    model = programs.perceptron()
    optimizer = adam(model)
    train(model, optimizer, 4)
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    train(model, optimizer, 2 * STEPS)
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked > STEPS


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_losses_that_are_no_numbers_are_no_findings(checked: Guarded, value: float) -> None:
    model = programs.perceptron()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for step in range(STEPS):
        optimizer.zero_grad()
        (model(torch.randn(16, 12)).square().mean() * (value if step > 4 else 1.0)).backward()
        optimizer.step()
    found, _ = judged(checked)
    assert found == []


# --- nothing is touched -------------------------------------------------------------------------------------


def state(model: Any) -> list[Any]:
    tensors = [*model.parameters(), *model.buffers()]
    return [tensor.detach().clone() for tensor in tensors] + [torch.get_rng_state()]


@pytest.mark.parametrize("kind", ["perceptron", "convolution"])
def test_training_is_the_same_bit_for_bit(
    checked: Guarded, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def run() -> list[Any]:
        torch.manual_seed(9)
        model = getattr(programs, kind)()
        versions = [parameter._version for parameter in model.parameters()]
        train(model, adam(model), STEPS, image=kind == "convolution", parts=2, clip=0.5)
        moved = [
            parameter._version - old for parameter, old in zip(model.parameters(), versions, strict=True)
        ]
        return [*state(model), torch.tensor(moved)]

    with_checks = run()
    assert sum(bool(one.trials) for one in checked.seen(seen.GradientChecked)) >= STEPS - 2
    monkeypatch.setattr(check, "TRUTH", replace(schedule.TRUTH, eager=0.0, least=0.0))
    without = run()
    assert all(torch.equal(one, other) for one, other in zip(with_checks, without, strict=True))


def test_a_parameter_replaced_in_its_module_is_passed_over(checked: Guarded) -> None:
    """As ``weight_norm`` and pruning do, after the optimizer was made."""
    model = programs.perceptron()
    optimizer = adam(model)
    train(model, optimizer, 4)
    model[0].register_parameter("weight_orig", model[0]._parameters.pop("weight"))
    model[0].register_forward_pre_hook(
        lambda module, inputs: setattr(module, "weight", module.weight_orig * 1.0)
    )
    train(model, optimizer, STEPS)
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked > 0


def test_no_hook_is_left_behind(checked: Guarded) -> None:
    model = programs.perceptron()
    train(model, adam(model), STEPS)
    del model[0]._forward_hooks
    assert not model._forward_pre_hooks or len(model._forward_pre_hooks) == 1
    assert len(model._forward_hooks) <= 1


def test_a_call_within_compiled_code_is_left_alone(checked: Guarded) -> None:
    model = programs.perceptron()
    optimizer = adam(model)

    @torch.compile(backend="aot_eager")
    def loss_of(inputs: Any) -> Any:
        return model(inputs).square().mean()

    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(torch.randn(16, 12)).backward()
        optimizer.step()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked == 0
    assert any("compiled" in why or "not called" in why for why in coverage.reasons), coverage.reasons
