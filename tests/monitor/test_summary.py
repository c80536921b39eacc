from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.monitor.frames import frame_of, large_step
from veracity.core import observation as seen
from veracity.core import wire
from veracity.core.canonical import Json
from veracity.core.coverage import Coverage
from veracity.core.digest import Digest
from veracity.core.errors import EvidenceError
from veracity.core.finding import Finding
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Confidence, Severity
from veracity.core.summary import RunSummary
from veracity.core.verdict import Outcome, Verdict
from veracity.ledger.blobs import Blobs
from veracity.ledger.keys import SigningKey
from veracity.ledger.store import Ledger
from veracity.monitor import summary as module
from veracity.monitor.decode import read_header
from veracity.monitor.folder import RunFolder
from veracity.monitor.recorder import Recorder
from veracity.monitor.summary import load_summary

ORIGIN = Origin("monitor", Trust.SERVICE, 7, 0, -1, 5)
NOTE = Finding("time-stall", "time", Severity.NOTE, Confidence.HIGH, "a", "m", 0, 1)


class Made:
    """A run whose ledger the test writes."""

    def __init__(self, path: Path) -> None:
        self.folder = RunFolder(path)
        path.mkdir(parents=True)
        self.ledger = Ledger.create(
            self.folder.ledger, "veracity.local/run", SigningKey.generate("veracity.local")
        )
        self.blobs = Blobs(self.folder.blobs)
        self.recorder = Recorder(self.ledger, self.blobs)

    def take(self, data: bytes, *, rank: int = 0, pid: int = 7) -> None:
        found = wire.unpack(data)
        assert found is not None
        self.recorder.record(f"{pid}-00000abc", rank, pid, read_header(found[0]), found[0])

    def summary(self) -> RunSummary:
        self.recorder.commit(publish=True)
        return load_summary(self.folder.path)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    one = Made(tmp_path / "runs" / "run-20250301-080000-00000a")
    yield one
    one.ledger.close()


def test_a_run_from_launch_to_verdict(finished: Path) -> None:
    summary = load_summary(finished)
    assert summary.run == finished.name
    assert summary.verdict is not None
    assert summary.verdict.outcome is Outcome.INCOMPLETE
    assert "no process of the job was heard" in summary.verdict.reasons
    assert summary.exit_code == 3
    assert summary.command[1] == "-c"
    assert summary.ended_at is not None
    assert summary.ended_at > summary.started_at > 0
    (process,) = summary.processes
    assert (process.role, process.how, process.code, process.steps) == ("root", "exited", 3, 0)
    assert {"host", "command"} <= {item.kind for item in summary.sealed}
    assert summary.coverage["update"].checked == 0
    assert not any(finding.breaks for finding in summary.findings)
    assert summary.entries > 3
    assert len(bytes.fromhex(summary.tree_root)) == 32


def test_an_empty_ledger_is_a_run_that_has_not_begun(made: Made) -> None:
    summary = made.summary()
    assert (summary.verdict, summary.ended_at, summary.exit_code, summary.command) == (None, None, None, ())
    assert summary.same_account


def test_where_there_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError):
        load_summary(tmp_path)


def test_steps_are_points_of_their_ranks(made: Made) -> None:
    made.take(frame_of("hello", 0))
    for step in range(3):
        made.take(large_step(step, seq=step + 1))
    made.take(large_step(0), rank=1, pid=8)
    summary = made.summary()
    assert [(one.rank, one.step) for one in summary.points] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert summary.points[0].loss == 4.123456789012345
    assert summary.points[0].lr == 0.0003
    assert summary.points[0].ns == sum(summary.points[0].phases.values()) == 5 * 12_345_678_901
    first, second = summary.processes
    assert (first.pid, first.role, first.steps, first.records) == (7, "rank", 3, 4)
    assert (second.pid, second.rank, second.steps) == (8, -1, 1)


def test_steps_that_were_passed_over_were_made(made: Made) -> None:
    made.take(large_step(0, tensors=2))
    made.take(frame_of("rested", 1))
    (process,) = made.summary().processes
    assert process.steps == 1 + 17


def test_points_are_bounded(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_POINTS", 2)
    for step in range(4):
        made.take(frame_of("step", step))
    summary = made.summary()
    assert len(summary.points) == 2
    assert summary.processes[0].steps == 4


def test_gaps_of_guard_and_monitor(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GAPS", 2)
    made.take(frame_of("gap"))
    for number in range(3):
        made.recorder.observed(seen.Gap(ORIGIN, f"gap {number}", "why", remedy="mend", law="time"))
    first, second = made.summary().gaps
    assert (first.what, first.law) == ("a tensor was not read", "update")
    assert (second.what, second.remedy, second.rank, second.pid, second.at) == ("gap 0", "mend", 0, 7, 5)


def test_the_contract_is_read_from_the_declarations_of_rank_zero(made: Made) -> None:
    for rank in (0, 1):
        made.take(frame_of("optimizer", rank), rank=rank)
        made.take(frame_of("scheduler", rank + 2), rank=rank)
    lines = made.summary().contract
    assert ("optimizer 0", "torch.optim.adamw.AdamW", "read") in lines
    assert ("optimizer 0: parameters", "6 in 1 tensor", "read") in lines
    assert ("schedule 0", "StepLR(gamma=0.5, step_size=3)", "read") in lines
    assert len([line for line in lines if line[0] == "optimizer 0"]) == 1


def test_how_a_process_ended(made: Made) -> None:
    made.recorder.observed(
        seen.ProcessEnded(ORIGIN, "rank", "python t.py", "signalled", 9, 1, True, "policy", 3)
    )
    (process,) = made.summary().processes
    assert (process.role, process.how, process.code, process.explained) == ("rank", "signalled", 9, "policy")


def test_findings_come_worst_first(made: Made) -> None:
    warning = replace(NOTE, severity=Severity.WARNING, subject="b")
    doubtful = replace(NOTE, severity=Severity.ERROR, confidence=Confidence.LOW, subject="c", first_step=0)
    error = replace(NOTE, severity=Severity.ERROR, subject="d", first_step=9)
    for finding in (NOTE, warning, doubtful, error):
        made.recorder.finding(finding, 0)
    assert made.summary().findings == (error, doubtful, warning, NOTE)


def test_the_last_verdict_counts(made: Made) -> None:
    coverage = {"time": Coverage("time", "steps", 1, 2, {"r": 1})}
    final: dict[str, Json] = {"exit_code": 0, "ended_at": 8}
    made.recorder.judged(Verdict(Outcome.INCOMPLETE, ("a",)), {}, final)
    made.recorder.judged(Verdict(Outcome.HELD, ("b",)), coverage, {**final, "ended_at": 9})
    summary = made.summary()
    assert summary.verdict == Verdict(Outcome.HELD, ("b",))
    assert (summary.coverage, summary.ended_at, summary.exit_code) == (coverage, 9, 0)


BODIES: list[tuple[str, dict[str, Json]]] = [
    ("judged", {"outcome": "fine"}),
    ("judged", {"outcome": "held", "coverage": {"time": {"law": 3}}}),
    ("finding", {}),
    ("finding", {"finding": {"rule": "time-stall"}}),
    ("observed", {"kind": "Gap", "body": {"what": 1}}),
    ("observed", {"kind": "ProcessEnded", "body": {}}),
]


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_an_entry_that_does_not_fit_its_kind_is_said(made: Made, kind: str, body: dict[str, Json]) -> None:
    made.recorder.entry(kind, body)
    with pytest.raises(EvidenceError):
        made.summary()


ODD: list[tuple[str, dict[str, Json]]] = [
    ("run", {"command": "python", "host": 3, "started_at": "now"}),
    ("record", {}),
    ("record", {"kind": "hello", "frame": "no digest"}),
    ("record", {"kind": "gap", "frame": str(Digest.of(b"gone"))}),
    ("record", {"kind": "gap", "body": {"what": 3}}),
    ("record", {"kind": "step", "optimizer": 0, "loss": "0x1p99999", "lr": "x", "ns": "soon"}),
    ("record", {"kind": "step", "optimizer": 0, "ns": [1, None, "2", 3, 4, 5, 6, 7]}),
    ("observed", {"kind": "Gap", "data": "sha256:x"}),
    ("observed", {"kind": 3}),
    ("seal", {"envelope": "no digest"}),
    ("seal", {}),
    ("another-kind", {"x": 1}),
]


@pytest.mark.parametrize(("kind", "body"), ODD)
def test_odd_values_and_lost_payloads_do_not_hide_the_rest(
    made: Made, kind: str, body: dict[str, Json]
) -> None:
    made.recorder.entry(kind, body)
    made.recorder.finding(NOTE, 0)
    summary = made.summary()
    assert summary.findings == (NOTE,)
    assert all(point.loss is None for point in summary.points)
