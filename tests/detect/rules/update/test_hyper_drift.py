"""Hyper-parameters that change: real groups, and the changes that are legitimate."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from tests.detect.recording import (
    declare,
    declare_scheduler,
    declared,
    hyper_groups,
    origin,
    scheduler_declared,
    step_record,
)
from veracity.core.contract import LoaderDeclaration
from veracity.core.finding import Finding
from veracity.core.observation import LoaderStarted
from veracity.core.rule import Confidence, Severity
from veracity.detect.rules.update.hyper_drift import HyperDrift


class Run:
    def __init__(self) -> None:
        params = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
        self.optimizer = torch.optim.AdamW([{"params": params[:1]}, {"params": params[1:]}], lr=0.1)
        self.detector = HyperDrift()
        self.findings: list[Finding] = list(self.detector.observe(declared(declare(self.optimizer))))

    def step(self, number: int) -> None:
        self.findings += self.detector.observe(step_record(number, hyper_groups(self.optimizer)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weight_decay", 0.0),
        ("betas", (0.9, 0.5)),
        ("eps", 1e-3),
        ("amsgrad", True),
        ("maximize", True),
        ("decoupled_weight_decay", False),
    ],
)
def test_a_change_is_found_once_at_its_first_step(key: str, value: object) -> None:
    run = Run()
    for step in range(6):
        if step == 3:
            run.optimizer.param_groups[1][key] = value
        run.step(step)
    (finding,) = run.findings
    assert (finding.first_step, finding.rule) == (3, "update-hyper-drift")
    assert (finding.severity, finding.confidence) == (Severity.WARNING, Confidence.MEDIUM)
    assert not finding.breaks
    assert f"{key} of parameter group 1" in finding.message


@pytest.mark.parametrize(("first", "passes"), [(1, []), (0, []), (9, [0, 9])])
def test_what_is_set_from_the_first_steps_on_or_as_a_pass_begins_is_a_note(
    first: int, passes: list[int]
) -> None:
    run, loader = Run(), LoaderDeclaration(0, "d", 1, 1, False, "s", "b", 0, False, False)
    for step in range(14):
        if step in passes:
            run.findings += run.detector.observe(LoaderStarted(origin(), loader, 0, 0))
        for group in run.optimizer.param_groups:
            group["weight_decay"] += 0.01 if step >= first else 0.0
        run.step(step)
    assert [(one.first_step, one.severity) for one in run.findings] == [(first, Severity.NOTE)]


def test_a_second_entry_is_found_too() -> None:
    run = Run()
    run.optimizer.param_groups[0]["eps"] = 1.0
    run.step(0)
    run.optimizer.param_groups[0]["weight_decay"] = 1.0
    run.step(1)
    assert [finding.evidence[0].name for finding in run.findings] == ["eps", "weight_decay"]


@pytest.mark.parametrize("key", ["lr", "initial_lr", "foreach", "fused", "capturable"])
def test_rates_and_implementation_flags_are_not_this_rules(key: str) -> None:
    run = Run()
    run.optimizer.param_groups[0][key] = 7
    run.step(0)
    assert run.findings == []


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("cycles", [True, False])
def test_one_cycle_moves_momentum_legitimately(nested: bool, cycles: bool) -> None:
    run = Run()
    scheduler = torch.optim.lr_scheduler.OneCycleLR(run.optimizer, 0.1, total_steps=20)
    declaration = declare_scheduler(scheduler, {"cycle_momentum": cycles})
    if nested:
        whole = torch.optim.lr_scheduler.ChainedScheduler([scheduler])
        declaration = declare_scheduler(whole, {}, children=[declaration])
    assert list(run.detector.observe(scheduler_declared(declaration))) == []
    for step in range(20):
        run.step(step)
        run.optimizer.step()
        if step < 19:
            scheduler.step()
    assert (run.findings == []) == cycles


def test_a_later_declaration_does_not_cover_a_change() -> None:
    run = Run()
    run.optimizer.param_groups[0]["eps"] = 1.0
    run.findings += run.detector.observe(declared(declare(run.optimizer)))
    run.step(0)
    assert len(run.findings) == 1
    assert run.detector.coverage().possible == 0
