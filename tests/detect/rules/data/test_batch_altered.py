"""What the rule makes of how batches were used, told step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.detect.recording import origin
from veracity.core.finding import Finding
from veracity.core.observation import BatchUse, StepRecord
from veracity.core.rule import Severity
from veracity.detect.rules.data.batch_altered import HABIT, LEARNING, NOT_FOUND, NOT_LOOKED, BatchAltered

PASS = 100
SAME = BatchUse(0, "1", "graph", 0, 0, 1, 16, 16)
FLIPPED = replace(
    SAME, same=0, differs=1, changed=8, groups_changed=8, pairs=[[1.0, 2.0], [0.0, 3.0]], whole=True,
    low=0.0, high=3.0, spared=4,
)  # fmt: skip
AGAIN = replace(SAME, same=0, compared=0, groups=0, again=1, newer=True)
HALF = replace(SAME, same=0, compared=0, groups=0, part=1, rows=8, of_rows=16)


def record(step: int, *uses: BatchUse, unused: str | None = "", pid: int = 100) -> StepRecord:
    placed = [replace(use, iteration=step // PASS, number=step % PASS) for use in uses]
    return StepRecord(
        origin(pid=pid),
        0,
        step,
        [],
        {},
        1.0,
        1,
        {},
        [],
        [],
        None,
        None,
        False,
        False,
        uses=placed,
        unused=unused,
    )


def judged(*steps: BatchUse | None, first: int = 0) -> list[Finding]:
    """The findings for one use per step; None stands for a plain one."""
    detector = BatchAltered()
    found = [
        finding
        for step, use in enumerate(steps, first)
        for finding in detector.observe(record(step, use or SAME))
    ]
    return [*found, *detector.finish()]


def severities(*steps: BatchUse | None, first: int = 0) -> list[Severity]:
    return [finding.severity for finding in judged(*steps, first=first)]


PLAIN = [None] * 12


@pytest.mark.parametrize("use", [FLIPPED, AGAIN, HALF])
def test_a_change_after_ten_steps_is_told_once_and_with_its_step(use: BatchUse) -> None:
    (finding,) = judged(*PLAIN, use, None, use, use)
    assert (finding.severity, finding.first_step, finding.law) == (Severity.WARNING, 12, "data-content")
    assert finding.subject == "loader 0, tensor 1"


@pytest.mark.parametrize("use", [FLIPPED, AGAIN, HALF])
def test_what_the_first_ten_steps_show_is_a_habit(use: BatchUse) -> None:
    assert judged(*[None] * 9, use, *PLAIN, use, use) == []


def test_another_kind_of_change_is_no_habit() -> None:
    assert severities(AGAIN, *PLAIN, FLIPPED) == [Severity.WARNING]


@pytest.mark.parametrize("use", [FLIPPED, AGAIN, HALF])
def test_a_change_that_sets_in_with_a_pass_and_lasts_is_a_note(use: BatchUse) -> None:
    assert severities(*PLAIN, *[use] * 9, first=PASS - 12) == [Severity.NOTE]
    assert severities(*PLAIN, *[use] * 9, first=PASS - 11) == [Severity.WARNING]


def test_a_change_that_sets_in_with_a_pass_and_ends_is_a_warning() -> None:
    (finding,) = judged(*PLAIN, FLIPPED, None, None, first=PASS - 12)
    assert (finding.severity, finding.first_step) == (Severity.WARNING, PASS)


def test_a_batch_again_without_a_newer_one_is_a_note() -> None:
    assert severities(*PLAIN, replace(AGAIN, newer=False)) == [Severity.NOTE]


def test_few_rows_left_out_are_a_note() -> None:
    assert severities(*PLAIN, replace(HALF, rows=13)) == [Severity.NOTE]


def test_a_pass_beyond_the_usual_ones_is_nothing() -> None:
    assert judged(*PLAIN, replace(AGAIN, same=1), replace(FLIPPED, same=1)) == []


def test_one_of_several_usual_passes_is_a_warning() -> None:
    four, three = replace(SAME, same=4), replace(AGAIN, same=3)
    assert severities(*[four] * 12, three) == [Severity.WARNING]


def test_rare_noise_may_have_been_there_from_the_start() -> None:
    one = replace(FLIPPED, changed=1, groups_changed=1)
    assert severities(*PLAIN, *([one, *[None] * 11] * 8)) == [Severity.NOTE]


def test_few_changes_add_up() -> None:
    two = replace(FLIPPED, changed=2, groups_changed=2)
    assert severities(*PLAIN, two) == [Severity.NOTE]
    assert severities(*PLAIN, two, two, two) == [Severity.WARNING]


@pytest.mark.parametrize(
    "change",
    [
        {"pairs": [[5.0, 3.0], [9.0, 3.0]], "spared": 0},  # a limit
        {"pairs": [[1e300, 0.0]], "spared": 0},  # no number
        {"pairs": [[1.0, -100.0], [2.0, -100.0]]},  # what a loss does not count
    ],
)
def test_values_that_programs_set_apart_are_a_note(change: dict[str, object]) -> None:
    assert severities(*PLAIN, replace(FLIPPED, **change)) == [Severity.NOTE]  # type: ignore[arg-type]


def test_all_values_of_inputs_are_augmented_now_and_then() -> None:
    inputs = replace(SAME, tensor="0", compared=256, groups=8)
    other = replace(
        inputs, same=0, differs=1, changed=250, groups_changed=8, pairs=[[0.5, 0.7]], low=0.0, high=0.0
    )
    assert severities(*[inputs] * 30, other) == [Severity.NOTE]
    assert severities(*[inputs] * 120, other, first=PASS) == [Severity.WARNING]


def test_each_process_is_a_program_of_its_own() -> None:
    detector = BatchAltered()
    found = []
    for step in range(12):
        found += list(detector.observe(record(step, SAME, pid=1)))
        found += list(detector.observe(record(step, FLIPPED, pid=2)))
    assert [*found, *detector.finish()] == []


def test_coverage_counts_what_was_compared() -> None:
    detector = BatchAltered()
    for step in range(15):
        list(detector.observe(record(step, SAME)))
    list(detector.observe(record(15)))
    list(detector.observe(record(16, replace(SAME, view="memory"))))
    list(detector.observe(record(17, unused=None)))
    list(detector.observe(record(18, unused="no loader")))
    coverage = detector.coverage()
    assert (coverage.checked, coverage.possible) == (5, 19)
    assert coverage.reasons == {LEARNING: 10, NOT_FOUND: 2, NOT_LOOKED: 1, "no loader": 1}


def test_a_program_that_alters_its_batches_is_not_checked() -> None:
    detector = BatchAltered()
    for step in range(15):
        list(detector.observe(record(step, FLIPPED)))
    coverage = detector.coverage()
    assert (coverage.checked, coverage.reasons) == (0, {LEARNING: 10, HABIT: 5})


def test_a_step_without_a_backward_pass_is_none_of_its_steps() -> None:
    detector = BatchAltered()
    list(detector.observe(replace(record(0), losses=0)))
    assert detector.coverage().possible == 0
