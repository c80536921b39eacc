"""What all detectors make of the records of a guard in the test's own process."""

from __future__ import annotations

from dataclasses import dataclass

from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.detect.registry import DETECTORS
from veracity.monitor.judge import Judge


@dataclass
class Outcome:
    """What the detectors made of a program."""

    findings: list[Finding]
    coverage: dict[str, Coverage]

    @property
    def update(self) -> Coverage:
        return self.coverage["update"]

    def of(self, rule: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.rule == rule]


def judged(guarded: Guarded) -> Outcome:
    """All detectors over everything the guard shipped; none may fail, nor the guard."""
    assert guarded.session.shield.failures == {}
    judge = Judge(DETECTORS)
    for observation in guarded.seen(seen.Observation):
        list(judge.observe(observation))
    list(judge.finish())
    coverage = judge.coverage()
    assert judge._failed == {}
    return Outcome(judge.findings, coverage)
