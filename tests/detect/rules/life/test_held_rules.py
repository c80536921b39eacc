"""Stopped, traced, frozen, reniced, throttled: what is a finding, and what happens to honest jobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import (
    GroupLoad,
    MonitorHeld,
    Observation,
    ProcessChanged,
    ProcessHeld,
    StepRecord,
    StepsPassed,
)
from veracity.core.origin import monitor_origin
from veracity.core.rule import Severity
from veracity.detect.detector import Detector
from veracity.detect.rules.life.stopped import MAX_PER_PROCESS, MAX_PROCESSES, Stopped
from veracity.detect.rules.life.traced import Traced
from veracity.detect.rules.time.frozen import MAX_FINDINGS, Frozen
from veracity.detect.rules.time.share_reduced import ShareReduced
from veracity.detect.rules.time.throttled import Throttled

SECOND = 1_000_000_000


def judged(detector: Detector, observations: Iterable[Observation]) -> list[Finding]:
    found = [finding for one in observations for finding in detector.observe(one)]
    return found + list(detector.finish())


def held(how: str, span: float, *, over: bool = True, pid: int = 7, step: int = 20) -> ProcessHeld:
    origin = monitor_origin(0, pid=pid, rank=0, source="/proc")
    return ProcessHeld(origin, how, "rank", "python train.py", step, int(span * SECOND), over)


def changed(what: str, before: int, after: int, *, step: int = 20, role: str = "rank") -> ProcessChanged:
    origin = monitor_origin(0, pid=7, rank=0, source="/proc")
    return ProcessChanged(origin, what, before, after, role, step, "cpu:/a → cpu:/b")


def load(before: int, now: int, *, periods: int = 10, throttled: int = 0, reclaimed: int = 0) -> GroupLoad:
    origin = monitor_origin(0, pid=7, rank=0, source="/proc")
    return GroupLoad(origin, "/job", SECOND, now, before, periods, throttled, 0, False, reclaimed, 20)


# --- stopped ------------------------------------------------------------------------------------------


def test_a_stop_is_told_with_its_length_and_an_unknown_sender() -> None:
    (finding,) = judged(Stopped(), [held("stopped", 1.5)])
    assert finding.severity is Severity.WARNING
    assert not finding.breaks
    assert finding.first_step == 20
    assert "1.5 s" in finding.message
    assert "sender not known" in finding.message


def test_short_stops_count_when_they_come_again() -> None:
    short = held("stopped", 0.05)
    assert judged(Stopped(), [short, short]) == []
    (finding,) = judged(Stopped(), [short] * 3)
    assert "3 times so far" in finding.message


def test_a_stop_that_lasts_is_one_stop() -> None:
    lasting = [held("stopped", 5, over=False), held("stopped", 9)]
    assert len(judged(Stopped(), lasting)) == 1
    assert len(judged(Stopped(), [*lasting, held("stopped", 2)])) == 2


def test_stops_are_bounded() -> None:
    assert len(judged(Stopped(), [held("stopped", 1)] * 50)) == MAX_PER_PROCESS
    many = Stopped()
    found = judged(many, (held("stopped", 1, pid=pid) for pid in range(MAX_PROCESSES + 9)))
    assert len(found) == MAX_PROCESSES
    assert any("processes were stopped" in reason for reason in many.coverage().reasons)


@pytest.mark.parametrize("how", ["traced", "frozen"])
def test_other_ways_to_be_held_are_not_a_stop(how: str) -> None:
    assert judged(Stopped(), [held(how, 3)]) == []


# --- traced -------------------------------------------------------------------------------------------


def test_a_tracer_is_named_once_per_process() -> None:
    attached = replace(changed("tracer", 0, 99), detail="process 99: gdb -p 7")
    (finding,) = judged(Traced(), [attached, attached, held("traced", 1)])
    assert "gdb -p 7" in finding.message
    (finding,) = judged(Traced(), [held("traced", 1)])
    assert "had left" in finding.message
    assert judged(Traced(), [changed("tracer", 99, 0), held("stopped", 1)]) == []


# --- frozen -------------------------------------------------------------------------------------------


def test_a_freeze_is_told_from_outside_and_from_within() -> None:
    monitor = MonitorHeld(monitor_origin(0), 8 * SECOND, 30)
    found = judged(Frozen(), [held("frozen", 2), monitor])
    assert [(finding.first_step, finding.severity) for finding in found] == [
        (20, Severity.WARNING),
        (30, Severity.NOTE),
    ]
    assert "8.0 s" in found[1].message
    assert not any(finding.breaks for finding in found)
    assert judged(Frozen(), [held("stopped", 2)]) == []
    assert len(judged(Frozen(), [monitor] * 99)) == MAX_FINDINGS


def looked_at(ended: float, took: float) -> StepRecord:
    origin = replace(monitor_origin(int(ended * SECOND)), source="guard")
    phases = {"forward": int(took * SECOND)}
    return StepRecord(origin, 0, 29, [], phases, 1.0, 1, {}, [], [], None, None, False, False, [])


def passed(ended: float, *each: float) -> StepsPassed:
    origin = replace(monitor_origin(int((ended + 1) * SECOND)), source="guard")
    micros = [int(took * 1_000_000) for took in each]
    return StepsPassed(origin, 0, 20, len(each), 1000 * sum(micros), micros, SECOND)


@pytest.mark.parametrize(
    ("steps", "severity"),
    [
        ([looked_at(100.5, 9.0)], Severity.WARNING),
        ([passed(100.5, 0.1, 0.1, 9.0)], Severity.WARNING),
        ([looked_at(96.0, 0.1), looked_at(101.0, 5.0)], None),
        ([passed(100.5, 3.0, 3.0, 3.0)], None),
        ([looked_at(91.0, 0.1), looked_at(101.0, 0.1)], Severity.NOTE),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_a_step_says_whether_the_job_was_held_with_the_monitor(
    steps: list[Observation], severity: Severity | None, before: bool
) -> None:
    monitor = MonitorHeld(monitor_origin(100 * SECOND), 8 * SECOND, 30)
    detector = Frozen()
    found = judged(detector, [*steps, monitor] if before else [monitor, *steps])
    assert [finding.severity for finding in found] == ([] if severity is None else [severity])
    assert bool(detector.coverage().reasons) is (severity is None)


# --- shares -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [("nice", 0, 10), ("cpus", 8, 1), ("cgroup", 0, 0)])
def test_a_smaller_share_is_a_warning_and_another_group_a_note(change: tuple[str, int, int]) -> None:
    (finding,) = judged(ShareReduced(), [changed(*change)])
    assert finding.severity is (Severity.NOTE if change[0] == "cgroup" else Severity.WARNING)
    assert finding.evidence[0].expected != finding.evidence[0].observed


@pytest.mark.parametrize(
    "change",
    [
        changed("nice", 10, 0),
        changed("cpus", 1, 8),
        changed("cpus", 8, 1, step=2),
        changed("nice", 0, 10, role="child"),
        changed("tracer", 0, 9),
        changed("unheard of", 0, 9),
    ],
)
def test_more_or_early_or_elsewhere_is_none(change: ProcessChanged) -> None:
    """Threads are bound when they are first used, workers may be nice: neither is done to a rank."""
    assert judged(ShareReduced(), [change]) == []


# --- throttled ----------------------------------------------------------------------------------------


def test_a_limit_that_is_lowered_is_told_once() -> None:
    (finding,) = judged(Throttled(), [load(4000, 500), load(500, 500), load(4000, 500)])
    assert finding.severity is Severity.WARNING
    assert "4.00 CPUs to 0.50 CPUs" in finding.message
    (finding,) = judged(Throttled(), [load(-1, 500)])
    assert "no limit to 0.50 CPUs" in finding.message


def test_limits_that_rise_or_stay_are_none() -> None:
    assert judged(Throttled(), [load(500, 4000), load(4000, -1), load(4000, 4000)]) == []


def test_a_job_that_lives_with_its_limit_gets_a_note_and_no_more() -> None:
    found = judged(Throttled(), [load(2000, 2000, throttled=9)] * 100)
    assert [finding.severity for finding in found] == [Severity.NOTE]
    assert "90 %" in found[0].message
    assert judged(Throttled(), [load(2000, 2000, throttled=1)] * 100) == []
    found = judged(Throttled(), [load(-1, -1, reclaimed=10)] * 10)
    assert [finding.severity for finding in found] == [Severity.NOTE]
