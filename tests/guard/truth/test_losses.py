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

from tests.guard.conftest import Guarded
from tests.guard.truth import losses
from tests.guard.truth.losses import CLASSES, WRONG, Crooked, protected, train
from veracity.core import observation as seen
from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.core.protection import GUARD
from veracity.core.rule import Severity
from veracity.detect.rules.gradient.loss_not_derivative import LossNotDerivative
from veracity.guard import protection, schedule
from veracity.guard.truth import check

STEPS = 24


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


@pytest.mark.parametrize("name", CLEAN)
def test_the_gradients_of_a_right_loss_agree(checked: Guarded, name: str) -> None:
    CLEAN[name]()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked >= STEPS // 2, coverage.reasons


# --- marked sabotage ----------------------------------------------------------------------------------------


def turned(name: str, at: int) -> Callable[[int], None]:
    """Right before step ``at``, wrong from it on."""

    def after(step: int) -> None:
        if step + 1 == at:
            Crooked.wrong = staticmethod(WRONG[name])

    return after


@pytest.mark.parametrize("wrong", WRONG)
def test_a_loss_that_turns_wrong_is_an_error(checked: Guarded, wrong: str) -> None:
    train(protected(Crooked.apply), 60, after=turned(wrong, 20))
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


@pytest.mark.parametrize("wrong", WRONG)
def test_a_function_that_was_never_right_is_a_note_unless_it_is_said_to_be(
    checked: Guarded, wrong: str
) -> None:
    Crooked.wrong = staticmethod(WRONG[wrong])
    train(protected(lambda logits, wanted: Crooked.apply(logits, wanted)), 40)
    found, coverage = judged(checked)
    assert [one.severity for one in found] == [Severity.NOTE]
    assert any("may replace the derivative" in why and losses.__file__ in why for why in coverage.reasons)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_function_that_is_said_to_be_differentiable_is_an_error(checked: Guarded, wrong: str) -> None:
    Crooked.wrong = staticmethod(WRONG[wrong])
    train(protected(Crooked.apply, differentiable=True), 40)
    assert [one.severity for one in judged(checked)[0]] == [Severity.ERROR]


@pytest.mark.parametrize("how", ["autocast", "bfloat16", "scaler", "accumulated", "none-reduction"])
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
