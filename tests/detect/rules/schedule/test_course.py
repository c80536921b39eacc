"""Several schedulers on one optimizer, and schedules that go on from a position."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from veracity.core.contract import Hyper, SchedulerDeclaration
from veracity.core.observation import SchedulerStepped
from veracity.core.origin import Origin, Trust
from veracity.detect.rules.schedule.course import Course

ORIGIN = Origin("guard", Trust.SELF_REPORT, 1, 0, 0, 0)
BASES = [0.1, 0.02]


def scheduler(
    kind: str,
    parameters: dict[str, Hyper],
    *,
    index: int = 0,
    position: int = 0,
    children: Sequence[SchedulerDeclaration] = (),
) -> SchedulerDeclaration:
    name = f"torch.optim.lr_scheduler.{kind}"
    return SchedulerDeclaration(index, 0, name, parameters, BASES, BASES, position, list(children))


def halving(index: int = 0, position: int = 0) -> SchedulerDeclaration:
    return scheduler("StepLR", {"step_size": 1, "gamma": 0.5}, index=index, position=position)


def tenths(index: int = 0, position: int = 0) -> SchedulerDeclaration:
    return scheduler("ExponentialLR", {"gamma": 0.1}, index=index, position=position)


def cosine(index: int = 0, position: int = 0) -> SchedulerDeclaration:
    return scheduler("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.0}, index=index, position=position)


def stepped(index: int, last_epoch: int, *, explicit: bool = False) -> SchedulerStepped:
    return SchedulerStepped(ORIGIN, index, last_epoch, explicit, 0, [])


def test_two_products_resumed_at_a_position_multiply() -> None:
    course = Course(list(BASES))
    course.declare(halving(0, 2), reloaded=True)
    course.declare(tenths(1, 1), reloaded=True)
    assert course.lrs == pytest.approx([0.1 * 0.25 * 0.1, 0.02 * 0.25 * 0.1])
    course.step(stepped(1, 2), resync=False)
    assert course.lrs == pytest.approx([0.1 * 0.25 * 0.01, 0.02 * 0.25 * 0.01])
    assert course.unknown == ""


def test_a_cosine_beside_another_resumed_at_a_position_is_not_derived() -> None:
    course = Course(list(BASES))
    course.declare(halving(0, 2), reloaded=True)
    course.declare(cosine(1, 2), reloaded=True)
    assert "order is not known" in course.unknown


def test_a_scheduler_beside_others_that_is_set_to_a_position_is_not_derived() -> None:
    course = Course(list(BASES))
    course.declare(halving(0), reloaded=False)
    course.declare(tenths(1), reloaded=False)
    course.step(stepped(1, 7, explicit=True), resync=False)
    assert "set to a position" in course.unknown
    course.step(stepped(1, 8), resync=False)
    assert "set to a position" in course.unknown


@pytest.mark.parametrize(
    ("declaration", "reason"),
    [
        (halving(position=-1), "before it had a position"),
        (scheduler("ChainedScheduler", {}, children=[halving(0, 1), tenths(1, 2)]), "different positions"),
        (scheduler("ChainedScheduler", {}, children=[halving(0, 10**6)]), "not derived again"),
        (scheduler("SequentialLR", {"milestones": []}, children=[scheduler("SequentialLR", {})]), "nested"),
        (scheduler("SequentialLR", {"milestones": [2.5]}, children=[halving(), tenths()]), "whole numbers"),
        (scheduler("SequentialLR", {"milestones": [5, 2]}, children=[halving()] * 3), "in order"),
        (
            scheduler("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 0.5, "eta_min": 0.0}),
            "T_mult of 0.5",
        ),
        (scheduler("MultiStepLR", {"gamma": 0.5, "milestones": list(range(256))}), "more milestones"),
    ],
)
def test_what_is_not_derived_says_why(declaration: SchedulerDeclaration, reason: str) -> None:
    course = Course(list(BASES))
    course.declare(declaration, reloaded=False)
    assert reason in course.unknown


def test_an_undeclared_scheduler_makes_the_rates_unknown() -> None:
    course = Course(list(BASES))
    course.declare(halving(0), reloaded=False)
    course.step(stepped(5, 1), resync=False)
    assert "never declared" in course.unknown


def test_a_reloaded_chain_is_replayed_to_its_position() -> None:
    chain = scheduler("ChainedScheduler", {}, index=3, children=[halving(0, 4), cosine(1, 4)])
    course = Course(list(BASES))
    course.declare(chain, reloaded=True)
    fresh = Course(list(BASES))
    fresh.declare(scheduler("ChainedScheduler", {}, index=3, children=[halving(), cosine(1)]), reloaded=False)
    for _ in range(4):
        fresh.step(stepped(3, 0), resync=False)
    assert course.lrs == pytest.approx(fresh.lrs)
    assert course.lrs[0] < 0.1 / 16
