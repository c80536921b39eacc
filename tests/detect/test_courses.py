"""Each optimizer of each process has a course of its own, from its first step or since it was restored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from tests.detect.recording import origin
from veracity.core.contract import LoaderDeclaration
from veracity.core.finding import Finding
from veracity.core.observation import LoaderStarted, Observation, StateRestored, StepRecord
from veracity.core.rule import Confidence, Rule, Severity
from veracity.detect import courses
from veracity.detect.courses import ByOptimizer

LOADER = LoaderDeclaration(0, "d", 8, 2, False, "s", "b", 0, False, False)


class Follows(ByOptimizer[list[int]]):
    rule: ClassVar[Rule] = Rule("randomness-made-up", "randomness", "Made up", Severity.NOTE, Confidence.LOW)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[list[int], bool]] = []

    def begin(self) -> list[int]:
        return []

    def step(self, course: list[int], step: StepRecord, *, at_pass: bool) -> Iterator[Finding]:
        course.append(step.step)
        self.seen.append((list(course), at_pass))
        return iter(())


def stepped(number: int, optimizer: int = 0, pid: int = 100) -> StepRecord:
    return StepRecord(
        origin(pid=pid), optimizer, number, [], {}, None, 0, {}, [], [], None, None, False, False
    )


def seen(*observations: Observation) -> list[tuple[list[int], bool]]:
    detector = Follows()
    for one in observations:
        assert list(detector.observe(one)) == []
    assert list(detector.finish()) == []
    assert detector.coverage().possible == 0
    return detector.seen


def test_optimizers_and_processes_are_told_apart() -> None:
    assert [course for course, _ in seen(stepped(0), stepped(1), stepped(2, 1), stepped(3, pid=7))] == [
        [0],
        [0, 1],
        [2],
        [3],
    ]


def test_a_restored_optimizer_begins_anew() -> None:
    restored = StateRestored(origin(), 0, 1, True, True, [], [])
    assert [course for course, _ in seen(stepped(0), stepped(0, 1), restored, stepped(1), stepped(1, 1))] == [
        [0],
        [0],
        [1],
        [0, 1],
    ]


def test_the_first_step_of_a_pass_is_told_as_that() -> None:
    begun = LoaderStarted(origin(), LOADER, 0, 0)
    assert [first for _, first in seen(stepped(0), begun, stepped(1), stepped(2))] == [False, True, False]


def test_no_more_than_so_many_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courses, "MAX_OPTIMIZERS", 2)
    assert len(seen(stepped(0, 0), stepped(0, 1), stepped(0, 2), stepped(1, 1))) == 3
