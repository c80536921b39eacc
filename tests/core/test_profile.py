"""The course of a run: which series there are, of which process, and how many at most."""

from __future__ import annotations

import math
from dataclasses import replace

from veracity.core.contract import OptimizerDeclaration
from veracity.core.observation import Gap, Observation, OptimizerDeclared, StateRestored, StepRecord
from veracity.core.origin import Origin, Trust
from veracity.core.profile import MAX_SERIES, Course, Mean, subject_of

ORIGIN = Origin("guard", Trust.USERLAND, 7, 0, 0, 0)


def step(number: int, optimizer: int = 0, *, loss: float | None = math.e, pid: int = 7) -> StepRecord:
    origin = replace(ORIGIN, pid=pid)
    return StepRecord(
        origin, optimizer, number, [], {}, loss, 1, {}, [], [], math.e**2, None, False, False
    )  # fmt: skip


def means(course: Course, *observations: Observation) -> list[Mean]:
    return [mean for one in observations for mean in course.take(one)]


def declared(index: int, name: str) -> OptimizerDeclared:
    return OptimizerDeclared(ORIGIN, OptimizerDeclaration(index, name, "", 0, [], []))


def test_loss_and_norm_are_series_of_their_own_optimizer() -> None:
    course = Course()
    found = means(course, declared(0, "SGD"), declared(1, "Adam"), Gap(ORIGIN, "what", "why"))
    found += means(course, *(step(number, optimizer) for number in range(8) for optimizer in range(2)))
    assert [subject_of(one.series) for one in found] == [
        "loss of optimizer 0",
        "gradient norm of optimizer 0",
        "loss of optimizer 1",
        "gradient norm of optimizer 1",
    ]
    assert [one.window for one in found] == [0] * 4
    assert [round(one.mean, 9) for one in found] == [1.0, 2.0, 1.0, 2.0]
    assert len({one.series.rpartition(" ")[2] for one in found}) == 2


def test_the_first_process_to_step_is_the_one() -> None:
    course = Course()
    assert means(course, step(0)) == []
    assert means(course, *(step(number, pid=8) for number in range(20))) == []
    assert course.pid == 7
    assert len(means(course, *(step(number) for number in range(1, 8)))) == 2


def test_there_are_never_many_series() -> None:
    course = Course()
    found = [one for index in range(100) for number in range(8) for one in course.take(step(number, index))]
    assert len(found) == MAX_SERIES


def test_weights_set_back_in_mid_run_end_an_optimizers_series() -> None:
    course = Course()
    back = StateRestored(ORIGIN, 0, 4, True, True, [], [])
    observations = [*(step(number) for number in range(4)), back, *(step(number) for number in range(4, 99))]
    assert means(course, *observations) == []
    assert len(means(course, *(step(number, 1, loss=None) for number in range(8)))) == 1
