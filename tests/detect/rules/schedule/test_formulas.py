"""Each scheduler against torch's own, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from tests.detect.recording import declare_scheduler
from tests.examples import examples
from veracity.core.contract import Hyper, SchedulerDeclaration
from veracity.core.errors import EvidenceError
from veracity.detect.rules.schedule.course import Schedule

lrs = torch.optim.lr_scheduler
STEPS = 200
Built = tuple[object, SchedulerDeclaration]

gammas = st.floats(0.5, 1.0, exclude_min=True)
shares = st.floats(0.01, 1.0)
counts = st.integers(1, 80)


@st.composite
def leaf(draw: st.DrawFn, *, absolute: bool = True) -> tuple[str, dict[str, Hyper]]:
    kinds = ["StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR"]
    kinds.append("CosineAnnealingLR")
    if absolute:
        kinds.append("CosineAnnealingWarmRestarts")
    kind = draw(st.sampled_from(kinds))
    values: dict[str, dict[str, st.SearchStrategy[Hyper]]] = {
        "StepLR": {"step_size": counts, "gamma": gammas},
        "MultiStepLR": {"milestones": st.lists(counts, max_size=5), "gamma": gammas},
        "ConstantLR": {"factor": shares, "total_iters": counts},
        "LinearLR": {"start_factor": shares, "end_factor": shares, "total_iters": counts},
        "ExponentialLR": {"gamma": st.floats(0.9, 1.0)},
        "PolynomialLR": {"total_iters": counts, "power": st.floats(0.5, 3.0)},
        "CosineAnnealingLR": {"T_max": counts, "eta_min": st.floats(0.0, 1e-3)},
        "CosineAnnealingWarmRestarts": {
            "T_0": counts,
            "T_mult": st.integers(1, 3),
            "eta_min": st.floats(0.0, 1e-3),
        },
    }
    return kind, {name: draw(strategy) for name, strategy in values[kind].items()}


def optimizer(base: float, second: float) -> torch.optim.Optimizer:
    one, two = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    return torch.optim.SGD([{"params": [one]}, {"params": [two], "lr": second}], lr=base, momentum=0.9)


def build(opt: torch.optim.Optimizer, spec: tuple[str, dict[str, Hyper]], index: int = 0) -> Built:
    kind, parameters = spec
    scheduler = getattr(lrs, kind)(opt, **parameters)
    return scheduler, declare_scheduler(scheduler, parameters, index=index)


def follow(opt: torch.optim.Optimizer, scheduler: object, schedule: Schedule, scale: float) -> None:
    """The closed form and the recursion both agree with torch at each of ``STEPS`` positions."""
    start = schedule.position
    opt.step()  # once, so that torch does not warn about the order
    running = schedule.at(start)
    for position in range(start, start + STEPS):
        seen = [group["lr"] for group in opt.param_groups]
        assert seen == pytest.approx(schedule.at(position), rel=1e-9, abs=1e-9 * scale)
        assert seen == pytest.approx(running, rel=1e-9, abs=1e-9 * scale)
        scheduler.step()  # type: ignore[attr-defined]
        running = schedule.advance(position + 1, running)


@settings(max_examples=examples(150))
@given(leaf(), st.floats(1e-5, 10.0), st.floats(1e-5, 10.0))
def test_each_scheduler_is_torchs(spec: tuple[str, dict[str, Hyper]], base: float, second: float) -> None:
    opt = optimizer(base, second)
    scheduler, declaration = build(opt, spec)
    follow(opt, scheduler, Schedule.of(declaration), max(base, second))


@settings(max_examples=examples(50))
@given(
    st.floats(1e-3, 1.0),
    st.floats(0.05, 0.45),
    st.sampled_from(["cos", "linear"]),
    st.booleans(),
    st.floats(2.0, 50.0),
    st.floats(10.0, 1e5),
)
def test_one_cycle_is_torchs(
    peak: float, rises: float, strategy: str, three: bool, div: float, final: float
) -> None:
    opt = optimizer(0.1, 0.1)
    spec: dict[str, Hyper] = {
        "max_lr": [peak, peak / 2],
        "total_steps": STEPS + 1,
        "pct_start": rises,
        "anneal_strategy": strategy,
        "three_phase": three,
        "div_factor": div,
        "final_div_factor": final,
    }
    scheduler = lrs.OneCycleLR(opt, **spec)
    schedule = Schedule.of(declare_scheduler(scheduler, spec))
    kept: dict[str, Hyper] = {
        "phase_ends": [float(phase["end_step"]) for phase in scheduler._schedule_phases],
        "max_lr": [float(group["max_lr"]) for group in opt.param_groups],
        "min_lr": [float(group["min_lr"]) for group in opt.param_groups],
        "anneal_strategy": strategy,
    }
    again = Schedule.of(declare_scheduler(scheduler, kept))
    assert [again.at(position) for position in range(STEPS)] == [
        pytest.approx(schedule.at(position), rel=1e-12) for position in range(STEPS)
    ]
    follow(opt, scheduler, schedule, peak)


@settings(max_examples=examples(50))
@given(
    st.floats(1e-4, 1e-2),
    st.floats(1e-2, 1.0),
    st.integers(2, 60),
    st.none() | st.integers(2, 60),
    st.sampled_from(["triangular", "triangular2", "exp_range"]),
)
def test_cyclic_is_torchs(low: float, high: float, up: int, down: int | None, mode: str) -> None:
    opt = optimizer(0.1, 0.1)
    spec: dict[str, Hyper] = {
        "base_lr": low,
        "max_lr": high,
        "step_size_up": up,
        "step_size_down": down,
        "mode": mode,
        "gamma": 0.99,
        "scale_fn": None,
    }
    scheduler = lrs.CyclicLR(opt, **spec)
    kept = {
        name: getattr(scheduler, name) for name in ("total_size", "step_ratio", "max_lrs", "mode", "gamma")
    }
    again = Schedule.of(declare_scheduler(scheduler, {**kept, "scale_fn": None}))
    schedule = Schedule.of(declare_scheduler(scheduler, spec))
    for position in range(STEPS):
        assert again.at(position) == pytest.approx(schedule.at(position), rel=1e-9)
    with pytest.raises(EvidenceError, match="function of the program"):
        Schedule.of(declare_scheduler(scheduler, kept))
    follow(opt, scheduler, schedule, high)


@settings(max_examples=examples(100))
@given(st.lists(leaf(), min_size=1, max_size=4), st.data())
def test_sequential_is_torchs(specs: list[tuple[str, dict[str, Hyper]]], data: st.DataObject) -> None:
    milestones = sorted(
        data.draw(
            st.lists(st.integers(1, STEPS), min_size=len(specs) - 1, max_size=len(specs) - 1, unique=True)
        )
    )
    opt = optimizer(0.3, 0.02)
    built = [build(opt, spec, index) for index, spec in enumerate(specs)]
    scheduler = lrs.SequentialLR(opt, [item for item, _ in built], milestones)
    declaration = declare_scheduler(
        scheduler, {"milestones": list(milestones)}, index=9, children=[child for _, child in built]
    )
    follow(opt, scheduler, Schedule.of(declaration), 0.3)


@settings(max_examples=examples(100))
@given(st.lists(leaf(absolute=False), min_size=1, max_size=4))
def test_chained_is_torchs(specs: list[tuple[str, dict[str, Hyper]]]) -> None:
    opt = optimizer(0.3, 0.02)
    built = [build(opt, spec, index) for index, spec in enumerate(specs)]
    scheduler = lrs.ChainedScheduler([item for item, _ in built])
    declaration = declare_scheduler(scheduler, {}, index=9, children=[child for _, child in built])
    schedule = Schedule.of(declaration)
    running = schedule.at(0)
    opt.step()
    for position in range(1, STEPS):
        assert [group["lr"] for group in opt.param_groups] == pytest.approx(running, rel=1e-9, abs=1e-9)
        scheduler.step()
        running = schedule.advance(position, running)
    assert schedule.at(STEPS - 1) == pytest.approx(running, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda item: {"class_name": "mine.Warmup"}, "no formula"),
        (lambda item: {"class_name": lrs.__name__ + ".LambdaLR"}, "function of the program"),
        (lambda item: {"class_name": lrs.__name__ + ".MultiplicativeLR"}, "function of the program"),
        (lambda item: {"class_name": lrs.__name__ + ".ReduceLROnPlateau"}, "metric"),
        (lambda item: {"parameters": {"eta_min": 0.0}}, "T_max could not be read"),
        (lambda item: {"parameters": {"T_max": 10}}, "eta_min could not be read"),
        (lambda item: {"parameters": {"T_max": float("nan"), "eta_min": 0.0}}, "T_max could not be read"),
        (lambda item: {"parameters": {"T_max": 0, "eta_min": 0.0}}, "has no formula"),
        (lambda item: {"unreadable": "a tensor"}, "a tensor"),
        (lambda item: {"class_name": lrs.__name__ + ".SequentialLR"}, "composite"),
        (
            lambda item: {"class_name": lrs.__name__ + ".SequentialLR", "children": [item, item]},
            "milestones",
        ),
    ],
)
def test_what_cannot_be_derived_says_why(
    change: Callable[[SchedulerDeclaration], dict[str, Any]], reason: str
) -> None:
    opt = optimizer(0.1, 0.1)
    _, declaration = build(opt, ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.0}))
    with pytest.raises(EvidenceError, match=reason):
        Schedule.of(replace(declaration, **change(declaration)))
