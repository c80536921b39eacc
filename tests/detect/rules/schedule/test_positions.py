"""Positions of schedulers that are set by hand, and what moves them in order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch

from tests.detect.recording import origin, scheduler_stepped
from tests.detect.rules.schedule.test_bases import Program
from veracity.core.observation import StateRestored
from veracity.core.rule import Severity


def jump(program: Program) -> None:
    program.scheduler.last_epoch += 150


def moved(act: Callable[[Program], None], at: int = 14) -> list[tuple[Severity, int | None]]:
    program = Program()
    program.begin_pass()
    program.steps(at)
    act(program)
    program.steps(12)
    return [(one.severity, one.first_step) for one in program.findings]


def test_a_position_that_is_set_by_hand_is_found_once() -> None:
    program = Program()
    program.begin_pass()
    program.steps(14)
    jump(program)
    program.steps(20)
    jump(program)
    program.steps(4)
    (finding,) = program.findings
    assert (finding.severity, finding.first_step) == (Severity.WARNING, 15)
    assert finding.message.endswith("was set by hand: a step led from 14 to 165")


def test_a_position_that_is_set_back_is_found() -> None:
    assert moved(lambda program: setattr(program.scheduler, "last_epoch", 0)) == [(Severity.WARNING, 15)]


def test_with_a_new_pass_it_is_a_note() -> None:
    def act(program: Program) -> None:
        jump(program)
        program.begin_pass()

    assert moved(act) == [(Severity.NOTE, 15)]


def loaded(program: Program) -> None:
    jump(program)
    program.declare(reloaded=True)


def restored(program: Program) -> None:
    jump(program)
    program.see(StateRestored(origin(), 0, program.number, True, False, [], []))


def given(program: Program) -> None:
    program.scheduler.last_epoch = 70
    program.see(scheduler_stepped(program.scheduler, program.number, explicit=True))


@pytest.mark.parametrize("act", [loaded, restored, given])
def test_what_puts_a_position_elsewhere_in_order_is_not_told(act: Callable[[Program], None]) -> None:
    assert moved(act) == []


def test_a_program_that_moves_positions_from_the_first_steps_on_is_not_told() -> None:
    program = Program()
    program.begin_pass()
    for _ in range(4):
        program.steps(7)
        jump(program)
    assert program.findings == []


def test_schedulers_of_the_programs_own_may_count_as_they_like() -> None:
    class Own(torch.optim.lr_scheduler.LambdaLR):
        """Its class is not torch's."""

    program = Program(Own)
    program.steps(14)
    jump(program)
    program.steps(4)
    assert program.findings == []
