"""Learning-rate schedulers: declared once, stepped once, however they are nested."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.core.rule import Severity
from veracity.detect.rules.schedule.cadence import ScheduleCadence
from veracity.detect.rules.schedule.drift import ScheduleDrift

pytest.importorskip("torch")

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook


def an_optimizer(lr: float = 1.0) -> Any:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=lr)


def go(optimizer: Any, scheduler: Any, times: int) -> list[float]:
    rates = []
    for _ in range(times):
        optimizer.zero_grad()
        optimizer.param_groups[0]["params"][0].sum().backward()
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def no_failure(guarded: Guarded) -> None:
    assert guarded.session.shield.failures == {}
    assert guarded.seen(seen.Gap) == []


def test_each_call_is_one_step(guarded: Guarded) -> None:
    optimizer = an_optimizer()
    rates = go(optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5), 5)
    stepped = guarded.seen(seen.SchedulerStepped)
    assert [one.lrs for one in stepped] == [[rate] for rate in rates]
    assert [one.before_step for one in stepped] == [1, 2, 3, 4, 5]
    assert [one.last_epoch for one in stepped] == [1, 2, 3, 4, 5]
    assert not any(one.explicit for one in stepped)
    assert [one.base_lrs for one in stepped] == [[1.0]] * 5
    (declared,) = guarded.seen(seen.SchedulerDeclared)
    assert declared.scheduler.class_name == "torch.optim.lr_scheduler.StepLR"
    assert declared.scheduler.parameters["step_size"] == 2
    assert declared.scheduler.base_lrs == [1.0]
    no_failure(guarded)


@pytest.mark.parametrize("kind", ["sequential", "chained", "nested"])
def test_schedulers_that_step_others_count_once(guarded: Guarded, kind: str) -> None:
    schedules = torch.optim.lr_scheduler
    optimizer = an_optimizer()
    warm = schedules.LinearLR(optimizer, 0.1, total_iters=3)
    fall = schedules.CosineAnnealingLR(optimizer, 10)
    scheduler = (
        schedules.ChainedScheduler([warm, fall])
        if kind == "chained"
        else schedules.SequentialLR(optimizer, [warm, fall], [3])
    )
    if kind == "nested":
        scheduler = schedules.SequentialLR(optimizer, [scheduler, schedules.ConstantLR(optimizer)], [4])
    rates = go(optimizer, scheduler, 6)
    assert [one.lrs for one in guarded.seen(seen.SchedulerStepped)] == [[rate] for rate in rates]
    (declared,) = guarded.seen(seen.SchedulerDeclared)
    assert len(declared.scheduler.children) == 2
    if kind == "nested":
        assert len(declared.scheduler.children[0].children) == 2
    no_failure(guarded)


def test_an_explicit_epoch_or_metric_is_told(guarded: Guarded) -> None:
    optimizer = an_optimizer()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for loss in (1.0, 2.0, 3.0):
        optimizer.step()
        scheduler.step(loss)
    assert [one.explicit for one in guarded.seen(seen.SchedulerStepped)] == [True] * 3
    no_failure(guarded)


def test_a_function_of_the_program_is_named(guarded: Guarded) -> None:
    optimizer = an_optimizer()
    go(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step)), 2)
    (declared,) = guarded.seen(seen.SchedulerDeclared)
    (function,) = declared.scheduler.functions
    assert function.name.endswith("test_a_function_of_the_program_is_named.<locals>.<lambda>")
    assert function.arguments == {}
    assert len(guarded.seen(seen.SchedulerStepped)) == 2
    no_failure(guarded)


def share(step: int, *, warm: int, kind: str) -> float:
    return min(1.0, step / warm)


def test_bound_arguments_of_each_group_are_recorded(guarded: Guarded) -> None:
    optimizer = an_optimizer()
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})
    bound = [functools.partial(share, warm=warm, kind="x") for warm in (3, 4)]
    go(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, bound), 1)
    (declared,) = guarded.seen(seen.SchedulerDeclared)
    names = {function.name for function in declared.scheduler.functions}
    assert names == {f"{__name__}.share"}
    assert [one.arguments for one in declared.scheduler.functions] == [
        {"warm": 3, "kind": "x"},
        {"warm": 4, "kind": "x"},
    ]
    no_failure(guarded)


class PassesOn(torch.optim.Optimizer):
    """As accelerate's wrapper: shares the groups of the one inside, and fires no hooks of its own."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure: Any = None) -> None:
        self.optimizer.step(closure)


class LooksAhead(torch.optim.Optimizer):
    """Updates by its own rules around those of the one inside."""

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer.param_groups, {"lr": 1.0})
        self.optimizer = optimizer
        self.param_groups = optimizer.param_groups

    def step(self, closure: Any = None) -> None:
        self.optimizer.step(closure)


def test_a_schedule_of_a_wrapper_is_that_of_the_optimizer_inside(guarded: Guarded) -> None:
    optimizer = an_optimizer()
    wrapper: Any = PassesOn(PassesOn(optimizer))
    go(wrapper, torch.optim.lr_scheduler.StepLR(wrapper, 1, gamma=0.5), 3)
    (declared,) = guarded.seen(seen.SchedulerDeclared)
    assert declared.scheduler.optimizer == 0
    assert [one.before_step for one in guarded.seen(seen.SchedulerStepped)] == [1, 2, 3]
    assert [one.optimizer.class_name for one in guarded.seen(seen.OptimizerDeclared)] == [
        "torch.optim.sgd.SGD"
    ]
    no_failure(guarded)


def test_an_optimizer_around_another_keeps_its_schedule(guarded: Guarded) -> None:
    inner = an_optimizer()
    outer: Any = LooksAhead(inner)
    go(outer, torch.optim.lr_scheduler.StepLR(outer, 1, gamma=0.5), 2)
    (declared,) = guarded.seen(seen.SchedulerDeclared)
    declared_for = {one.optimizer.index: one.optimizer for one in guarded.seen(seen.OptimizerDeclared)}
    assert declared_for[declared.scheduler.optimizer].class_name.endswith("LooksAhead")
    no_failure(guarded)


def test_a_step_that_raises_does_not_hide_the_later_ones(guarded: Guarded) -> None:
    optimizer = an_optimizer()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (2 - step))
    optimizer.step()
    scheduler.step()
    with pytest.raises(ZeroDivisionError):
        scheduler.step()
    with pytest.raises(ZeroDivisionError):
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / step)
    scheduler.step()
    assert len(guarded.seen(seen.SchedulerStepped)) == 2


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_step_hook_may_step_the_scheduler(guarded: Guarded, everywhere: bool) -> None:
    optimizer = an_optimizer()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    calls: list[int] = []

    def advance(*_: Any) -> None:
        scheduler.step()
        calls.append(1)
        if len(calls) == 4:
            raise ValueError("marked")

    put = register_optimizer_step_post_hook if everywhere else None
    handle = put(advance) if put is not None else optimizer.register_step_post_hook(advance)
    try:
        for step in range(30):
            optimizer.zero_grad()
            optimizer.param_groups[0]["params"][0].sum().backward()
            if step == 3:
                with pytest.raises(ValueError, match="marked"):
                    optimizer.step()
            else:
                optimizer.step()
    finally:
        handle.remove()
    order = [
        one
        for one in guarded.seen(seen.Observation)
        if isinstance(one, (seen.StepRecord, seen.SchedulerStepped))
    ]
    assert [isinstance(one, seen.SchedulerStepped) for one in order[:6]] == [False, True] * 3
    assert [one.before_step for one in guarded.seen(seen.SchedulerStepped)][:3] == [1, 2, 3]
    for detector in (ScheduleDrift(), ScheduleCadence()):
        found = [one for record in guarded.seen(seen.Observation) for one in detector.observe(record)]
        assert [one for one in [*found, *detector.finish()] if one.severity is not Severity.NOTE] == []


def test_loading_a_state_declares_anew(guarded: Guarded) -> None:
    optimizer = an_optimizer()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    go(optimizer, scheduler, 1)
    kept = scheduler.state_dict()
    go(optimizer, scheduler, 2)
    scheduler.load_state_dict(kept)
    first, second = guarded.seen(seen.SchedulerDeclared)
    assert (first.reloaded, second.reloaded) == (False, True)
    assert first.scheduler.index == second.scheduler.index
    assert second.scheduler.last_epoch == 1
    no_failure(guarded)


def test_two_optimizers_keep_their_own(guarded: Guarded) -> None:
    one, other = an_optimizer(), an_optimizer(2.0)
    first = torch.optim.lr_scheduler.StepLR(one, 1)
    second = torch.optim.lr_scheduler.StepLR(other, 1)
    go(one, first, 1)
    go(other, second, 1)
    declared = {
        part.scheduler.index: part.scheduler.optimizer for part in guarded.seen(seen.SchedulerDeclared)
    }
    assert len(declared) == 2
    assert len(set(declared.values())) == 2
    assert [part.scheduler for part in guarded.seen(seen.SchedulerStepped)] == sorted(declared)
    no_failure(guarded)


def halved(step: int) -> float:
    return 0.5 / (1 + step)


def _exchanged(scheduler: Any) -> None:
    scheduler.lr_lambdas[0] = halved


def _other_code(scheduler: Any) -> None:
    scheduler.lr_lambdas[0].__code__ = halved.__code__


def _all_at_once(scheduler: Any) -> None:
    scheduler.lr_lambdas = [halved]


def _within_another(scheduler: Any) -> None:
    scheduler._schedulers[1].lr_lambdas[0] = halved


@pytest.mark.parametrize("act", [_exchanged, _other_code, _all_at_once, _within_another])
def test_a_function_of_a_schedule_that_is_exchanged_is_told(guarded: Guarded, act: Any) -> None:
    optimizer, schedules = an_optimizer(), torch.optim.lr_scheduler
    scheduler: Any = schedules.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    if act is _within_another:
        warm = schedules.LinearLR(optimizer, 0.5, total_iters=2)
        scheduler = schedules.SequentialLR(optimizer, [warm, scheduler], [2])
    go(optimizer, scheduler, 12)
    act(scheduler)
    go(optimizer, scheduler, 12)
    stepped = guarded.seen(seen.SchedulerStepped)
    assert [number for number, one in enumerate(stepped) if one.functions] == [12]
    if act is not _other_code:
        assert stepped[12].functions[0].name == f"{__name__}.halved"
    no_failure(guarded)
    detector = ScheduleDrift()
    found = [one for record in guarded.seen(seen.Observation) for one in detector.observe(record)]
    (finding,) = [one for one in found if one.subject.endswith("lr_lambdas")]
    assert (finding.severity, finding.first_step) == (Severity.WARNING, 13)


def test_the_state_of_a_schedule_of_objects_may_be_loaded(guarded: Guarded) -> None:
    class Falling:
        def __init__(self) -> None:
            self.by = 0.9

        def __call__(self, step: int) -> float:
            return float(self.by**step)

    optimizer = an_optimizer()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, Falling())
    go(optimizer, scheduler, 12)
    state = scheduler.state_dict()
    scheduler.lr_lambdas[0] = Falling()
    scheduler.load_state_dict(state)
    go(optimizer, scheduler, 12)
    assert not any(one.functions for one in guarded.seen(seen.SchedulerStepped))
    no_failure(guarded)
