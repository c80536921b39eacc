"""The law *schedule* over whole runs: real schedulers, clean and with a rate that is not theirs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
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
from tests.examples import examples
from veracity.core.contract import Hyper, SchedulerDeclaration
from veracity.core.finding import Finding
from veracity.core.observation import (
    Observation,
    SchedulerCall,
    SchedulersStepped,
    SchedulerStepped,
    StateRestored,
)
from veracity.core.rule import Severity
from veracity.detect.rules.schedule.course import GOES_ON
from veracity.detect.rules.schedule.drift import BY_HAND, CARRIED, OVER_A_SCHEDULE, ScheduleDrift

lrs = torch.optim.lr_scheduler


class Run:
    """A training run of a few parameters that tells a detector what a guard would tell it."""

    def __init__(self, lr: float = 0.1) -> None:
        self.params = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))]
        groups = [{"params": self.params[:1]}, {"params": self.params[1:], "lr": lr / 10}]
        self.optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9)
        self.detector = ScheduleDrift()
        self.findings: list[Finding] = []
        self.step_number = 0

    def see(self, observation: Observation) -> None:
        self.findings += self.detector.observe(observation)

    def declare(self) -> None:
        self.see(declared(declare(self.optimizer)))

    def schedule(self, scheduler: object, parameters: dict[str, Hyper], index: int = 0) -> object:
        self.see(scheduler_declared(declare_scheduler(scheduler, parameters, index=index)))
        return scheduler

    def step(self, *schedulers: object, scale: float = 1.0, seq: int = -1) -> None:
        groups = hyper_groups(self.optimizer)
        for group in groups:
            group["lr"] = float(group["lr"]) * scale  # type: ignore[arg-type]
        self.see(step_record(self.step_number, groups))
        self.optimizer.step()
        self.step_number += 1
        for index, scheduler in enumerate(schedulers):
            scheduler.step()  # type: ignore[attr-defined]
            self.see(scheduler_stepped(scheduler, self.step_number, index=index, seq=seq))


@pytest.fixture
def run() -> Iterator[Run]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Run()


def cosine(run: Run, index: int = 0) -> object:
    scheduler = lrs.CosineAnnealingLR(run.optimizer, T_max=50)
    return run.schedule(scheduler, {"T_max": 50, "eta_min": 0.0}, index)


def test_a_clean_cosine_run_is_silent_and_covered(run: Run) -> None:
    run.declare()
    scheduler = cosine(run)
    for _ in range(120):
        run.step(scheduler)
    assert run.findings == []
    assert (run.detector.coverage().checked, run.detector.coverage().possible) == (120, 120)


@pytest.mark.parametrize("factor", [0.5, 0.7, 0.95, 0.995, 1.0001, 1.005, 1.5])
@pytest.mark.parametrize("first", [0, 1, 23])
def test_a_scaled_rate_is_found_at_its_first_step_and_once(run: Run, factor: float, first: int) -> None:
    run.declare()
    scheduler = cosine(run)
    for step in range(40):
        run.step(scheduler, scale=factor if step >= first else 1.0)
    (finding,) = run.findings
    assert finding.rule == "schedule-drift"
    assert finding.first_step == first
    assert finding.breaks
    assert f"{factor:.6g} times" in finding.message
    assert "CosineAnnealingLR at position" in finding.evidence[0].excerpt[0]
    assert finding.locations[0].line == 200


def hand(run: Run, rates: list[float]) -> None:
    """As a script sets them before a step."""
    for group, rate in zip(run.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


@pytest.mark.parametrize("each_step", [True, False], ids=["stepped each time", "stepped each epoch"])
@pytest.mark.parametrize("short", [False, True], ids=["reaches the base", "stops short of it"])
def test_a_warm_up_written_by_hand_over_a_scheduler_is_no_drift(
    run: Run, each_step: bool, short: bool
) -> None:
    run.declare()
    scheduler = cosine(run)
    base = [group["lr"] for group in run.optimizer.param_groups]
    for step in range(40):
        if step < 10:
            hand(run, [rate * (step + (not short)) / 10 for rate in base])
        run.step(*([scheduler] if each_step or step % 8 == 7 else []))
    assert run.findings == []
    reasons = run.detector.coverage().reasons
    assert reasons[OVER_A_SCHEDULE] >= 7


def test_a_warm_up_over_a_schedule_of_the_programs_own_may_fall_for_one_group(run: Run) -> None:
    run.declare()
    scheduler = run.schedule(lrs.LambdaLR(run.optimizer, lambda position: 1 - position / 10), {})
    base = [group["lr"] for group in run.optimizer.param_groups]
    for step in range(40):
        if step <= 20:
            share = step / 20
            first, *others = base
            hand(run, [10 * first * (1 - share) + first * share, *(rate * share for rate in others)])
        run.step(*([scheduler] if step % 15 == 14 else []), scale=0.9 if step == 37 else 1.0)
    assert [one.first_step for one in run.findings] == [37]  # what begins later is told as ever


def test_rates_that_fall_from_some_step_on_before_the_first_step_of_a_schedule(run: Run) -> None:
    run.declare()
    scheduler = run.schedule(lrs.LambdaLR(run.optimizer, lambda position: 1 - position / 10), {})
    for step in range(30):
        for group in run.optimizer.param_groups:
            group["lr"] *= 0.9 if step >= 5 else 1.0
        run.step(*([scheduler] if step == 20 else []))
    assert [one.first_step for one in run.findings] == [5]


@pytest.mark.parametrize("moves", [True, False])
def test_a_schedule_of_the_programs_own_is_declared_at_the_rates_that_the_first_step_has(
    run: Run, moves: bool
) -> None:
    """As by the guard: right before the first step, when the program has set its rates."""
    run.declare()
    scheduler = lrs.LambdaLR(run.optimizer, lambda position: 1 - position / 10)
    base = [group["lr"] for group in run.optimizer.param_groups]
    for step in range(30):
        if step < 20:
            share = step / 20 if moves or not step else 0.5
            hand(run, [base[0] * (5 - 4 * share), base[1] * share])
        if not step:
            run.schedule(scheduler, {})
        run.step(*([scheduler] if step % 15 == 14 else []))
    assert [one.first_step for one in run.findings] == ([] if moves else [1])


def test_a_scheduler_built_in_mid_run_excuses_no_rates_set_by_hand(run: Run) -> None:
    run.declare()
    scheduler = run.schedule(lrs.LambdaLR(run.optimizer, lambda position: 1 / (1 + position)), {})
    for _ in range(12):
        run.step(scheduler)
    run.schedule(lrs.LambdaLR(run.optimizer, lambda position: 1.0), {}, index=1)
    for step in range(6):
        run.step(scale=0.5 + step / 20)
    assert [one.first_step for one in run.findings] == [12]


def test_a_rate_that_moves_away_from_the_schedule_from_the_first_step_on_is_found(run: Run) -> None:
    run.declare()
    scheduler = cosine(run)
    for _ in range(20):
        for group in run.optimizer.param_groups:
            group["lr"] *= 0.97
        run.step(scheduler)
    assert [one.first_step for one in run.findings] == [0]


@pytest.mark.parametrize("factor", [1.0, 0.9, 1.005])
def test_calls_told_in_one_record_lead_to_the_same_rates(run: Run, factor: float) -> None:
    """As the guard tells of them while steps pass unseen."""
    run.declare()
    scheduler = cosine(run)
    run.step(scheduler)
    calls = []
    for _ in range(30):
        run.optimizer.step()
        scheduler.step()  # type: ignore[attr-defined]
        run.step_number += 1
        told = scheduler_stepped(scheduler, run.step_number)
        calls.append(SchedulerCall(0, told.last_epoch, False, told.before_step, told.lrs, told.base_lrs))
    run.see(SchedulersStepped(origin(), calls))
    run.step(scheduler, scale=factor)
    assert [one.first_step for one in run.findings] == ([] if factor == 1.0 else [31])
    assert run.detector.coverage().checked == 2


def test_a_rate_changed_in_the_group_itself_is_found_though_the_recursion_goes_on_from_it(run: Run) -> None:
    run.declare()
    scheduler = cosine(run)
    for step in range(40):
        if step == 20:
            for group in run.optimizer.param_groups:
                group["lr"] *= 0.7
        run.step(scheduler)
    assert [finding.first_step for finding in run.findings] == [20]


def test_a_position_moved_by_hand_is_found(run: Run) -> None:
    run.declare()
    scheduler = run.schedule(
        lrs.CosineAnnealingWarmRestarts(run.optimizer, 50), {"T_0": 50, "T_mult": 1, "eta_min": 0.0}
    )
    for step in range(30):
        if step == 10:
            scheduler.T_cur += 20  # type: ignore[attr-defined]
            scheduler.last_epoch += 20  # type: ignore[attr-defined]
        run.step(scheduler)
    # The position, and the rate that it leads to.
    assert [one.severity for one in run.findings] == [Severity.WARNING, Severity.ERROR]
    assert {one.first_step for one in run.findings} == {11}


def test_after_lost_records_the_schedulers_own_position_is_believed(run: Run) -> None:
    run.declare()
    scheduler = cosine(run)
    for seq in range(1, 10):
        run.step(scheduler, seq=seq)
    scheduler.step()  # type: ignore[attr-defined]  # this record is lost
    run.optimizer.step()
    scheduler.step()  # type: ignore[attr-defined]
    run.see(scheduler_stepped(scheduler, run.step_number, seq=99))
    for seq in range(100, 110):
        run.step(scheduler, seq=seq)
    assert run.findings == []


def test_stepping_once_per_epoch_is_clean(run: Run) -> None:
    run.declare()
    scheduler = run.schedule(lrs.StepLR(run.optimizer, 2, 0.1), {"step_size": 2, "gamma": 0.1})
    for _ in range(8):
        for _ in range(5):
            run.step()
        scheduler.step()  # type: ignore[attr-defined]
        run.see(scheduler_stepped(scheduler, run.step_number))
    assert run.findings == []
    assert run.detector.coverage().checked == 40


def test_without_a_scheduler_a_constant_rate_is_checked(run: Run) -> None:
    run.declare()
    for _ in range(5):
        run.step()
    assert run.findings == []
    assert run.detector.coverage().checked == 5


def test_without_a_scheduler_a_changing_rate_is_unchecked_and_no_finding(run: Run) -> None:
    run.declare()
    for step in range(6):
        run.step(scale=1.0 if step < 2 else 0.5)
    assert run.findings == []
    coverage = run.detector.coverage()
    assert (coverage.checked, coverage.possible) == (2, 6)
    assert coverage.reasons == {BY_HAND: 4}


def test_a_schedule_that_goes_on_from_the_rate_it_found_is_unchecked(run: Run) -> None:
    """torch builds the second one where the first one has left the rate, not where its own formula begins."""
    run.declare()
    first = run.schedule(lrs.StepLR(run.optimizer, 4, 0.1), {"step_size": 4, "gamma": 0.1})
    for _ in range(10):
        run.step(first)
    second = run.schedule(lrs.StepLR(run.optimizer, 6, 0.5), {"step_size": 6, "gamma": 0.5}, index=1)
    for _ in range(10):
        run.step()
        second.step()  # type: ignore[attr-defined]
        run.see(scheduler_stepped(second, run.step_number, index=1))
    assert run.findings == []
    assert run.detector.coverage().checked == 10
    assert run.detector.coverage().reasons[GOES_ON] == 10


def test_two_schedulers_side_by_side(run: Run) -> None:
    run.declare()
    warmup = run.schedule(
        lrs.LinearLR(run.optimizer, 0.1, 1.0, 10),
        {"start_factor": 0.1, "end_factor": 1.0, "total_iters": 10},
    )
    decay = run.schedule(lrs.CosineAnnealingLR(run.optimizer, 60), {"T_max": 60, "eta_min": 0.0}, 1)
    for step in range(50):
        run.step(warmup, decay, scale=1.0 if step < 30 else 1.02)
    assert [finding.first_step for finding in run.findings] == [30]


@pytest.mark.parametrize("announce_children", [True, False])
def test_sequential_replaces_the_schedulers_it_was_built_from(run: Run, announce_children: bool) -> None:
    run.declare()
    warmup = lrs.LinearLR(run.optimizer, 0.1, 1.0, 10)
    parts: list[tuple[object, dict[str, Hyper]]] = [
        (warmup, {"start_factor": 0.1, "end_factor": 1.0, "total_iters": 10})
    ]
    if announce_children:
        run.schedule(*parts[0], 0)
    parts.append((lrs.CosineAnnealingLR(run.optimizer, 40), {"T_max": 40, "eta_min": 0.0}))
    if announce_children:
        run.schedule(*parts[1], 1)
    children = [declare_scheduler(item, values, index=i) for i, (item, values) in enumerate(parts)]
    whole = lrs.SequentialLR(run.optimizer, [item for item, _ in parts], [10])
    declaration = declare_scheduler(whole, {"milestones": [10]}, index=2, children=children)
    run.see(scheduler_declared(declaration))
    for step in range(45):
        run.see(step_record(step, hyper_groups(run.optimizer)))
        run.optimizer.step()
        whole.step()
        run.see(scheduler_stepped(whole, step + 1, index=2))
    assert run.findings == []
    assert run.detector.coverage().checked == 45


def test_a_resumed_schedule_goes_on_from_its_position(run: Run) -> None:
    run.declare()
    scheduler = cosine(run)
    for _ in range(20):
        run.step(scheduler)
    saved = run.optimizer.state_dict(), scheduler.state_dict()  # type: ignore[attr-defined]
    again = Run()
    again.declare()
    resumed = cosine(again)
    resumed.load_state_dict(saved[1])  # type: ignore[attr-defined]
    again.optimizer.load_state_dict(saved[0])
    declaration = declare_scheduler(resumed, {"T_max": 50, "eta_min": 0.0})
    again.see(scheduler_declared(declaration, reloaded=True))
    for _ in range(20):
        again.step(resumed)
    assert again.findings == []
    assert again.detector.coverage().checked == 20


def test_a_resumed_schedule_without_the_optimizers_rate_is_found(run: Run) -> None:
    scheduler = lrs.CosineAnnealingLR(run.optimizer, T_max=50)
    for _ in range(20):
        run.optimizer.step()
        scheduler.step()
    again = Run()
    again.declare()
    resumed = cosine(again)
    resumed.load_state_dict(scheduler.state_dict())  # type: ignore[attr-defined]
    declaration = declare_scheduler(resumed, {"T_max": 50, "eta_min": 0.0})
    again.see(scheduler_declared(declaration, reloaded=True))
    again.step(resumed)
    assert [finding.first_step for finding in again.findings] == [0]


def test_a_schedule_resumed_at_another_length_begins_at_the_rate_that_was_loaded(run: Run) -> None:
    scheduler = lrs.CosineAnnealingLR(run.optimizer, T_max=20)
    for _ in range(20):
        run.optimizer.step()
        scheduler.step()
    again = Run()
    again.declare()
    again.optimizer.load_state_dict(run.optimizer.state_dict())
    resumed = cosine(again)
    resumed.load_state_dict({**scheduler.state_dict(), "T_max": 50})  # type: ignore[attr-defined]
    again.optimizer.load_state_dict(run.optimizer.state_dict())
    declaration = declare_scheduler(resumed, {"T_max": 50, "eta_min": 0.0})
    again.see(scheduler_declared(declaration, reloaded=True))
    again.see(scheduler_declared(declaration))  # when the optimizer is declared anew, so is this
    again.see(StateRestored(origin(), 0, 0, True, True, [], []))
    again.step()
    assert again.findings == []
    assert again.detector.coverage().reasons == {CARRIED: 1}


def test_an_explicit_epoch_is_the_position(run: Run) -> None:
    run.declare()
    scheduler = run.schedule(lrs.ExponentialLR(run.optimizer, 0.9), {"gamma": 0.9})
    for epoch in (1, 5, 3):
        run.step()
        scheduler.step(epoch)  # type: ignore[attr-defined]
        run.see(scheduler_stepped(scheduler, run.step_number, explicit=True))
    run.step()
    assert run.findings == []
    assert run.detector.coverage().checked == 4


def test_a_fraction_of_an_epoch_is_unchecked(run: Run) -> None:
    run.declare()
    scheduler = run.schedule(
        lrs.CosineAnnealingWarmRestarts(run.optimizer, 10), {"T_0": 10, "T_mult": 1, "eta_min": 0.0}
    )
    for batch in range(8):
        scheduler.step(batch / 4)  # type: ignore[attr-defined]
        run.see(scheduler_stepped(scheduler, run.step_number, explicit=True))
        run.step()
    assert run.findings == []
    assert run.detector.coverage().checked == 1
    assert any("fraction" in reason for reason in run.detector.coverage().reasons)


def test_a_lambda_is_unchecked_but_a_rate_it_did_not_leave_is_a_warning(run: Run) -> None:
    run.declare()
    scheduler = run.schedule(lrs.LambdaLR(run.optimizer, lambda position: 1 / (1 + position)), {})
    for step in range(20):
        run.step(scheduler, scale=1.0 if step < 12 else 0.7)
    (finding,) = run.findings
    assert finding.first_step == 12
    assert finding.severity is Severity.WARNING
    assert not finding.breaks
    assert run.detector.coverage().checked == 0


def test_ranks_and_optimizers_are_told_apart(run: Run) -> None:
    run.declare()
    scheduler = cosine(run)
    run.step(scheduler)
    other = step_record(0, [{"lr": 9.0}], rank=1)
    run.see(other)
    run.see(replace(other, optimizer=5))
    assert run.findings == []
    assert run.detector.coverage().reasons == {"the optimizer was never declared": 2}


def test_a_second_declaration_of_the_same_scheduler_changes_nothing(run: Run) -> None:
    run.declare()
    warmup: dict[str, Hyper] = {"start_factor": 0.1, "end_factor": 1.0, "total_iters": 10}
    first = run.schedule(lrs.LinearLR(run.optimizer, 0.1, 1.0, 10), warmup)
    second = cosine(run, 1)
    run.schedule(first, warmup)
    for _ in range(30):
        run.step(first, second)
    assert run.findings == []
    assert run.detector.coverage().checked == 30


def test_an_added_group_is_unchecked_and_no_finding(run: Run) -> None:
    run.declare()
    scheduler = cosine(run)
    run.step(scheduler)
    run.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
    run.step()
    assert run.findings == []
    assert run.detector.coverage().checked == 1


def test_an_added_group_without_a_scheduler_is_checked_when_declared(run: Run) -> None:
    run.declare()
    run.optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 7.0})
    run.declare()
    run.step()
    assert run.detector.coverage().checked == 1


@pytest.mark.parametrize("groups", [[], [{}], [{"lr": None}], [{"lr": "x"}]])
def test_rates_that_cannot_be_read_are_counted(run: Run, groups: list[dict[str, Hyper]]) -> None:
    run.declare()
    run.see(step_record(0, groups))
    assert run.findings == []
    assert run.detector.coverage().reasons == {"lr could not be read": 1}


numbers = st.one_of(st.floats(), st.integers(-(10**25), 10**25), st.none(), st.text(max_size=2))
parameters = st.dictionaries(
    st.sampled_from(
        ["gamma", "step_size", "milestones", "T_0", "T_mult", "T_max", "eta_min", "total_iters", "power"]
    ),
    st.one_of(numbers, st.integers(0, 5), st.lists(numbers, max_size=3)),
)
class_names = st.sampled_from(
    [
        "StepLR",
        "MultiStepLR",
        "PolynomialLR",
        "ExponentialLR",
        "CosineAnnealingLR",
        "CosineAnnealingWarmRestarts",
        "SequentialLR",
        "ChainedScheduler",
        "LambdaLR",
    ]
).map(lambda name: f"torch.optim.lr_scheduler.{name}")


def declarations(depth: int) -> st.SearchStrategy[SchedulerDeclaration]:
    return st.builds(
        SchedulerDeclaration,
        index=st.integers(0, 2),
        optimizer=st.just(0),
        class_name=class_names,
        parameters=parameters,
        base_lrs=st.lists(st.floats(), max_size=3),
        lrs=st.lists(st.floats(), max_size=3),
        last_epoch=st.one_of(st.integers(0, 3), st.integers(-(10**25), 10**25)),
        children=st.lists(declarations(depth - 1), max_size=2) if depth else st.just([]),
        unreadable=st.just(""),
    )


@settings(max_examples=examples(400))
@given(
    st.lists(
        st.one_of(
            declarations(1),
            st.tuples(
                st.integers(0, 2),
                st.integers(-(10**25), 10**25),
                st.booleans(),
                st.lists(st.floats(), max_size=2),
            ),
            st.lists(st.floats(), max_size=3),
        ),
        max_size=8,
    )
)
def test_no_record_makes_the_detector_raise(seen: list[object]) -> None:
    detector = ScheduleDrift()
    for number, item in enumerate(seen):
        observation: Observation
        if isinstance(item, SchedulerDeclaration):
            observation = scheduler_declared(item)
        elif isinstance(item, tuple):
            observation = SchedulerStepped(origin(), item[0], item[1], item[2], number, item[3])
        elif isinstance(item, list):
            observation = step_record(number, [{"lr": value} for value in item])
        else:
            continue
        list(detector.observe(observation))
    coverage = detector.coverage()
    assert coverage.checked <= coverage.possible
