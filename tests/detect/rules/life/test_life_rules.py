"""How processes of a job end: killed, crashed, failed, and the many ways that are nobody's fault."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import Observation, ProcessEnded, SignalForwarded
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Severity
from veracity.detect.detector import Detector
from veracity.detect.rules.life.crashed import Crashed
from veracity.detect.rules.life.exit_nonzero import ExitNonzero
from veracity.detect.rules.life.killed import MAX_HELPERS, Killed
from veracity.detect.rules.life.signals import signal_name

SECOND = 1_000_000_000


def origin(pid: int = 7, rank: int = 0, at: int = 100) -> Origin:
    return Origin("/proc", Trust.KERNEL, pid, rank, -1, at * SECOND)


def ended(how: str, code: int, role: str = "rank", at: int = 100, rank: int = 0, **more: Any) -> ProcessEnded:
    fields: dict[str, Any] = {"parent_alive": True, "explained": "", "step": 12, **more}
    at_end = origin(pid=100 + rank, rank=rank, at=at)
    return ProcessEnded(at_end, role=role, command="python train.py", how=how, code=code, parent=1, **fields)


def killed(code: int, role: str = "rank", **more: Any) -> ProcessEnded:
    return ended("signalled", code, role, **more)


def judged(detector: Detector, *observations: Observation) -> list[Finding]:
    found = [finding for observation in observations for finding in detector.observe(observation)]
    return found + list(detector.finish())


@pytest.mark.parametrize("role", ["root", "rank", "launcher"])
@pytest.mark.parametrize("code", [9, 15, 2, 1])
def test_main_process_ended_by_a_signal(role: str, code: int) -> None:
    (finding,) = judged(Killed(), killed(code, role))
    assert finding.breaks
    assert finding.first_step == 12
    assert "sender not determined" in finding.message
    assert signal_name(code) in finding.message


@pytest.mark.parametrize(
    "end",
    [killed(9, "child"), killed(2, "other"), killed(15, "other", parent_alive=False)],
    ids=["killed", "interrupted", "ended with its parent"],
)
def test_a_killed_helper_is_a_note_and_a_warning_where_it_was_missed(end: ProcessEnded) -> None:
    """``subprocess.run`` kills what has not ended in time, and nobody tells a parent who sent a signal."""
    went_on, failed = (
        replace(ended("exited", code, role="rank"), origin=origin(pid=end.parent)) for code in (0, 1)
    )
    assert [one.severity for one in judged(Killed(), end)] == [Severity.NOTE]
    assert [one.severity for one in judged(Killed(), end, went_on)] == [Severity.NOTE]
    assert [one.severity for one in judged(Killed(), end, failed)] == [Severity.WARNING]
    assert [one.severity for one in judged(Killed(), end, ended("exited", 1))] == [Severity.NOTE]
    later = replace(failed, origin=origin(pid=end.parent, at=140))
    assert [one.severity for one in judged(Killed(), end, later)] == [Severity.NOTE]


def test_helpers_without_end_are_counted_and_not_listed() -> None:
    detector = Killed()
    assert len(judged(detector, *[killed(9, "other")] * 80)) == MAX_HELPERS
    assert sum(detector.coverage().reasons.values()) == 80 - MAX_HELPERS


CLEAN: dict[str, list[Observation]] = {
    "exits": [ended("exited", 0), ended("exited", 0, "launcher")],
    "loader worker ended by its parent": [killed(15, "child"), killed(15, "other")],
    "memory limit": [killed(9, explained="the kernel ended it: memory limit of its cgroup")],
    "ctrl-c": [SignalForwarded(origin(), 2), killed(2), killed(9, "launcher")],
    "ctrl-c heard later": [killed(2), killed(2, "root"), SignalForwarded(origin(), 2)],
}


@pytest.mark.parametrize("name", CLEAN)
def test_clean_twins(name: str) -> None:
    assert judged(Killed(), *CLEAN[name]) == []


def test_ranks_ended_by_the_launcher_after_one_failed_are_explained() -> None:
    failed, followers = ended("exited", 1), [killed(15, rank=1), killed(15, rank=2)]
    for order in itertools.permutations([failed, *followers]):
        assert judged(Killed(), *order) == []
    assert judged(Killed(), failed, killed(9, rank=1, at=131)) == []


def test_one_rank_killed_is_one_finding_whatever_follows() -> None:
    followers = [killed(15, rank=1), ended("exited", 1, "launcher")]
    for order in itertools.permutations([killed(9, rank=0), *followers]):
        findings = judged(Killed(), *order)
        assert [finding.rank for finding in findings] == [0]


def test_of_ranks_asked_to_end_the_first_is_the_finding() -> None:
    first, second = killed(15, rank=1, at=100), killed(15, rank=0, at=101)
    for order in itertools.permutations([first, second, ended("exited", 1, "launcher", at=102)]):
        assert [finding.rank for finding in judged(Killed(), *order)] == [1]
    assert [finding.rank for finding in judged(Killed(), second, first)] == [1]


def test_a_rank_asked_to_end_is_reported_while_the_run_goes_on() -> None:
    detector = Killed()
    assert list(detector.observe(killed(15, at=100))) == []
    (finding,) = detector.observe(ended("exited", 0, "child", at=106))
    assert finding.breaks


def test_a_forwarded_request_for_a_checkpoint_explains_no_end() -> None:
    (finding,) = judged(Killed(), SignalForwarded(origin(), 10), killed(9))
    assert finding.breaks


def test_crash() -> None:
    crash = killed(11)
    assert judged(Killed(), crash) == []
    (finding,) = judged(Crashed(), crash)
    assert finding.severity is Severity.WARNING
    assert "SIGSEGV" in finding.message
    assert judged(Crashed(), killed(9), ended("exited", 1), killed(11, explained="known")) == []


def test_a_helper_whose_reader_went_away_did_not_crash() -> None:
    assert judged(Crashed(), killed(13, "other")) == []
    assert len(judged(Crashed(), killed(13, "rank"))) == 1


def test_exit_code_is_a_note_for_main_processes() -> None:
    (finding,) = judged(ExitNonzero(), ended("exited", 3), ended("exited", 0), ended("exited", 1, "child"))
    assert finding.severity is Severity.NOTE
    assert finding.evidence[0].observed == "3"


def test_processes_are_counted_once_over_the_rules() -> None:
    detectors: list[Detector] = [Killed(), Crashed(), ExitNonzero()]
    for detector in detectors:
        judged(detector, ended("exited", 0), killed(11), ended("unknown", 0))
    coverage = detectors[0].coverage()
    for detector in detectors[1:]:
        coverage.merge(detector.coverage())
    assert (coverage.law, coverage.checked, coverage.possible) == ("life", 2, 3)
    assert coverage.reasons == {"how it ended could not be read": 1}


@pytest.mark.parametrize(("rule", "end"), [(Crashed, killed(11)), (ExitNonzero, ended("exited", 1))])
def test_findings_are_bounded(rule: type[Detector], end: ProcessEnded) -> None:
    assert len(judged(rule(), *[end] * 300)) == 200


def test_unnamed_signals() -> None:
    assert signal_name(9) == "SIGKILL"
    assert signal_name(63) == "signal 63"
