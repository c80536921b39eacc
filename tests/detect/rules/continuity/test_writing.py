"""What a program itself writes between steps: its way, or a departure."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from veracity.detect.rules.continuity.writing import Judged, Writing

PARAM, BOTH = ("param",), ("param", "exp_avg")


def judged(changes: Iterable[tuple[int, tuple[str, ...]]]) -> list[Judged]:
    writing: Writing[int] = Writing()
    return [writing.judge(step, fields, step) for step, fields in changes]


def test_what_comes_every_few_steps_is_a_habit() -> None:
    found = judged((step, PARAM) for step in range(8, 60, 8))
    assert found[0] is Judged.HELD
    assert set(found[1:]) == {Judged.HABIT}


def test_state_beside_weights_on_the_same_beat_is_the_same_habit() -> None:
    """Which elements are read decides whether the state is seen to change as well."""
    found = judged([(8, PARAM), (16, PARAM), (24, BOTH), (32, PARAM), (48, BOTH)])
    assert found == [Judged.HELD, *[Judged.HABIT] * 4]


@pytest.mark.parametrize("step", [21, 27])
def test_off_the_beat_it_is_none(step: int) -> None:
    assert judged([(8, PARAM), (16, PARAM), (step, BOTH)])[-1] is Judged.BREACH
    assert judged([(8, PARAM), (16, PARAM), (step, PARAM)])[-1] is Judged.BREACH


def test_state_alone_is_no_part_of_a_habit_of_weights() -> None:
    assert judged([(8, PARAM), (16, PARAM), (24, ("exp_avg",))])[-1] is Judged.BREACH


def test_state_is_no_part_of_writing_weights_at_each_step() -> None:
    each = [(step, PARAM) for step in range(1, 20)]
    assert judged([*each, (20, BOTH)])[-1] is Judged.BREACH


def test_a_first_write_after_the_first_steps_is_none() -> None:
    assert judged([(11, PARAM)]) == [Judged.BREACH]
