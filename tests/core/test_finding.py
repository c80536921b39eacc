from __future__ import annotations

import itertools

import pytest

from veracity.core.finding import Evidence, Location, finding_of
from veracity.core.rule import Confidence, Rule, Severity

RULE = Rule("time-stall", "time", "title", Severity.ERROR, Confidence.HIGH)


def test_a_finding_takes_from_its_rule_what_is_not_given() -> None:
    finding = finding_of(RULE, "subject", "message")
    assert (finding.rule, finding.law, finding.rank, finding.first_step) == ("time-stall", "time", -1, None)
    assert finding.breaks


def test_a_finding_can_be_milder_than_its_rule() -> None:
    finding = finding_of(
        RULE,
        "subject",
        "message",
        rank=1,
        first_step=4,
        locations=(Location("a.py"),),
        evidence=(Evidence("step"),),
        severity=Severity.WARNING,
        confidence=Confidence.LOW,
    )
    assert (finding.severity, finding.confidence) == (Severity.WARNING, Confidence.LOW)
    assert (finding.rank, finding.first_step, finding.locations[0].line) == (1, 4, 0)
    assert not finding.breaks


@pytest.mark.parametrize(("severity", "confidence"), list(itertools.product(Severity, Confidence)))
def test_only_an_error_of_high_confidence_breaks(severity: Severity, confidence: Confidence) -> None:
    finding = finding_of(RULE, "s", "m", severity=severity, confidence=confidence)
    assert finding.breaks == (severity is Severity.ERROR and confidence is Confidence.HIGH)
