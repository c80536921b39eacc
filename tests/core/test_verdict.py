from __future__ import annotations

import pytest

from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.core.rule import Confidence, Severity
from veracity.core.verdict import REQUIRED_LAWS, Outcome, judge

ALL = {law: Coverage(law, "steps", 5, 5) for law in REQUIRED_LAWS}


def finding(severity: Severity = Severity.ERROR, confidence: Confidence = Confidence.HIGH) -> Finding:
    return Finding("time-stall", "time", severity, confidence, "a.py:3", "it sleeps")


def test_a_run_in_which_all_required_laws_checked_is_held() -> None:
    verdict = judge([], ALL, ranks_expected=2, ranks_heard=2)
    assert verdict.outcome is Outcome.HELD
    assert verdict.reasons


@pytest.mark.parametrize(
    ("severity", "confidence"),
    [
        (Severity.WARNING, Confidence.HIGH),
        (Severity.NOTE, Confidence.HIGH),
        (Severity.ERROR, Confidence.MEDIUM),
        (Severity.ERROR, Confidence.LOW),
    ],
)
def test_warnings_and_doubtful_errors_break_nothing(severity: Severity, confidence: Confidence) -> None:
    assert (
        judge([finding(severity, confidence)], ALL, ranks_expected=1, ranks_heard=1).outcome is Outcome.HELD
    )


def test_a_certain_error_breaks_whatever_else_is_missing() -> None:
    verdict = judge(
        [finding(Severity.NOTE), finding()], {}, ranks_expected=4, ranks_heard=0, stopped=["update"]
    )
    assert verdict.outcome is Outcome.BROKEN
    assert verdict.reasons == ("time-stall: it sleeps",)


@pytest.mark.parametrize(
    ("expected", "heard", "reason"),
    [(1, 0, "no process of the job was heard"), (4, 3, "1 of 4 ranks were never heard")],
)
def test_a_rank_that_was_never_heard(expected: int, heard: int, reason: str) -> None:
    verdict = judge([], ALL, ranks_expected=expected, ranks_heard=heard)
    assert verdict.outcome is Outcome.INCOMPLETE
    assert verdict.reasons == (reason,)


def test_more_ranks_than_expected_are_no_fault() -> None:
    assert judge([], ALL, ranks_expected=1, ranks_heard=2).outcome is Outcome.HELD


def test_a_law_that_stopped() -> None:
    given = judge([], ALL, ranks_expected=1, ranks_heard=1, stopped=["update: spool cut"])
    assert (given.outcome, given.reasons) == (Outcome.INCOMPLETE, ("update: spool cut",))
    stopped = {**ALL, "schedule": Coverage("schedule", "steps", 3, 4, stopped="its detector failed")}
    found = judge([], stopped, ranks_expected=1, ranks_heard=1)
    assert (found.outcome, found.reasons) == (Outcome.INCOMPLETE, ("schedule: its detector failed",))


def test_a_required_law_that_checked_nothing() -> None:
    idle = {**ALL, "update": Coverage("update", "steps", 0, 9, {"unknown optimizer": 9})}
    verdict = judge([], idle, ranks_expected=1, ranks_heard=1)
    assert verdict.outcome is Outcome.INCOMPLETE
    assert verdict.reasons == ("required law update checked nothing: unknown optimizer",)
    absent = {law: part for law, part in ALL.items() if law != "code-identity"}
    assert judge([], absent, ranks_expected=1, ranks_heard=1).reasons == (
        "required law code-identity checked nothing",
    )


def test_a_law_that_is_not_required_may_check_nothing() -> None:
    coverage = {**ALL, "schedule": Coverage("schedule", "steps", 0, 3)}
    assert judge([], coverage, ranks_expected=1, ranks_heard=1).outcome is Outcome.HELD
    assert judge([], {}, ranks_expected=1, ranks_heard=1, required=()).outcome is Outcome.HELD
    asked = judge([], coverage, ranks_expected=1, ranks_heard=1, required=("schedule",))
    assert asked.outcome is Outcome.INCOMPLETE


def test_exit_codes() -> None:
    assert {one.value: one.exit_code for one in Outcome} == {"held": 0, "broken": 1, "incomplete": 2}
