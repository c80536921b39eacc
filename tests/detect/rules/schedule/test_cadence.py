"""Schedulers that go on as they did are left alone, however programs step them; a change is found."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from veracity.core.contract import Hyper, LoaderDeclaration
from veracity.core.finding import Finding
from veracity.core.gradients import GradientEvent, Gradients
from veracity.core.observation import (
    BatchesDrawn,
    CheckpointLoaded,
    LoaderStarted,
    Observation,
    StateRestored,
    StepsPassed,
)
from veracity.core.rule import Severity
from veracity.detect.rules.schedule.cadence import ESTABLISHED, FROZEN, GIVEN, NOT_EACH, ScheduleCadence

lrs = torch.optim.lr_scheduler
LOADER = LoaderDeclaration(0, "d", 1, 1, False, "s", "b", 0, False, False)


class Program:
    """A training with real schedulers that tells a detector what a guard would tell it."""

    def __init__(self) -> None:
        warnings.simplefilter("ignore")
        self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
        self.detector = ScheduleCadence()
        self.findings: list[Finding] = []
        self.number = 0
        self.schedulers: list[object] = []
        self.see(declared(declare(self.optimizer)))

    def see(self, observation: Observation) -> None:
        self.findings += self.detector.observe(observation)

    def schedule(self, scheduler: object, parameters: dict[str, Hyper]) -> Program:
        self.schedulers.append(scheduler)
        index = len(self.schedulers) - 1
        self.see(scheduler_declared(declare_scheduler(scheduler, parameters, index=index)))
        return self

    def cosine(self, length: int = 1000) -> Program:
        scheduler = lrs.CosineAnnealingLR(self.optimizer, T_max=length)
        return self.schedule(scheduler, {"T_max": length, "eta_min": 0.0})

    def step_scheduler(self, times: int = 1, index: int = 0, *, explicit: bool = False) -> None:
        for _ in range(times):
            self.schedulers[index].step()  # type: ignore[attr-defined]
            self.see(scheduler_stepped(self.schedulers[index], self.number, index=index, explicit=explicit))

    def step(
        self, times: int = 1, *, losses: int = 1, skipped: bool = False, scale: float = 0.0, seq: int = -1
    ) -> None:
        """An optimizer step, then ``times`` steps of the first scheduler."""
        record = step_record(self.number, hyper_groups(self.optimizer), seq=seq)
        event = GradientEvent("unscale", 0, 0, scale)
        gradients = Gradients(events=(event,)) if scale else record.gradients
        self.see(replace(record, losses=losses, skipped=skipped, gradients=gradients))
        self.optimizer.step()
        self.number += 1
        self.step_scheduler(times)

    def steps(self, count: int, times: int = 1, *, losses: int = 1) -> None:
        for _ in range(count):
            self.step(times, losses=losses)

    def rest(self, count: int, times: int = 1) -> None:
        """Steps that are not looked at: their schedulers are noted all the same."""
        first = self.number
        for _ in range(count):
            self.optimizer.step()
            self.number += 1
            self.step_scheduler(times)
        self.see(StepsPassed(origin(), 0, first, count, 10**9))

    def deliver(self, reached: int, *, iteration: int = 0) -> None:
        """How far the loader is, as the guard tells right after a step's record."""
        self.see(BatchesDrawn(origin(), 0, iteration, 0, [], reached, [], False))

    def begin_pass(self) -> None:
        self.see(LoaderStarted(origin(), LOADER, 0, 0))

    def end(self) -> list[Finding]:
        self.findings += self.detector.finish()
        return self.findings


@pytest.fixture
def program() -> Iterator[Program]:
    with warnings.catch_warnings():
        yield Program().cosine()


def the_warning(program: Program) -> Finding:
    (finding,) = program.end()
    assert finding.severity is Severity.WARNING
    return finding


def only_notes(program: Program, count: int = 1) -> None:
    assert [finding.severity for finding in program.end()] == [Severity.NOTE] * count


def silent(program: Program) -> None:
    assert program.end() == []


# --- found ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("usual", [1, 2, 8])
@pytest.mark.parametrize("extra", [1, 5])
def test_a_scheduler_stepped_more_often_is_found_at_once(program: Program, usual: int, extra: int) -> None:
    program.steps(30, usual)
    program.steps(2, usual + extra)
    finding = the_warning(program)
    assert finding.first_step == 31  # counted between this step and the one before
    assert f"stepped {usual + extra} times" in finding.message


@pytest.mark.parametrize("length", [1, 3, FROZEN - 1])
def test_a_temporary_freeze_is_found_when_it_ends(program: Program, length: int) -> None:
    program.steps(20)
    program.steps(length, 0)
    program.step()
    assert program.findings == []
    program.steps(3)
    finding = the_warning(program)
    assert finding.first_step == 21  # the first whose rate is not that of its position


def test_a_schedule_that_stays_frozen_before_its_end_is_found(program: Program) -> None:
    program.steps(20)
    program.steps(FROZEN + 5, 0)
    finding = the_warning(program)
    assert finding.first_step == 21  # the first whose rate is not that of its position
    assert "not over" in finding.message


def test_one_frozen_until_the_run_ends_is_found_at_its_end(program: Program) -> None:
    program.steps(20)
    program.steps(8, 0)
    assert program.findings == []
    the_warning(program)


def test_a_warm_up_that_stops_is_found() -> None:
    program = Program()
    linear = lrs.LinearLR(program.optimizer, 0.01, total_iters=200)
    program.schedule(linear, {"start_factor": 0.01, "end_factor": 1.0, "total_iters": 200})
    program.steps(15)
    program.steps(40, 0)
    the_warning(program)


def test_a_scheduler_run_ahead_is_found(program: Program) -> None:
    program.step_scheduler(12)
    again = declare_scheduler(program.schedulers[0], {"T_max": 1000, "eta_min": 0.0})
    program.see(scheduler_declared(again))  # told once more before the first step, as the guard does
    program.steps(ESTABLISHED + 2)
    finding = the_warning(program)
    assert finding.first_step == 0
    assert "12 steps" in finding.message


# --- innocent ---------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.lists(st.integers(1, 3), min_size=20, max_size=60), st.data())
def test_optimizer_steps_that_a_scaler_leaves_out_are_no_breach(
    usual: int, kept: list[int], data: st.DataObject
) -> None:
    program = Program().cosine()
    program.steps(ESTABLISHED + 2, usual, losses=2)
    for tries in kept:  # each optimizer step after so many tries, at each of which the scheduler is stepped
        program.step(usual, losses=2)
        missed = tries - 1 if data.draw(st.booleans()) else 0
        program.step_scheduler(usual * missed)
        program.step(usual, losses=2 * (1 + missed))
    silent(program)


@pytest.mark.parametrize("times", [0, 2])
def test_steps_that_a_fused_scaler_skips_are_no_breach(program: Program, times: int) -> None:
    program.steps(20)
    program.step(times, skipped=True)
    program.steps(20)
    silent(program)


def test_a_schedule_held_when_the_loss_scale_changes_is_no_breach(program: Program) -> None:
    for number in range(60):
        program.step(int(number % 20 != 19), scale=2.0 ** (number // 20))
    silent(program)


def test_a_resume_that_runs_ahead_is_innocent(program: Program) -> None:
    program.see(CheckpointLoaded(origin(), "c", 0, [], False))
    program.step_scheduler(12)
    program.steps(30)
    silent(program)


def test_a_restored_state_is_a_new_beginning(program: Program) -> None:
    program.steps(30)
    program.step_scheduler(9)
    program.see(StateRestored(origin(), 0, 30, True, True, [], []))
    program.steps(30)
    silent(program)


def test_a_reloaded_scheduler_is_a_new_beginning(program: Program) -> None:
    program.step_scheduler(9)
    again = declare_scheduler(program.schedulers[0], {"T_max": 1000, "eta_min": 0.0})
    program.see(scheduler_declared(again, reloaded=True))
    program.steps(30)
    silent(program)


def test_one_step_ahead_is_the_other_order(program: Program) -> None:
    program.step_scheduler()
    program.steps(30)
    silent(program)


def test_first_steps_that_a_scaler_left_out_are_not_ahead(program: Program) -> None:
    program.step_scheduler(6)
    program.step(losses=7)
    program.steps(30)
    silent(program)


def test_a_schedule_that_was_tried_out_and_put_back_is_innocent(program: Program) -> None:
    program.step_scheduler(40)
    program.schedulers[0].last_epoch = 0  # type: ignore[attr-defined]
    program.steps(30)
    silent(program)


def test_an_end_of_its_own_is_no_freeze() -> None:
    program = Program().cosine(30)
    program.steps(30)
    program.steps(50, 0)
    only_notes(program)


def test_a_floor_near_the_end_is_no_freeze() -> None:
    program = Program().cosine(100)
    program.steps(80)
    program.steps(50, 0)
    only_notes(program)


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (lambda o: lrs.LambdaLR(o, lambda n: 1 / (1 + n)), {}),
        (lambda o: lrs.ExponentialLR(o, 0.99), {"gamma": 0.99}),
        (lambda o: lrs.StepLR(o, 30), {"step_size": 30, "gamma": 0.1}),
    ],
)
def test_a_schedule_without_a_declared_end_that_stops_is_a_note(
    make: object, parameters: dict[str, Hyper]
) -> None:
    program = Program()
    program.schedule(make(program.optimizer), parameters)  # type: ignore[operator]
    program.steps(20)
    program.steps(50, 0)
    only_notes(program)


def test_schedules_that_take_turns_are_a_note(program: Program) -> None:
    program.schedule(lrs.StepLR(program.optimizer, 30), {"step_size": 30, "gamma": 0.1})
    program.steps(20)
    for _ in range(50):  # as an average of weights that has a rate of its own at the end
        program.step(0)
        program.step_scheduler(index=1)
    only_notes(program)


def test_the_last_batch_of_a_pass_may_go_without(program: Program) -> None:
    for _ in range(4):
        program.begin_pass()
        program.steps(15)
        program.step(0)
    only_notes(program)


def test_a_step_more_at_the_end_of_a_pass_is_a_note(program: Program) -> None:
    for _ in range(3):
        program.begin_pass()
        program.steps(15)
        program.step_scheduler()
    only_notes(program)


def test_one_stepped_once_per_pass_is_not_judged(program: Program) -> None:
    for _ in range(6):
        program.begin_pass()
        program.steps(25, 0)
        program.step_scheduler()
    silent(program)
    assert program.detector.coverage().reasons[NOT_EACH] > 100


def test_one_given_its_epoch_is_not_judged(program: Program) -> None:
    for number in range(30):
        program.step(0)
        program.step_scheduler(1 + number % 2, explicit=True)
    silent(program)
    assert program.detector.coverage().reasons[GIVEN] > 20


def test_steps_made_up_for_are_no_breach(program: Program) -> None:
    program.steps(20)
    program.step(0)
    program.step(2)
    program.steps(20)
    silent(program)


def test_where_no_backward_pass_is_seen_more_steps_are_a_note(program: Program) -> None:
    program.steps(20, losses=0)
    program.step(2, losses=0)
    program.steps(2, losses=0)
    only_notes(program)


def test_lost_records_begin_anew(program: Program) -> None:
    program.steps(20)
    program.see(LoaderStarted(origin(seq=3), LOADER, 0, 0))
    program.step(2, seq=900)
    program.steps(3)
    silent(program)


def test_another_cadence_from_some_step_on_becomes_the_usual_one(program: Program) -> None:
    program.steps(20, 4)
    program.steps(40, 2)
    silent(program)


def test_a_new_scheduler_begins_anew(program: Program) -> None:
    program.steps(20)
    program.cosine()
    for _ in range(30):
        program.step(0)
        program.step_scheduler(index=1)
    silent(program)


def test_steps_that_were_passed_over_are_not_compared() -> None:
    program = Program().cosine()
    program.steps(2 * ESTABLISHED)
    for _ in range(4):
        program.rest(15)
        program.steps(2)
    assert program.findings == []
    program.rest(15)
    program.step(3)
    program.step()
    assert [one.severity for one in program.end()] == [Severity.WARNING]


@pytest.mark.parametrize("passed_over", [0, 1, 2])
@pytest.mark.parametrize("before", [0, 3])
def test_a_schedule_that_counts_batches_which_are_passed_over(
    program: Program, passed_over: int, before: int
) -> None:
    """The loss of some is not a number: the program takes the next batch, and counts all of them."""
    reached = 0
    for number in range(before + 30):
        odd = number == before + 15
        if odd:
            program.step_scheduler(2)
        record = step_record(program.number, hyper_groups(program.optimizer))
        program.see(replace(record, losses=1))
        program.optimizer.step()
        program.number += 1
        reached += 1 + (passed_over if odd else 0)
        program.deliver(reached)
        program.step_scheduler()
    found = program.end()
    assert [one.severity for one in found] == ([] if passed_over == 2 else [Severity.WARNING])


def test_two_calls_for_one_batch_are_found_after_a_batch_was_passed_over(program: Program) -> None:
    for number in range(40):
        program.step_scheduler(number in (15, 30))
        program.step(losses=1)
        program.deliver(number + 1 + (number >= 15))
    (finding,) = program.end()
    assert (finding.severity, finding.first_step) == (Severity.WARNING, 30)
