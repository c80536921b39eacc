"""Gradient truth where the program's own code may replace derivatives: its hooks and autograd functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from tests.guard.conftest import Guarded
from tests.guard.truth import programs
from tests.guard.truth.programs import adam, train
from tests.guard.truth.test_check import STEPS, checked, judged, state
from veracity.core import observation as seen
from veracity.core.rule import Severity
from veracity.detect.rules.gradient.hook_began import HookBegan
from veracity.guard import schedule
from veracity.guard.truth import check

__all__ = ["checked"]


class Flips(torch.autograd.Function):
    """Nothing forwards; backwards what ``factor`` says now."""

    factor = -1.0

    @staticmethod
    def forward(context: Any, value: Any) -> Any:
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        return gradient * Flips.factor


class WithFunction(nn.Module):
    """The function stands in the forward pass itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(12, 8), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, inputs: Any) -> Any:
        hidden = torch.tanh(self.middle(torch.tanh(self.first(inputs))))
        return self.last(Flips.apply(hidden))


class Adversary(nn.Module):
    """Features for one loss, against another: the gradient of the second is turned round below its head."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.label, self.domain = nn.Linear(12, 8), nn.Linear(8, 5), nn.Linear(8, 2)

    def forward(self, inputs: Any) -> Any:
        features = torch.tanh(self.features(inputs))
        return self.label(features), self.domain(Flips.apply(features))


@pytest.fixture(autouse=True)
def as_written() -> Any:
    torch._dynamo.reset()
    Flips.factor = -1.0
    yield
    Flips.factor = -1.0


def hooked(hook: Callable[..., Any], place: int = 3) -> Any:
    model = programs.perceptron()
    model[place].register_forward_hook(hook)
    return model


def turned(at: int) -> Callable[[int], None]:
    """Right before step ``at``, wrong from it on."""
    Flips.factor = 1.0

    def after(step: int) -> None:
        Flips.factor = 1.0 if step + 1 < at else -1.0

    return after


def in_domains(model: Any, steps: int) -> None:
    optimizer = adam(model)
    for _ in range(steps):
        labels, domains = model(torch.randn(16, 12))
        loss = functional.cross_entropy(labels, torch.randint(5, (16,)))
        loss = loss + functional.cross_entropy(domains, torch.randint(2, (16,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# --- hooks ------------------------------------------------------------------------------------------------


def test_a_hook_that_puts_a_function_in_is_found_when_it_turns_wrong(checked: Guarded) -> None:
    model = hooked(lambda module, inputs, output: Flips.apply(output))
    train(model, adam(model), 50, after=turned(25))
    found, coverage = judged(checked)
    assert {one.severity for one in found} <= {Severity.WARNING, Severity.ERROR}
    assert {one.rule for one in found} == {"gradient-not-derivative"}
    assert {one.subject for one in found} <= {"0.weight", "0.bias", "3.weight", "3.bias"}
    assert all(one.first_step is not None and one.first_step >= 25 for one in found)
    assert coverage.checked > STEPS


def test_a_function_that_a_hook_puts_in_is_watched_at_every_step(guarded: Guarded) -> None:
    model = hooked(lambda module, inputs, output: Flips.apply(output))
    after = turned(12)
    train(model, adam(model), 20, after=after)
    detector = HookBegan()
    found = [one for record in guarded.seen(seen.Observation) for one in detector.observe(record)]
    assert [(one.subject, one.first_step, one.severity) for one in found] == [("Flips", 12, Severity.WARNING)]
    assert guarded.session.shield.failures == {}


def test_a_function_that_is_wrong_from_the_start_is_its_habit(guarded: Guarded) -> None:
    model = hooked(lambda module, inputs, output: Flips.apply(output))
    train(model, adam(model), 20)
    assert guarded.seen(seen.HookActed) == []


def test_a_hook_that_is_never_right_is_a_note(checked: Guarded) -> None:
    model = hooked(lambda module, inputs, output: Flips.apply(output))
    train(model, adam(model), 2 * STEPS)
    found, coverage = judged(checked)
    assert {one.severity for one in found} == {Severity.NOTE}
    assert any("may replace the derivative" in why and __file__ in why for why in coverage.reasons)


def test_a_hook_that_only_looks_is_not_run_twice_and_nothing_changes(
    checked: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> list[Any]:
        torch.manual_seed(9)
        ran: list[float] = []
        model = hooked(lambda module, inputs, output: ran.append(float(output.detach().sum())))
        model[0].register_forward_pre_hook(lambda module, inputs: ran.append(float(inputs[0].sum())))
        train(model, adam(model), STEPS)
        assert len(ran) == 2 * STEPS
        return [*state(model), torch.tensor(ran)]

    with_checks = run()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked >= STEPS // 2, coverage.reasons
    monkeypatch.setattr(check, "TRUTH", replace(schedule.TRUTH, eager=0.0, least=0.0))
    assert all(torch.equal(one, other) for one, other in zip(with_checks, run(), strict=True))


def test_a_hook_on_all_modules_is_not_run_twice(checked: Guarded) -> None:
    model, ran = programs.perceptron(), []
    handle = nn.modules.module.register_module_forward_hook(lambda *_: ran.append(1))
    try:
        train(model, adam(model), STEPS)
    finally:
        handle.remove()
    assert len(ran) % STEPS == 0
    assert judged(checked)[1].checked >= STEPS // 2


@pytest.mark.parametrize("where", ["output", "input", "objects"])
def test_a_hook_that_changes_the_forward_pass_is_a_reason(checked: Guarded, where: str) -> None:
    model = programs.perceptron()
    if where == "output":
        model[3].register_forward_hook(lambda module, inputs, output: output * 1.25)
    elif where == "input":
        model[3].register_forward_pre_hook(lambda module, inputs: (inputs[0] * 1.25,))
    else:
        model[0].register_forward_pre_hook(lambda module, inputs: (inputs[0]["values"],))
    if where == "objects":
        optimizer = adam(model)
        for _ in range(STEPS):
            optimizer.zero_grad()
            model({"values": torch.randn(16, 12)}).square().mean().backward()
            optimizer.step()
    else:
        train(model, adam(model), STEPS)
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked == 0
    assert any("changes the forward pass" in why and __file__ in why for why in coverage.reasons)


def test_hooks_are_there_again_when_the_repetition_fails(checked: Guarded) -> None:
    def demands(module: Any, inputs: Any) -> Any:
        return (inputs[0][0],)

    model = nn.Sequential(nn.Linear(12, 5))
    model[0].register_forward_pre_hook(demands)
    optimizer = adam(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model((torch.randn(16, 12),)).square().mean().backward()
        optimizer.step()
    (hook,) = model[0]._forward_pre_hooks.values()
    assert hook.__wrapped__ is demands


@pytest.mark.parametrize("kind", ["weight norm", "spectral norm", "pruned"])
def test_hooks_of_torch_are_part_of_the_module(checked: Guarded, kind: str) -> None:
    model = programs.perceptron()
    if kind == "weight norm":
        nn.utils.weight_norm(model[3])
    elif kind == "spectral norm":
        nn.utils.spectral_norm(model[3])
    else:
        prune.l1_unstructured(model[3], "weight", amount=0.4)
    train(model, adam(model), 2 * STEPS)
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked >= STEPS, coverage.reasons


def test_a_loss_on_what_a_hook_kept_is_not_judged(checked: Guarded) -> None:
    kept: dict[str, Any] = {}
    model = hooked(lambda module, inputs, output: kept.update(hidden=output))
    optimizer = adam(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(torch.randn(16, 12)), torch.randint(5, (16,)))
        (loss + kept["hidden"].square().mean()).backward()
        optimizer.step()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked == 0
    assert any("used outside it" in why for why in coverage.reasons), coverage.reasons


def test_a_loss_that_a_hook_computes_is_not_judged(checked: Guarded) -> None:
    kept: list[Any] = []
    model = hooked(lambda module, inputs, output: kept.append(output.square().mean()))
    optimizer = adam(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        functional.cross_entropy(model(torch.randn(16, 12)), torch.randint(5, (16,))).backward(
            retain_graph=True
        )
        kept.pop().backward()
        optimizer.step()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked == 0


def test_a_hook_in_compiled_code_is_a_reason(checked: Guarded) -> None:
    ran: list[int] = []
    model = hooked(lambda module, inputs, output: ran.append(1))
    train(torch.compile(model, backend="aot_eager"), adam(model), STEPS)
    found, _ = judged(checked)
    assert found == []
    assert len(ran) == STEPS


@pytest.mark.parametrize("how", ["hook on a tensor", "hook on a module"])
def test_gradients_that_hooks_have_always_changed_are_a_note(checked: Guarded, how: str) -> None:
    class Model(WithFunction):
        def forward(self, inputs: Any) -> Any:
            hidden = torch.tanh(self.first(inputs))
            if how == "hook on a tensor":
                hidden.register_hook(lambda gradient: -gradient)
            return self.last(torch.tanh(self.middle(hidden)))

    model = Model()
    if how == "hook on a module":
        model.middle.register_full_backward_hook(lambda module, passed, came: (-passed[0],))
    train(model, adam(model), 2 * STEPS)
    found, _ = judged(checked)
    assert {one.severity for one in found} == {Severity.NOTE}
    assert {one.subject for one in found} <= {"first.weight", "first.bias"}


# --- functions --------------------------------------------------------------------------------------------


def test_a_function_that_is_never_right_is_a_note_that_names_it(checked: Guarded) -> None:
    model = WithFunction()
    train(model, adam(model), 2 * STEPS)
    found, _ = judged(checked)
    assert {one.severity for one in found} == {Severity.NOTE}
    assert {one.subject.split(".")[0] for one in found} <= {"first", "middle"}
    assert any(
        "Flips" in evidence.observed and __file__ in evidence.observed for evidence in found[0].evidence
    )


@pytest.mark.parametrize("compiled", [False, True])
def test_a_gradient_reversed_against_another_loss_is_a_note(checked: Guarded, compiled: bool) -> None:
    model = Adversary()
    in_domains(torch.compile(model, backend="aot_eager") if compiled else model, 2 * STEPS)
    found, coverage = judged(checked)
    assert {one.severity for one in found} == {Severity.NOTE}
    assert {one.subject for one in found} <= {"features.weight", "features.bias"}
    assert coverage.checked > 0


def test_a_function_that_turns_wrong_is_found(checked: Guarded) -> None:
    model = WithFunction()
    train(model, adam(model), 50, after=turned(25))
    found, _ = judged(checked)
    broken = [one for one in found if one.severity is not Severity.NOTE]
    assert broken
    assert all(one.first_step is not None and one.first_step >= 25 for one in found)


def test_a_wrong_gradient_that_no_function_explains_is_an_error(checked: Guarded) -> None:
    model = Adversary()
    model.label.weight.register_hook(lambda gradient: -gradient)
    in_domains(model, 2 * STEPS)
    found, _ = judged(checked)
    assert [one.subject for one in found if one.breaks] == ["label.weight"]


def test_places_are_told_with_every_check(checked: Guarded) -> None:
    model = Adversary()
    Flips.factor = 1.0
    in_domains(model, 2 * STEPS)
    places = {
        (record.trials[0].tensor, bool(record.surrogates), bool(record.through))
        for record in checked.seen(seen.GradientChecked)
        if record.trials
    }
    names = [name.split(".")[0] for name, _ in model.named_parameters()]
    assert {(names[tensor], *more) for tensor, *more in places} <= {
        ("features", True, False),
        ("label", False, False),
        ("domain", False, False),
    }
