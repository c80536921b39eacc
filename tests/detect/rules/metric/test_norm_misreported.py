"""Logged norms against those that clipping returned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from tests.detect.rules.metric.curves import Program, curve, full
from veracity.core.finding import Finding
from veracity.core.observation import Observation, StepRecord
from veracity.core.rule import Severity
from veracity.detect.rules.metric.norm_misreported import NormMisreported

STEPS = 200


def story(norms: Sequence[float | None], reported: Sequence[float]) -> Iterator[Observation]:
    program = Program(curve(STEPS, seed=3))
    for step, value in enumerate(reported):
        program.log(step, full(value), key="grad_norm")
        program.log(step, full(program.losses[step]), key="loss")
    for one in program.observations():
        yield replace(one, total_norm=norms[one.step]) if isinstance(one, StepRecord) else one


def judge(norms: Sequence[float | None], reported: Sequence[float]) -> tuple[list[Finding], int]:
    detector = NormMisreported()
    found = [finding for one in story(norms, reported) for finding in detector.observe(one)]
    return [*found, *detector.finish()], detector.coverage().checked


NORMS = curve(STEPS, seed=8, noise=0.3)


def test_norms_as_they_were_are_compared() -> None:
    found, compared = judge(NORMS, NORMS)
    assert found == []
    assert compared >= STEPS - 20


def test_a_norm_made_smaller_from_some_step_on_is_found() -> None:
    found, _ = judge(NORMS, [one * (0.5 if at >= 90 else 1) for at, one in enumerate(NORMS)])
    assert [(one.rule, one.first_step, one.breaks) for one in found] == [
        ("metric-norm-misreported", 90, True)
    ]


@pytest.mark.parametrize("largest", [0.5, 1.5, 3.0])
def test_norms_after_clipping_are_no_finding(largest: float) -> None:
    found, _ = judge(NORMS, [min(one, largest) for one in NORMS])
    assert all(one.severity is Severity.NOTE for one in found)


def test_programs_that_do_not_clip_are_not_followed() -> None:
    assert judge([None] * STEPS, NORMS) == ([], 0)
