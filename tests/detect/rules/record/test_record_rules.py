"""Holes, cuts and repetitions in what the guards wrote, and what explains them."""

from __future__ import annotations

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import Goodbye, Hello, Observation, RecordDamaged, RecordsMissing
from veracity.core.origin import Origin, Trust
from veracity.detect.detector import Detector
from veracity.detect.rules.record.missing import RecordMissing
from veracity.detect.rules.record.spool_altered import SpoolAltered


def origin(pid: int, rank: int = 0) -> Origin:
    return Origin("guard", Trust.USERLAND, pid, rank, 0, 0)


def hello(pid: int = 7) -> Hello:
    return Hello(origin(pid), 1, "rank", "/usr/bin/python", "3.11", "2.6", 0, {}, {})


def goodbye(pid: int = 7, dropped: int = 0) -> Goodbye:
    return Goodbye(origin(pid), 10, dropped, 5)


def jump(expected: int, got: int, pid: int = 7, after_step: int = 3) -> RecordsMissing:
    return RecordsMissing(origin(pid), f"{pid}-00000000", expected, got, after_step)


def damage(reason: str = "the spool was cut", pid: int = 7, step: int = 11) -> RecordDamaged:
    return RecordDamaged(origin(pid), f"{pid}-00000000", reason, 40, step)


def judged(detector: Detector, *observations: Observation) -> list[Finding]:
    found = [finding for observation in observations for finding in detector.observe(observation)]
    return found + list(detector.finish())


@pytest.mark.parametrize(
    "observations",
    [
        [hello(), goodbye()],
        [hello(), goodbye(dropped=3)],
        [jump(5, 8), goodbye(dropped=3)],
        [jump(5, 6), jump(9, 11), goodbye(dropped=4)],
        [jump(5, 6), goodbye(dropped=1), jump(5, 6, pid=8), goodbye(8, dropped=1)],
    ],
)
def test_holes_that_the_guard_counted_are_no_finding(observations: list[Observation]) -> None:
    assert judged(RecordMissing(), *observations) == []


def test_holes_beyond_the_counted_drops_are_reported_once() -> None:
    (finding,) = judged(RecordMissing(), jump(5, 8), jump(9, 12, after_step=6), goodbye(dropped=5))
    assert finding.first_step == 4
    assert "6 records" in finding.message
    assert "5 admitted" in finding.evidence[0].observed
    assert not finding.breaks


def test_the_drops_of_one_process_do_not_excuse_another() -> None:
    (finding,) = judged(RecordMissing(), jump(5, 6, pid=8), goodbye(7, dropped=9), goodbye(8))
    assert "process 8" in finding.subject


def test_without_a_goodbye_nothing_is_admitted() -> None:
    (finding,) = judged(RecordMissing(), jump(0, 4, after_step=-1))
    assert finding.first_step is None
    assert "4 records" in finding.message


def test_what_is_remembered_of_holes_is_bounded() -> None:
    (finding,) = judged(RecordMissing(), *(jump(number, number + 1) for number in range(5000)))
    assert "1,000 records" in finding.message


def test_a_damaged_spool_breaks_the_run_from_the_next_step_on() -> None:
    (finding,) = judged(SpoolAltered(), hello(), damage())
    assert finding.breaks
    assert finding.first_step == 12
    assert "cut" in finding.message
    assert "40" in finding.message


def test_damage_before_any_step_has_no_step() -> None:
    (finding,) = judged(SpoolAltered(), damage(step=-1))
    assert finding.first_step is None


def test_coverage_counts_processes_with_a_beginning_and_an_end() -> None:
    detector = SpoolAltered()
    assert judged(detector, hello(7), hello(8), hello(7), goodbye(7), goodbye(9)) == []
    coverage = detector.coverage()
    assert (coverage.law, coverage.checked, coverage.possible) == ("record", 1, 2)
    assert coverage.reasons == {"a process ended without a goodbye": 1}


def test_coverage_of_an_orderly_run_has_no_reasons() -> None:
    detector = SpoolAltered()
    judged(detector, hello(), goodbye())
    assert not detector.coverage().reasons
    assert RecordMissing().coverage().possible == 0
