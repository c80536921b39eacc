"""Values at the end of a run that nothing explains: too few for a finding, and not counted as compared."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.detect.rules.metric.curves import Program, curve, full, judge
from veracity.core.rule import Severity
from veracity.detect.rules.metric.series import UNEXPLAINED

BEFORE = 20
Report = Callable[[int, float], float]


def reported(steps: int, report: Report) -> Program:
    program = Program(curve(steps))
    for step, loss in enumerate(program.losses):
        program.log(step, full(loss if step < BEFORE else report(step, loss)))
    return program


def clamped(step: int, loss: float) -> float:
    return 0.25


def sometimes(step: int, loss: float) -> float:
    return loss if step % 9 else 0.25


@pytest.mark.parametrize("odd", [8, 26, 31])
def test_too_few_odd_values_are_not_counted_as_compared(odd: int) -> None:
    found, detector = judge(reported(BEFORE + odd, clamped).observations())
    coverage = detector.coverage()
    assert found == []
    assert (coverage.checked, coverage.possible) == (BEFORE, BEFORE + odd)
    assert coverage.reasons[UNEXPLAINED] == odd


def test_enough_of_them_are_a_warning() -> None:
    found, detector = judge(reported(BEFORE + 32, clamped).observations())
    assert [one.severity for one in found] == [Severity.WARNING]
    assert UNEXPLAINED not in detector.coverage().reasons


def test_single_odd_values_stay_counted() -> None:
    found, detector = judge(reported(BEFORE + 25, sometimes).observations())
    assert found == []
    assert detector.coverage().checked == BEFORE + 25
