"""Factors on the loss: those that come and go, and those that programs have."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from tests.detect.recording import origin, step_record
from veracity.core.contract import LoaderDeclaration
from veracity.core.finding import Finding
from veracity.core.gradients import AGAIN, Gradients, Reading
from veracity.core.observation import BackwardRoot, LoaderStarted, Observation, StepRecord
from veracity.core.rule import Severity
from veracity.detect.rules.gradient.loss_scaled import LossScaled

PLAIN, TIMES, ANOTHER, ELSEWHERE, SWAPPED, TWICE = range(6)
WAYS = (
    BackwardRoot(origin(), PLAIN, [], "MseLossBackward0", "train.py", 7, "train.py", 20),
    BackwardRoot(origin(), TIMES, ["MulBackward0"], "MseLossBackward0", "train.py", 7, "train.py", 20),
    BackwardRoot(origin(), ANOTHER, [], "AddBackward0", "train.py", 7, "train.py", 20),
    BackwardRoot(origin(), ELSEWHERE, ["MulBackward0"], "MseLossBackward0", "train.py", 9, "train.py", 20),
    BackwardRoot(origin(), SWAPPED, ["MulBackward0"], "MseLossBackward0", "other.py", 3, "train.py", 7),
    BackwardRoot(origin(), TWICE, [AGAIN], "MseLossBackward0", "train.py", 7, "train.py", 20),
)
STEPS = 60
LOADER = LoaderDeclaration(0, "d", 1, 1, False, "s", "b", 0, False, False)
Runs = list[list[int | float | None]]


def passed_on(times: float) -> Gradients:
    """Gradients that something multiplied between the backward pass and the step."""
    before = Reading(4, (0, 1), array("f", [1.0, -2.0, 3.0, 0.5] * 2))
    after = Reading(4, (0, 1), array("f", [value * times for value in before.values]))
    return Gradients((0, 1), (before, after), 0, 1 if times != 1.0 else 0, backwards=1)


def run(
    at: dict[int, Runs], usual: Runs | None = None, steps: int = STEPS, times: dict[int, float] | None = None
) -> list[Observation]:
    usual = usual or [[PLAIN, 1, 1.0]]
    records: list[Observation] = list(WAYS)
    for step in range(steps):
        roots = at.get(step, usual)
        factor = roots[0][2] or 0.0
        records.append(
            replace(
                step_record(step, []),
                roots=roots,
                losses=len(roots),
                loss=factor * (2.0 - step / STEPS),
                gradients=passed_on((times or {}).get(step, 1.0)),
            )
        )
    return records


def judge(records: Iterable[Observation]) -> list[Finding]:
    detector = LossScaled()
    return [*(one for record in records for one in detector.observe(record)), *detector.finish()]


def told(found: Sequence[Finding]) -> list[tuple[Severity, int | None]]:
    return [(one.severity, one.first_step) for one in found]


def begin_passes(records: list[Observation], *steps: int) -> list[Observation]:
    """A pass over the data begins before these steps."""
    found: list[Observation] = []
    for one in records:
        if isinstance(one, StepRecord) and one.step in steps:
            found.append(LoaderStarted(origin(), LOADER, 0, 0))
        found.append(one)
    return found


@pytest.mark.parametrize("factor", [0.95, 1.02, 0.5, -1.0])
@pytest.mark.parametrize("steps", [(20,), (20, 21, 22), (20, 23, 24, 40)])
def test_a_factor_that_comes_and_goes_is_found_at_its_first_step(
    steps: tuple[int, ...], factor: float
) -> None:
    found = judge(run({step: [[TIMES, 1, factor]] for step in steps}))
    assert told(found) == [(Severity.WARNING, 20)]
    assert "train.py" in str(found[0].locations)


def test_in_one_pass_of_several() -> None:
    usual: Runs = [[TIMES, 4, 0.25]]
    odd: Runs = [[TIMES, 2, 0.25], [TIMES, 1, 0.23], [TIMES, 1, 0.25]]
    assert told(judge(run({40: odd}, usual))) == [(Severity.WARNING, 40)]


def test_without_an_additional_node_it_takes_a_longer_habit() -> None:
    assert told(judge(run({20: [[TIMES, 1, 0.45]]}, [[TIMES, 1, 0.5]]))) == [(Severity.NOTE, 20)]
    assert told(judge(run({40: [[TIMES, 1, 0.45]]}, [[TIMES, 1, 0.5]]))) == [(Severity.WARNING, 40)]
    # The loss of so many words, divided by their number.
    assert told(judge(run({40: [[TIMES, 1, 1 / 250]]}, [[TIMES, 1, 1 / 256]]))) == [(Severity.NOTE, 40)]


@pytest.mark.parametrize("until", [STEPS, 30])
def test_a_lasting_change_is_a_note(until: int) -> None:
    found = judge(run({step: [[TIMES, 1, 0.9]] for step in range(20, until)}))
    assert told(found) == [(Severity.NOTE, 20)]


def test_a_function_between_is_found_though_it_stays() -> None:
    found = judge(run({step: [[SWAPPED, 1, 0.9]] for step in range(20, STEPS)}))
    assert told(found) == [(Severity.WARNING, 20)]
    assert "had not been there" in found[0].message


@pytest.mark.parametrize("way", [ANOTHER, ELSEWHERE])
def test_another_loss_now_and_then_is_a_note(way: int) -> None:
    assert told(judge(run({20: [[way, 1, 0.1]], 36: [[way, 1, 0.1]]}))) == [(Severity.NOTE, 20)]


def test_a_batch_taken_for_nothing_or_for_less_is_a_note() -> None:
    assert told(judge(run({20: [[TIMES, 1, 0.0]]}))) == [(Severity.NOTE, 20)]
    records = run({20: [[TIMES, 1, 0.1]]})
    spike = [
        replace(one, loss=0.9) if isinstance(one, StepRecord) and one.step == 20 else one for one in records
    ]
    assert told(judge(spike)) == [(Severity.NOTE, 20)]


def test_factors_that_vary_are_none() -> None:
    varying: dict[int, Runs] = {step: [[TIMES, 1, 1.0 / (3 + step % 13)]] for step in range(STEPS)}
    assert judge(run(varying)) == []
    annealed: dict[int, Runs] = {step: [[TIMES, 1, 1.0 - step / 100]] for step in range(20, STEPS)}
    assert judge(run(annealed)) == []
    alternating: dict[int, Runs] = {step: [[TIMES, 1, 0.5]] for step in range(0, STEPS, 3)}
    assert judge(run(alternating)) == []


def test_the_end_of_a_pass_over_the_data_is_none() -> None:
    # The last window is of two batches only, and each counts for a half; or its batches are smaller.
    usual: Runs = [[TIMES, 4, 0.25]]
    assert judge(run({20: [[TIMES, 2, 0.5]]}, usual)) == []
    assert judge(begin_passes(run({20: [[TIMES, 4, 0.1]]}, usual), 21)) == []
    assert judge(begin_passes(run({20: [[TIMES, 4, 0.1]]}, usual), 20)) == []


def test_a_loss_scale_of_the_programs_own_is_none() -> None:
    doubled: dict[int, Runs] = {step: [[TIMES, 1, 2048.0]] for step in range(20, 23)}
    times = {step: 1 / 2048 if step in doubled else 1 / 1024 for step in range(STEPS)}
    assert judge(run(doubled, [[TIMES, 1, 1024.0]], times=times)) == []
    # Where the optimizer divides, nobody sees it.
    assert told(judge(run(doubled, [[TIMES, 1, 1024.0]]))) == [(Severity.NOTE, 20)]
    # A factor besides is none of it.
    odd: dict[int, Runs] = {20: [[TIMES, 1, 900.0]]}
    times = dict.fromkeys(range(STEPS), 1 / 1024)
    assert told(judge(run(odd, [[PLAIN, 1, 1024.0]], times=times))) == [(Severity.WARNING, 20)]


def found_at(records: list[Observation], starts: dict[int, str]) -> list[Observation]:
    """With these letters for what the backward passes of some steps found."""
    return [
        replace(one, gradients=replace(one.gradients, starts=starts[one.step]))
        if isinstance(one, StepRecord) and one.step in starts
        else one
        for one in records
    ]


def test_passes_on_one_loss_add_up() -> None:
    twice: Runs = [[PLAIN, 1, 1.0], [TWICE, 1, 1.0]]
    found = judge(found_at(run({20: twice}), {20: "nk"}))
    assert told(found) == [(Severity.WARNING, 20)]
    assert "ran more than once on one loss, which made 2 times its gradient, until then 1" in found[0].message
    often: Runs = [[PLAIN, 1, 1.0], [TWICE, 3, 1.0]]
    assert "4 times" in judge(found_at(run({20: often}), {20: "nkkk"}))[0].message
    lasting = dict.fromkeys(range(20, STEPS), twice)
    assert told(judge(found_at(run(lasting), dict.fromkeys(lasting, "nk")))) == [(Severity.NOTE, 20)]
    always = dict.fromkeys(range(STEPS), "nk")
    assert judge(found_at(run({}, twice), always)) == []


@pytest.mark.parametrize("starts", ["nz", "nn", "ni", "np", "nc", "nl", "n", ""])
def test_what_the_first_pass_brought_must_be_there_still(starts: str) -> None:
    twice: Runs = [[PLAIN, 1, 1.0], [TWICE, 1, 1.0]]
    assert judge(found_at(run({20: twice}), {20: starts})) == []


def test_what_is_not_known_is_not_judged() -> None:
    strange: list[Runs] = [[[-1, 1, None]], [[TIMES, 1, None]], [[TIMES, 1, float("inf")]], [[77, 1, 0.5]]]
    for roots in strange:
        assert judge(run({20: roots})) == []
    closed = [replace(one, closure=True) if isinstance(one, StepRecord) else one for one in run({})]
    assert judge(closed) == []
    detector = LossScaled()
    for record in run({20: [[TIMES, 1, None]]}):
        list(detector.observe(record))
    assert detector.coverage().reasons
