"""Protected loss functions: right ones agree, wrong ones are found, and training is the same bit for bit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from tests.examples import quickly
from tests.guard.conftest import Guarded
from tests.guard.truth import losses
from tests.guard.truth.losses import CLASSES, WRONG, Crooked, protected, train
from tests.guard.truth.programs import adam
from veracity.core import observation as seen
from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.core.protection import GUARD
from veracity.core.rule import Severity
from veracity.detect.rules.gradient.loss_not_derivative import LossNotDerivative
from veracity.guard import protection, schedule
from veracity.guard.truth import check

STEPS = 16


@pytest.fixture
def checked(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """A guard that checks every step, and knows no loss yet."""
    monkeypatch.setattr(check, "TRUTH", replace(schedule.TRUTH, credit=1e9, eager=1.0))
    monkeypatch.setitem(sys.modules, GUARD, protection)
    monkeypatch.setattr(Crooked, "wrong", staticmethod(lambda gradient, wanted: gradient))
    protection.registry.clear()
    torch.manual_seed(5)
    yield guarded
    protection.registry.clear()


def judged(guarded: Guarded) -> tuple[list[Finding], Coverage]:
    detector = LossNotDerivative()
    found = [one for record in guarded.seen(seen.Observation) for one in detector.observe(record)]
    assert guarded.session.shield.failures == {}
    return found, detector.coverage()


def rows(logits: Any, wanted: Any) -> tuple[Any, Any]:
    """As of sequences: a view of a view."""
    return logits.view(4, 8, CLASSES).transpose(1, 2), wanted.view(4, 8)


CLEAN: dict[str, Callable[[], object]] = {
    "module": lambda: train(protected(nn.CrossEntropyLoss()), STEPS),
    "function": lambda: train(protected(functional.cross_entropy), STEPS),
    "ignored": lambda: train(protected(nn.CrossEntropyLoss()), STEPS, kind="ignored"),
    "smoothed": lambda: train(protected(nn.CrossEntropyLoss(label_smoothing=0.1)), STEPS),
    "weighted, none": lambda: train(
        protected(nn.CrossEntropyLoss(weight=torch.rand(CLASSES) + 0.1, reduction="none")),
        STEPS,
        reduce=lambda each: (each * torch.linspace(0, 1, 32)).sum(),
    ),
    "sequences": lambda: train(protected(nn.CrossEntropyLoss()), STEPS, shape=rows),
    "squares": lambda: train(protected(nn.MSELoss()), STEPS, kind="numbers"),
    "bits": lambda: train(protected(nn.BCEWithLogitsLoss()), STEPS, kind="bits"),
    "kinked": lambda: train(protected(losses.kinked), STEPS, kind="numbers"),
    "huber": lambda: train(protected(nn.HuberLoss(delta=0.5)), STEPS, kind="numbers"),
    "focal": lambda: train(protected(losses.focal), STEPS),
    "triplet": lambda: train(protected(losses.triplet), STEPS),
    "quantile": lambda: train(protected(losses.quantile), STEPS, kind="numbers"),
    "hardest": lambda: train(protected(losses.hardest), STEPS),
    "clipped": lambda: train(protected(losses.clipped), STEPS),
    "contrastive": lambda: train(protected(losses.contrastive), STEPS),
    "noisy": lambda: train(protected(losses.noisy), STEPS),
    "right function": lambda: train(protected(losses.RightFunction.apply), STEPS),
    "right function, strictly": lambda: train(
        protected(losses.RightFunction.apply, differentiable=True), STEPS
    ),
    "accumulated": lambda: train(protected(nn.CrossEntropyLoss()), STEPS, parts=3),
    "autocast": lambda: train(protected(nn.CrossEntropyLoss()), STEPS, autocast=True),
    "autocast, contrastive": lambda: train(protected(losses.contrastive), STEPS, autocast=True),
    "autocast, triplet": lambda: train(protected(losses.triplet), STEPS, autocast=True),
    "bfloat16": lambda: train(
        protected(nn.CrossEntropyLoss()),
        STEPS,
        shape=lambda logits, wanted: (logits.bfloat16(), wanted),
    ),
    "scaler": lambda: train(protected(nn.CrossEntropyLoss()), STEPS, scaler=torch.amp.GradScaler("cpu")),
    "lambda made anew": lambda: train(
        lambda *given: protected(lambda *inner: functional.cross_entropy(*inner))(*given), STEPS
    ),
}


LASTING = (
    "module",
    "weighted, none",
    "kinked",
    "triplet",
    "clipped",
    "noisy",
    "autocast, contrastive",
    "bfloat16",
)


@pytest.mark.parametrize("name", quickly(*LASTING, of=CLEAN))
def test_the_gradients_of_a_right_loss_agree(checked: Guarded, name: str) -> None:
    CLEAN[name]()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked >= STEPS // (3 if name == "clipped" else 2), coverage.reasons


# --- marked sabotage ----------------------------------------------------------------------------------------


def turned(name: str, at: int) -> Callable[[int], None]:
    """Right before step ``at``, wrong from it on."""

    def after(step: int) -> None:
        if step + 1 == at:
            Crooked.wrong = staticmethod(WRONG[name])

    return after


@pytest.mark.parametrize("wrong", quickly("half masked", "a class scaled", of=WRONG))
def test_a_loss_that_turns_wrong_is_an_error(checked: Guarded, wrong: str) -> None:
    train(protected(Crooked.apply), 45, after=turned(wrong, 20))
    found, coverage = judged(checked)
    assert [one.severity for one in found if one.breaks] == [Severity.ERROR]
    assert found[0].first_step is not None
    assert 20 <= found[0].first_step < 40
    assert found[0].subject == "apply(input 0)"
    assert coverage.checked >= STEPS


@pytest.mark.parametrize("wrong", ["a class dropped", "flipped"])
@pytest.mark.parametrize("module", [False, True])
def test_a_name_that_is_exchanged_in_an_imported_module_is_found(
    checked: Guarded, monkeypatch: pytest.MonkeyPatch, wrong: str, module: bool
) -> None:
    def after(step: int) -> None:
        if step == 19:
            Crooked.wrong = staticmethod(WRONG[wrong])
            replaced = (lambda given, wanted, **_: Crooked.apply(given, wanted)) if module else Crooked.apply
            monkeypatch.setattr(functional, "cross_entropy", replaced)

    train(protected(nn.CrossEntropyLoss() if module else losses.plainly), 60, after=after)
    found, _ = judged(checked)
    assert [one.severity for one in found if one.breaks] == [Severity.ERROR]
    assert any("Crooked" in evidence.observed for evidence in found[0].evidence)


@pytest.mark.parametrize("wrong", quickly("half masked", of=WRONG))
def test_a_function_that_was_never_right_is_a_note_unless_it_is_said_to_be(
    checked: Guarded, wrong: str
) -> None:
    Crooked.wrong = staticmethod(WRONG[wrong])
    train(protected(lambda logits, wanted: Crooked.apply(logits, wanted)), 40)
    found, coverage = judged(checked)
    assert [one.severity for one in found] == [Severity.NOTE]
    assert any("may replace the derivative" in why and losses.__file__ in why for why in coverage.reasons)


@pytest.mark.parametrize("wrong", quickly("half masked", of=WRONG))
def test_a_function_that_is_said_to_be_differentiable_is_an_error(checked: Guarded, wrong: str) -> None:
    Crooked.wrong = staticmethod(WRONG[wrong])
    train(protected(Crooked.apply, differentiable=True), 40)
    assert [one.severity for one in judged(checked)[0]] == [Severity.ERROR]


HOW = ("autocast", "bfloat16", "scaler", "accumulated", "none-reduction")


@pytest.mark.parametrize("how", quickly("autocast", "accumulated", of=HOW))
def test_a_wrong_loss_is_found_in_all_usual_loops(checked: Guarded, how: str) -> None:
    more: dict[str, Any] = {}
    if how == "scaler":
        more["scaler"] = torch.amp.GradScaler("cpu")
    elif how == "accumulated":
        more["parts"] = 3
    elif how == "autocast":
        more["autocast"] = True
    elif how == "bfloat16":
        more["shape"] = lambda logits, wanted: (logits.bfloat16(), wanted)
    loss_fn: Any = Crooked.apply
    if how == "none-reduction":
        loss_fn = lambda logits, wanted: torch.stack([Crooked.apply(logits, wanted), logits.square().mean()])  # noqa: E731
        more["reduce"] = lambda both: both[0] + 0.01 * both[1]
    train(protected(loss_fn), 60, after=turned("a class dropped", 20), **more)
    found, coverage = judged(checked)
    assert [one.severity for one in found if one.breaks] == [Severity.ERROR], coverage.reasons


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("how", ["a class", "all"])
def test_what_is_taken_out_of_the_graph_later_is_a_warning(checked: Guarded, how: str, strict: bool) -> None:
    now = [0]

    def loss_fn(logits: Any, wanted: Any) -> Any:
        if now[0] >= 30:
            chosen = (
                (wanted == 2)[:, None]
                if how == "a class"
                else torch.ones_like(wanted, dtype=torch.bool)[:, None]
            )
            logits = torch.where(chosen, logits.detach(), logits)
        return functional.cross_entropy(logits, wanted)

    def after(step: int) -> None:
        now[0] = step + 1

    train(protected(loss_fn, differentiable=strict), 60, after=after)
    found, _ = judged(checked)
    assert [one.severity for one in found] == [Severity.ERROR if strict else Severity.WARNING]
    assert (found[0].first_step or 0) >= 30


def test_a_hook_within_the_loss_that_begins_later_is_an_error(checked: Guarded) -> None:
    now = [0]

    def loss_fn(logits: Any, wanted: Any) -> Any:
        chances = logits.log_softmax(-1)
        if now[0] >= 30 and chances.requires_grad:
            chances.register_hook(lambda gradient: gradient * (wanted != 2)[:, None])
        return functional.nll_loss(chances, wanted)

    def after(step: int) -> None:
        now[0] = step + 1

    train(protected(loss_fn), 60, after=after)
    assert [one.severity for one in judged(checked)[0]] == [Severity.ERROR]


# --- nothing is touched -------------------------------------------------------------------------------------


class Shared(nn.Module):
    """Its predictions are used by several losses, by one of them twice, and its parameter is in one."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.free = losses.perceptron(), nn.Parameter(torch.ones(CLASSES))

    def loss(self, loss_fn: Any, inputs: Any, wanted: Any) -> Any:
        logits = self.body(inputs)
        first = loss_fn(logits, wanted)
        second = loss_fn(logits * self.free, wanted)
        third = functional.dropout(logits, 0.3).square().mean()
        loss = first + 0.3 * second + third + 0.1 * loss_fn(self.free.expand(32, CLASSES), wanted)
        loss *= 0.7
        return loss


def twice(logits: Any, wanted: Any) -> Any:
    """The same tensor in many places, one of them random."""
    noise = logits + 0.1 * torch.randn_like(logits)
    return (
        functional.cross_entropy(noise, wanted) + logits.logsumexp(-1).square().mean() + logits[:, 0].mean()
    )


LOOPS: dict[str, Callable[[Any], Any]] = {
    "module": lambda guard: train(guard(nn.CrossEntropyLoss(label_smoothing=0.1)), STEPS),
    "function": lambda guard: train(guard(twice), STEPS, parts=2),
    "none-reduction": lambda guard: train(
        guard(nn.CrossEntropyLoss(reduction="none")), STEPS, reduce=lambda each: each.mean() + each.max()
    ),
    "sequences": lambda guard: train(guard(functional.cross_entropy), STEPS, shape=rows),
    "autocast": lambda guard: train(guard(twice), STEPS, autocast=True),
    "scaler": lambda guard: train(guard(twice), STEPS, scaler=torch.amp.GradScaler("cpu")),
    "noisy": lambda guard: train(guard(losses.noisy), STEPS),
    "cut": lambda guard: train(guard(losses.focal), STEPS),
    "wrong": lambda guard: train(guard(lambda *given: Crooked.apply(*given)), STEPS),
    "shared": lambda guard: shared(guard(twice)),
    "checkpointed": lambda guard: train(
        lambda logits, wanted: torch.utils.checkpoint.checkpoint(
            guard(twice), logits, wanted, use_reentrant=False
        ),
        STEPS,
    ),
}


def shared(loss_fn: Any) -> Any:
    model = Shared()
    optimizer = adam(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model.loss(loss_fn, torch.randn(32, 12), losses.targets("classes"))
        loss.backward(retain_graph=True)
        loss.backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("name", quickly("function", "noisy", "shared", "checkpointed", of=LOOPS))
def test_training_is_the_same_bit_for_bit(
    checked: Guarded, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(Crooked, "wrong", staticmethod(WRONG["flipped"]))

    def run(guard: Any) -> list[Any]:
        torch.manual_seed(9)
        model = LOOPS[name](guard)
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        versions = torch.tensor([parameter._version for parameter in model.parameters()])
        return [*model.state_dict().values(), *gradients, versions, torch.get_rng_state()]

    with_checks = run(protected)
    looked = [record for record in checked.seen(seen.LossChecked) if record.trials]
    assert len(looked) >= STEPS // 2, [record.reason for record in checked.seen(seen.LossChecked)]
    monkeypatch.setattr(check, "TRUTH", replace(schedule.TRUTH, eager=0.0, least=0.0))
    protection.registry.clear()
    without = run(lambda loss_fn: loss_fn)
    assert all(torch.equal(one, other) for one, other in zip(with_checks, without, strict=True))
