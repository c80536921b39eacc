"""Batches drawn against backward passes, from step to step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from tests.detect.recording import origin, step_record
from veracity.core.gradients import Gradients
from veracity.core.observation import BatchesDrawn, Observation, StepRecord, StepsPassed
from veracity.core.rule import Severity
from veracity.detect.rules.gradient.batch_left_out import BatchLeftOut

STEPS = 24


@dataclass(frozen=True)
class Step:
    """What one step was made of: batches of a loader, and backward passes."""

    batches: int
    passes: int
    ended: bool = False
    failed: int = 0
    closure: bool = False


def records(steps: Sequence[Step], optimizer: int = 0) -> Iterator[Observation]:
    iteration, delivered = 0, 0
    for number, step in enumerate(steps):
        delivered += step.batches
        gradients = Gradients(backwards=step.passes, failed=step.failed)
        record = step_record(number, [], index=optimizer, closure=step.closure)
        yield replace(record, gradients=gradients)
        yield BatchesDrawn(origin(), 0, iteration, 0, [], delivered, [], step.ended)
        if step.ended:
            iteration, delivered = iteration + 1, 0


def judge(*steps: Step) -> list[tuple[Severity, int | None]]:
    detector = BatchLeftOut()
    found = [one for record in records(steps) for one in detector.observe(record)]
    return [(one.severity, one.first_step) for one in (*found, *detector.finish())]


def with_odd(usual: Step, at: int, *odd: Step) -> list[Step]:
    steps = [usual] * STEPS
    steps[at : at + len(odd)] = odd
    return steps


@pytest.mark.parametrize("every", [2, 4])
def test_a_batch_of_several_left_out(every: int) -> None:
    usual, odd = Step(every, every), Step(every, every - 1)
    assert judge(*with_odd(usual, 12, odd)) == [(Severity.WARNING, 12)]
    assert judge(*with_odd(usual, 12, *[odd] * 12)) == [(Severity.WARNING, 12)]


def test_one_batch_passed_over_is_a_note() -> None:
    assert judge(*with_odd(Step(1, 1), 12, Step(2, 1))) == [(Severity.NOTE, 12)]


def test_steps_that_were_passed_over_are_no_steps_that_left_batches_out() -> None:
    """Batches of 20 steps lie between two records; the habit stands, and what follows is judged by it."""
    detector = BatchLeftOut()
    usual = list(records([Step(2, 2)] * STEPS + [Step(2, 1), Step(2, 2), Step(2, 2)]))
    first, later = usual[:-6], usual[-6:]
    delivered = 2 * STEPS + 40
    passed = [
        BatchesDrawn(origin(), 0, 0, 0, [], delivered, [], False),
        StepsPassed(origin(), 0, STEPS, 20, 10**9),
    ]
    moved: list[Observation] = []
    for one in later:
        if isinstance(one, StepRecord):
            moved.append(replace(one, step=one.step + 20))
        elif isinstance(one, BatchesDrawn):
            moved.append(replace(one, delivered=one.delivered + 40))
    found = [one for record in (*first, *passed) for one in detector.observe(record)]
    assert found == []
    found = [one for record in moved for one in detector.observe(record)]
    assert [(one.severity, one.first_step) for one in found] == [(Severity.WARNING, STEPS + 20)]


def test_at_either_end_of_a_pass_nothing_is_said() -> None:
    usual = Step(2, 2)
    assert judge(*with_odd(usual, 12, Step(2, 1, ended=True))) == []
    assert judge(*with_odd(usual, 12, Step(2, 1), Step(2, 2, ended=True))) == []
    assert judge(*with_odd(usual, 11, Step(2, 2, ended=True), Step(2, 1))) == []
    assert judge(*[usual] * 20, Step(2, 1)) == []


def test_fewer_of_both_and_numbers_that_vary_are_nothing() -> None:
    usual = Step(4, 4)
    assert judge(*with_odd(usual, 12, Step(3, 3))) == []
    assert judge(*[Step(1 + at % 3, 1 + at % 2) for at in range(STEPS)]) == []
    # An evaluation draws from the same loader.
    assert judge(*with_odd(usual, 12, Step(9, 4))) == []
    # A GradScaler skipped a step: the habit is what it was.
    assert judge(*with_odd(usual, 12, Step(8, 8), Step(4, 3))) == [(Severity.WARNING, 13)]


def test_what_was_not_seen_whole_is_not_judged() -> None:
    usual = Step(2, 2)
    assert judge(*with_odd(usual, 12, Step(2, 1, failed=1))) == []
    assert judge(*with_odd(usual, 12, Step(2, 1, closure=True))) == []
    detector = BatchLeftOut()
    lost = [
        one
        for one in records(with_odd(usual, 12, Step(2, 1)))
        if not (isinstance(one, StepRecord) and one.step == 13)
    ]
    assert [one for record in lost for one in detector.observe(record)] == []
