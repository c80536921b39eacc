"""A finding counts as a catch only when it is of the law concerned and not before anything happened."""

from __future__ import annotations

from bench.laws.sabotages import BY_NAME
from bench.laws.wholerun import Found, Outcome, score

FLIP = BY_NAME["update-sign-flipped"]
TRUTH = {0: [12, 13], 1: [14]}


def found(rule: str, first_step: int | None, told: int = 20, severity: str = "error") -> Found:
    return Found(rule, severity, severity == "error", first_step, 0, told, "")


def outcome(*findings: Found) -> Outcome:
    return Outcome("broken", 0, findings, {}, (), 60, (), "")


def test_a_finding_of_the_law_is_a_catch_with_its_delays() -> None:
    row = score(FLIP, outcome(found("update-not-declared", 13, told=15)), TRUTH)
    assert (row["caught"], row["delay"], row["told_delay"], row["early"]) == ("law", 1, 3, [])


def test_code_identity_alone_is_told_apart() -> None:
    row = score(FLIP, outcome(found("code-loaded-elsewhere", None)), TRUTH)
    assert (row["caught"], row["delay"], row["broke"]) == ("also", None, False)


def test_a_finding_before_the_first_affected_step_is_false_and_no_catch() -> None:
    row = score(FLIP, outcome(found("update-not-declared", 11)), TRUTH)
    assert row["caught"] == "missed"
    assert row["early"] != []


def test_a_note_is_no_catch() -> None:
    assert (
        score(FLIP, outcome(found("update-not-declared", 12, severity="note")), TRUTH)["caught"] == "missed"
    )


def test_unexpected_rules_are_named_as_such() -> None:
    row = score(FLIP, outcome(found("schedule-drift", 12)), TRUTH)
    assert (row["caught"], row["by"]) == ("other", ["schedule-drift"])


def test_what_never_acted_does_not_count() -> None:
    assert score(FLIP, outcome(found("update-not-declared", 12)), {})["caught"] == "void"


def test_a_family_of_rules_matches_by_its_prefix() -> None:
    assert BY_NAME["hook-flips"].expects("gradient-anything")
    assert not BY_NAME["hook-flips"].expects("update-not-declared")
