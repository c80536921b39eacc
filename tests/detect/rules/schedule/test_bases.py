"""Base rates that a program edits within a pass are found; what programs do with them otherwise is not."""

from __future__ import annotations

import warnings

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
    scheduler_stepped,
    step_record,
)
from veracity.core.contract import LoaderDeclaration
from veracity.core.finding import Finding
from veracity.core.observation import LoaderStarted, Observation, StateRestored
from veracity.core.rule import Severity
from veracity.detect.rules.schedule.drift import ScheduleDrift


def falling(step: int) -> float:
    return 1 / (1 + step / 50)


class Program:
    """A training with a function of its own for its rates."""

    def __init__(self, kind: type[torch.optim.lr_scheduler.LambdaLR] | None = None) -> None:
        warnings.simplefilter("ignore")
        self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
        self.scheduler = (kind or torch.optim.lr_scheduler.LambdaLR)(self.optimizer, falling)
        self.detector = ScheduleDrift()
        self.findings: list[Finding] = []
        self.number = 0
        self.see(declared(declare(self.optimizer)))
        self.declare()

    def see(self, observation: Observation) -> None:
        self.findings += self.detector.observe(observation)

    def declare(self, *, reloaded: bool = False) -> None:
        declaration = declare_scheduler(self.scheduler, {}, unreadable="a function")
        self.see(scheduler_declared(declaration, reloaded=reloaded))

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.see(step_record(self.number, hyper_groups(self.optimizer)))
            self.optimizer.step()
            self.number += 1
            self.scheduler.step()
            self.see(scheduler_stepped(self.scheduler, self.number))

    def edit(self, factor: float = 0.9) -> None:
        self.scheduler.base_lrs = [factor * rate for rate in self.scheduler.base_lrs]

    def begin_pass(self) -> None:
        self.see(
            LoaderStarted(origin(), LoaderDeclaration(0, "d", 1, 1, False, "s", "b", 0, False, False), 0, 0)
        )


def test_an_edit_is_found_once() -> None:
    program = Program()
    program.begin_pass()
    program.steps(12)
    program.edit()
    program.steps(5)
    program.edit()
    program.steps(5)
    (finding,) = program.findings
    assert finding.severity is Severity.WARNING
    assert finding.first_step == 13
    assert finding.subject.endswith("base_lrs")


def test_an_edit_between_passes_is_a_note() -> None:
    program = Program()
    program.steps(12)
    program.begin_pass()
    program.edit()
    program.steps(5)
    assert [finding.severity for finding in program.findings] == [Severity.NOTE]


def test_an_edit_before_training_or_at_its_beginning_is_setting_up() -> None:
    program = Program()
    program.edit()
    program.steps(1)
    program.edit()
    program.steps(20)
    assert program.findings == []


@pytest.mark.parametrize("how", ["reloaded", "restored"])
def test_rates_that_were_loaded_are_innocent(how: str) -> None:
    program = Program()
    program.steps(12)
    program.edit()
    if how == "reloaded":
        program.declare(reloaded=True)
    else:
        program.see(StateRestored(origin(), 0, 12, True, True, [], []))
    program.steps(12)
    assert program.findings == []


def test_a_list_that_grows_with_a_group_is_no_edit() -> None:
    program = Program()
    program.steps(12)
    program.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(2))], "initial_lr": 0.1})
    program.scheduler.base_lrs.append(0.1)
    program.scheduler.lr_lambdas.append(falling)
    program.steps(12)
    assert program.findings == []


class Own(torch.optim.lr_scheduler.LambdaLR):
    """A scheduler of the program's own, which moves its base rates by itself."""

    base_lrs: list[float]

    def get_lr(self) -> list[float]:
        if self.last_epoch == 15:
            self.base_lrs = [rate / 2 for rate in self.base_lrs]
        return list(super().get_lr())


def test_a_class_of_the_programs_own_may_move_its_base_rates() -> None:
    program = Program(Own)
    program.steps(30)
    assert program.findings == []
