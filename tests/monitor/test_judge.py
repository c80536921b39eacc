from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import pytest

from veracity.core.coverage import PASSED, Coverage
from veracity.core.finding import Finding, finding_of
from veracity.core.observation import Gap, Goodbye, Observation, StepsPassed
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Confidence, Rule, Severity
from veracity.core.verdict import Outcome
from veracity.detect.detector import Detector
from veracity.monitor import judge as module
from veracity.monitor.judge import Judge

GAP = Gap(Origin("monitor", Trust.SERVICE, 1, 0, 0, 0), "subject", "why")


class Echo:
    """Reports each gap under its own words; counts all it is given."""

    rule: ClassVar[Rule] = Rule("update-echo", "update", "t", Severity.WARNING, Confidence.HIGH)
    takes: ClassVar[tuple[type[Observation], ...]] = (Gap, Goodbye, Observation)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        self._coverage.count(checked=True, reason="an echo")
        if isinstance(observation, Gap):
            yield finding_of(self.rule, observation.what, "message", rank=0, first_step=1)

    def finish(self) -> Iterator[Finding]:
        yield finding_of(self.rule, "the end", "message")

    def coverage(self) -> Coverage:
        return self._coverage


class Worse(Echo):
    """Thinks worse of the same thing each time."""

    def observe(self, observation: Observation) -> Iterator[Finding]:
        severity = list(Severity)[::-1][min(self._coverage.possible, 2)]
        self._coverage.count(checked=True)
        yield finding_of(self.rule, "it", "message", rank=0, first_step=1, severity=severity)


class Broken(Echo):
    """Fails at the second observation."""

    rule: ClassVar[Rule] = Rule("schedule-broken", "schedule", "t", Severity.ERROR, Confidence.HIGH)

    def observe(self, observation: Observation) -> Iterator[Finding]:
        if self._coverage.possible:
            raise KeyError("no such group")
        yield from super().observe(observation)


class BrokenAtTheEnd(Echo):
    rule: ClassVar[Rule] = Rule("schedule-late", "schedule", "t", Severity.ERROR, Confidence.HIGH)

    def finish(self) -> Iterator[Finding]:
        raise ZeroDivisionError


class Shorter(Echo):
    """Another rule of the same law that looks at fewer units."""

    rule: ClassVar[Rule] = Rule("update-shorter", "update", "t", Severity.NOTE, Confidence.LOW)

    def observe(self, observation: Observation) -> Iterator[Finding]:
        self._coverage.skip("a shorter echo")
        yield from ()

    def finish(self) -> Iterator[Finding]:
        yield from ()


def judged(judge: Judge, *observations: Observation) -> list[Finding]:
    return [finding for one in observations for finding in judge.observe(one)]


def test_new_findings_are_passed_on_and_kept() -> None:
    judge = Judge([Echo])
    first = judged(judge, GAP, replace(GAP, what="another"))
    last = list(judge.finish())
    assert [one.subject for one in first + last] == ["subject", "another", "the end"]
    assert judge.findings == first + last


def test_the_same_finding_is_passed_on_once() -> None:
    judge = Judge([Echo])
    assert len(judged(judge, GAP, GAP, GAP)) == 1
    assert judge.suppressed == 0


def test_the_same_finding_made_worse_is_no_repetition() -> None:
    found = judged(Judge([Worse]), GAP, GAP, GAP, GAP)
    assert [one.severity for one in found] == [Severity.NOTE, Severity.WARNING, Severity.ERROR]


@pytest.mark.parametrize(("name", "limit"), [("MAX_PER_RULE", 3), ("MAX_FINDINGS", 3)])
def test_findings_are_bounded_and_the_rest_counted(
    monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    monkeypatch.setattr(module, name, limit)
    judge = Judge([Echo])
    assert len(judged(judge, *(replace(GAP, what=str(number)) for number in range(10)))) == limit
    assert judge.suppressed == 10 - limit


@pytest.mark.parametrize("order", [[Broken, Echo], [Echo, Broken]])
def test_a_detector_that_fails_is_switched_off_and_its_law_stopped(order: list[type[Detector]]) -> None:
    judge = Judge(order)
    judge.ranks_heard.add(0)
    assert len(judged(judge, GAP)) == 2
    others = judged(judge, replace(GAP, what="second"), replace(GAP, what="third"))
    assert [one.rule for one in others] == ["update-echo", "update-echo"]
    stopped = judge.coverage()["schedule"].stopped
    assert "schedule-broken" in stopped
    assert "KeyError" in stopped
    assert judge.coverage()["update"].checked == 3
    assert not judge.coverage()["update"].stopped


def test_a_run_whose_detector_failed_is_not_held() -> None:
    judge = Judge([Echo, BrokenAtTheEnd])
    judge.ranks_heard.add(0)
    judged(judge, Observation(GAP.origin))
    assert judge.verdict(["update"]).outcome is Outcome.HELD
    assert [one.rule for one in judge.finish()] == ["update-echo"]
    verdict = judge.verdict(["update"])
    assert verdict.outcome is Outcome.INCOMPLETE
    assert any("ZeroDivisionError" in reason for reason in verdict.reasons)


def test_rules_of_one_law_share_its_coverage() -> None:
    for kinds in ([Echo, Shorter], [Shorter, Echo]):
        judge = Judge(kinds)
        judged(judge, GAP, GAP)
        coverage = judge.coverage()
        assert list(coverage) == ["update"]
        assert (coverage["update"].checked, coverage["update"].possible) == (2, 2)
        assert coverage["update"].reasons == {"an echo": 2, "a shorter echo": 2}
        # Asking twice counts nothing twice.
        assert judge.coverage() == coverage


def test_the_verdict_knows_ranks_stops_and_required_laws() -> None:
    judge = Judge([Echo])
    judged(judge, GAP)
    assert judge.verdict(["update"]).outcome is Outcome.INCOMPLETE
    judge.ranks_heard.add(0)
    assert judge.verdict(["update"]).outcome is Outcome.HELD
    assert judge.verdict().outcome is Outcome.INCOMPLETE
    judge.ranks_expected = 2
    assert "1 of 2 ranks" in judge.verdict(["update"]).reasons[0]
    judge.ranks_heard.add(1)
    judge.stopped.append("update: spool cut")
    assert judge.verdict(["update"]).reasons == ("update: spool cut",)


def test_a_detector_that_cannot_count_is_switched_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Shorter) -> Coverage:
        raise RecursionError

    monkeypatch.setattr(Shorter, "coverage", fail)
    judge = Judge([Echo, Shorter])
    judged(judge, GAP)
    for _ in range(2):
        assert "update-shorter" in judge.coverage()["update"].stopped


class OnlyGoodbyes(Echo):
    rule: ClassVar[Rule] = Rule("life-echo", "life", "t", Severity.WARNING, Confidence.HIGH)
    takes: ClassVar[tuple[type[Observation], ...]] = (Goodbye,)


def test_a_detector_is_handed_only_what_it_takes() -> None:
    judge = Judge([OnlyGoodbyes])
    judged(judge, GAP, Goodbye(GAP.origin, 1, 0, 1), GAP)
    assert judge.coverage()["life"].possible == 1


def test_steps_that_passed_are_possible_and_not_checked() -> None:
    judge = Judge([Echo])
    list(judge.observe(GAP))
    for first in (5, 9):
        assert list(judge.observe(StepsPassed(GAP.origin, 0, first, 3, 10**6))) == []
    for _ in range(2):
        part = judge.coverage()["update"]
        assert (part.checked, part.possible, part.passed) == (1, 7, 6)
        assert part.reasons == {"an echo": 1, PASSED: 6}
