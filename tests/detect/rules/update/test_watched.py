"""A law that could check and then no longer can has stopped; one that never could has not."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from tests.detect.recording import declared
from tests.detect.rules.update.test_not_declared import Run
from veracity.core.contract import Hyper, OptimizerDeclaration
from veracity.detect.rules.update.watched import BLIND_STEPS, formula_of


def _run(clear: int, blind: int, clear_again: int = 0) -> str:
    run = Run("AdamW")
    for closure, steps in ((False, clear), (True, blind), (False, clear_again)):
        for _ in range(steps):
            list(run.detector.observe(replace(run.record(), closure=closure)))
    return run.detector.coverage().stopped


def test_a_closure_that_arrives_in_the_middle_stops_the_law() -> None:
    assert "closure" in _run(clear=3, blind=BLIND_STEPS)


@pytest.mark.parametrize(
    ("clear", "blind", "again"), [(3, BLIND_STEPS - 1, 0), (0, 50, 0), (3, BLIND_STEPS, 1)]
)
def test_what_never_could_check_or_can_again_has_not_stopped(clear: int, blind: int, again: int) -> None:
    assert _run(clear, blind, again) == ""


@pytest.mark.parametrize(
    ("class_name", "base", "inherits", "group", "formula"),
    [
        ("torch.optim.adam.Adam", "torch.optim.adam.Adam", True, {}, ("Adam", True)),
        ("torch.optim.Adafactor", "torch.optim.Adafactor", True, {}, ("Adafactor", True)),
        ("mine.Adam", "torch.optim.adam.Adam", True, {}, ("Adam", True)),
        ("mine.Adam", "torch.optim.adam.Adam", False, {}, ("Adam", False)),
        ("mine.Adam", "", False, {}, ("", False)),
        ("mine.Adam", "torch.optim.asgd.ASGD", True, {}, ("", False)),
        ("mine.Lion", "", False, {"lr": 0.1, "betas": [0.9, 0.99], "weight_decay": 0.0}, ("Lion", False)),
        ("mine.Lion", "", False, {"lr": 0.1, "betas": [0.9, 0.99], "eps": 1e-8}, ("", False)),
        ("mine.Dandelions", "", False, {"lr": 0.1, "betas": [0.9, 0.99]}, ("", False)),
    ],
)
def test_the_formula_of_a_class(
    class_name: str, base: str, inherits: bool, group: dict[str, Hyper], formula: tuple[str, bool]
) -> None:
    declaration = OptimizerDeclaration(0, class_name, "", 0, [group], [], [], 0, base, inherits)
    assert formula_of(declaration) == formula


@pytest.mark.parametrize(
    ("known", "unknown", "back", "stops"),
    [(3, 30, 0, True), (3, 19, 0, False), (0, 30, 0, False), (3, 30, 1, False)],
)
def test_weights_that_go_to_an_optimizer_that_is_not_checked(
    known: int, unknown: int, back: int, stops: bool
) -> None:
    run = Run("AdamW")
    other = replace(run.declaration, index=1, class_name="mine.Other", base="")
    run.see(declared(other))
    for index, times in ((0, known), (1, unknown), (0, back)):
        for _ in range(times):
            run.see(replace(run.record(), optimizer=index))
    coverage = run.detector.coverage()
    assert bool(coverage.stopped) == stops
    assert any(reason.startswith("optimizer 1 (Other) of rank 0: none of its") for reason in coverage.reasons)
    assert run.findings == []
