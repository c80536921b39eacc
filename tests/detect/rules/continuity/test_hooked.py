"""What step hooks change: a habit from the first steps on, a bound met late, or a warning."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.detect.rules.continuity.made import NAMES, Story
from veracity.core.observation import HooksMoved
from veracity.core.rule import Severity
from veracity.detect.rules.continuity.hooked import HookCourses, is_projection
from veracity.detect.rules.continuity.weights_changed import WeightsChanged

GREW = ([1.0, -2.0, 0.5], [1.1, -2.2, 0.55])


def moved(
    step: int,
    values: tuple[Sequence[float], Sequence[float]] = GREW,
    *,
    since: int = 0,
    changed: int = 40,
    fields: Sequence[str] = ("param",),
) -> HooksMoved:
    former, later = values
    return HooksMoved(
        Story().origin(),
        optimizer=0,
        stepping=0,
        step=step,
        before=False,
        since=since,
        hooks=["hook"],
        paths=["/src/train.py"],
        lines=[12],
        tensors=[0, 2],
        fields=list(fields),
        changed=changed,
        compared=40,
        former=list(former),
        later=list(later),
    )


def severities(*seen: HooksMoved) -> list[tuple[int, Severity]]:
    courses = HookCourses(WeightsChanged.rule)
    found = [finding for one in seen for finding in courses.take(one, NAMES)]
    return [(finding.first_step or 0, finding.severity) for finding in found]


@pytest.mark.parametrize(
    "steps", [range(40), range(4, 60, 5), range(9, 60, 10), [3, 5, 7, 9, 41], [0, 7, 12, 31]]
)
def test_what_begins_in_the_first_steps_and_goes_on_is_one_note(steps: Sequence[int]) -> None:
    assert severities(*map(moved, steps)) == [(steps[0], Severity.NOTE)]


@pytest.mark.parametrize("steps", [[20], [11, 12, 13], [50, 100]])
def test_what_begins_later_is_one_warning(steps: Sequence[int]) -> None:
    assert severities(*map(moved, steps)) == [(steps[0], Severity.WARNING)]


def test_once_early_and_once_again_out_of_time_is_a_note_and_a_warning() -> None:
    assert severities(moved(2), moved(37)) == [(2, Severity.NOTE), (37, Severity.WARNING)]


def test_a_norm_bounded_early_and_again_out_of_time_is_a_note() -> None:
    shrank = ([1.0, 2.0], [0.9975, 1.995])
    assert severities(moved(0, shrank), moved(13, shrank)) == [(0, Severity.NOTE)]
    assert severities(moved(13, shrank)) == [(13, Severity.WARNING)]


def test_a_bound_met_late_is_a_note_only_under_a_hook_that_was_there() -> None:
    clipped = ([1.2, -1.1, 1.05], [1.0, -1.0, 1.0])
    assert severities(moved(30, clipped)) == [(30, Severity.NOTE)]
    assert severities(moved(30, clipped, since=30)) == [(30, Severity.WARNING)]


@pytest.mark.parametrize(
    ("former", "later", "changed", "fields", "expected"),
    [
        ([1.0, 2.0], [0.99, 1.97], 40, ["param"], True),  # rows, each by its own norm
        ([1.0, 2.0], [0.99, 1.98], 40, ["param"], False),  # all by one factor
        ([1.0, 2.0], [0.99, 1.98], 10, ["param"], True),  # a few, and by little
        ([1.0, 2.0], [0.99, 1.98], 39, ["param"], False),  # all but a weight that is zero
        ([1.0, 2.0], [0.5, 1.0], 10, ["param"], False),
        ([1.0, 2.0], [0.899, 1.81], 40, ["param"], False),  # one factor, in a rough format
        ([1.0, 2.0], [0.9, 2.1], 10, ["param"], False),
        ([1.0, 2.0], [-0.9, 1.0], 10, ["param"], False),
        ([1.0, 2.0], [0.99, 1.97], 40, ["exp_avg", "param"], False),
        ([], [], 40, ["param"], False),
    ],
)
def test_projections(
    former: list[float], later: list[float], changed: int, fields: list[str], expected: bool
) -> None:
    assert is_projection(moved(30, (former, later), changed=changed, fields=fields)) is expected


def test_the_finding_names_hook_place_and_tensors() -> None:
    (finding,) = HookCourses(WeightsChanged.rule).take(moved(20, fields=["exp_avg", "param"]), NAMES)
    assert (finding.locations[0].path, finding.locations[0].line) == ("/src/train.py", 12)
    assert "weights and optimizer state" in finding.message
    assert "layers.0.weight, head.weight" in finding.subject
