"""Functions that a scheduler calls for its rates, exchanged while it is in use."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch")

from tests.detect.recording import scheduler_stepped
from tests.detect.rules.schedule.test_bases import Program
from veracity.core.rule import Severity


def moved(at: int, before: Callable[[Program], None] = lambda program: None) -> list[tuple[Severity, int]]:
    program = Program()
    program.begin_pass()
    program.steps(at)
    before(program)
    program.see(scheduler_stepped(program.scheduler, program.number, functions=["job.slower"]))
    program.steps(4)
    return [(one.severity, one.first_step or 0) for one in program.findings if "lr_lambdas" in one.subject]


def test_another_function_is_found_once() -> None:
    program = Program()
    program.begin_pass()
    program.steps(14)
    for name in ("job.slower", "job.slowest"):
        program.see(scheduler_stepped(program.scheduler, program.number, functions=[name]))
        program.steps(4)
    (finding,) = [one for one in program.findings if "lr_lambdas" in one.subject]
    assert (finding.severity, finding.first_step) == (Severity.WARNING, 14)
    assert finding.message.endswith("was exchanged; it is now slower()")


def test_in_the_first_steps_it_is_the_programs_own_way() -> None:
    assert moved(14) == [(Severity.WARNING, 14)]
    assert moved(6) == []


def test_with_a_new_pass_it_is_a_note() -> None:
    assert moved(14, Program.begin_pass) == [(Severity.NOTE, 14)]


def test_after_its_state_was_loaded_it_begins_anew() -> None:
    assert moved(14, lambda program: program.declare(reloaded=True)) == []
