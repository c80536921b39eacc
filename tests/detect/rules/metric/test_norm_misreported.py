"""Logged norms against those that clipping returned."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from tests.detect.rules.metric.curves import Program, curve, full
from veracity.core.finding import Finding
from veracity.core.observation import Observation, StepRecord
from veracity.core.rule import Severity
from veracity.detect.rules.metric.norm_misreported import NormMisreported

STEPS = 200
LARGEST = 1.2345


def story(
    norms: Sequence[float | None],
    reported: Sequence[float],
    every: int = 1,
    text: Callable[[float], str] = full,
) -> Iterator[Observation]:
    program = Program(curve(STEPS, seed=3)[: len(norms)])
    for step, value in enumerate(reported):
        if (step + 1) % every:
            continue
        program.log(step, text(value), key="grad_norm")
        program.log(step, full(program.losses[step]), key="loss")
    for one in program.observations():
        yield (
            replace(one, total_norm=norms[one.step], max_norm=LARGEST) if isinstance(one, StepRecord) else one
        )


def judge(
    norms: Sequence[float | None],
    reported: Sequence[float],
    every: int = 1,
    text: Callable[[float], str] = full,
) -> tuple[list[Finding], int]:
    detector = NormMisreported()
    found = [finding for one in story(norms, reported, every, text) for finding in detector.observe(one)]
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


# --- single values ----------------------------------------------------------------------------------------


def at(step: int, value: Callable[[Sequence[float], int], float]) -> list[float]:
    """The norms as they were, but at one step."""
    return [value(NORMS, step) if number == step else one for number, one in enumerate(NORMS)]


def four(value: float) -> str:
    return f"{value:.4g}"


@pytest.mark.parametrize("text", [full, four])
@pytest.mark.parametrize("factor", [0.5, 0.95, 1.02])
def test_one_value_that_departs_from_exact_ones_is_a_warning(
    factor: float, text: Callable[[float], str]
) -> None:
    found, _ = judge(NORMS, at(90, lambda norms, step: norms[step] * factor), text=text)
    assert [(one.first_step, one.severity) for one in found] == [(90, Severity.WARNING)]


def test_a_few_values_are_compared_and_one_departs() -> None:
    norms, wrong = NORMS[:60], at(49, lambda norms, step: norms[step] * 0.5)[:60]
    found, compared = judge(norms, wrong, every=10)
    assert [(one.first_step, one.severity) for one in found] == [(49, Severity.WARNING)]
    assert compared == 6
    assert judge(norms, norms, every=10) == ([], 6)


def test_values_at_the_end_that_share_a_factor_are_a_warning() -> None:
    norms = NORMS[:60]
    found, _ = judge(norms, [one * (0.95 if step > 35 else 1) for step, one in enumerate(norms)], every=10)
    assert [(one.first_step, one.severity) for one in found] == [(39, Severity.WARNING)]
    last = at(59, lambda norms, step: norms[step] * 0.5)[:60]
    assert judge(norms, last, every=10)[0] == []


@pytest.mark.parametrize(
    "value",
    [
        lambda norms, step: norms[step - 1],
        lambda norms, step: norms[step + 1],
        lambda norms, step: sum(norms[step - 9 : step + 1]) / 10,
        lambda norms, step: sum(norms[: step + 1]) / (step + 1),
        lambda norms, step: LARGEST * (1 - 4e-7),
        lambda norms, step: 1.0,
        lambda norms, step: 0.0,
        lambda norms, step: norms[step] * (1 + 4e-4),
        lambda norms, step: float("nan"),
        lambda norms, step: float("inf"),
    ],
    ids=["kept", "next", "mean", "running", "clipped", "round", "zero", "arithmetic", "nan", "infinite"],
)
def test_one_value_that_something_else_explains_is_none(
    value: Callable[[Sequence[float], int], float],
) -> None:
    assert judge(NORMS, at(90, value), text=lambda one: full(one) if one == one else "NaN")[0] == []


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_norms_of_a_program_that_computes_its_own_are_no_finding(share: float) -> None:
    chance = random.Random(5)
    own = [one * (1 + (chance.gauss(0, 3e-5) if chance.random() < share else 0.0)) for one in NORMS]
    assert judge(NORMS, own)[0] == []


def test_steps_that_are_logged_twice_are_no_single_values() -> None:
    """Another run, or a resumed one, writes to the same file."""
    detector, found = NormMisreported(), []
    program = Program(NORMS)
    other = curve(STEPS, seed=99, noise=0.3)
    for step, value in enumerate(NORMS):
        program.log(step, full(value), key="grad_norm")
        if step % 40 == 39:
            program.log(step, full(other[step]), key="grad_norm")
    for one in program.observations():
        told = replace(one, total_norm=NORMS[one.step]) if isinstance(one, StepRecord) else one
        found += list(detector.observe(told))
    assert [*found, *detector.finish()] == []
