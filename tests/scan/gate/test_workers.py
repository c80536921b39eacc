"""Workers: one that ends or never ends costs its file and nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from veracity.core.finding import Location, finding_of
from veracity.core.rule import Confidence, Rule, Severity
from veracity.scan.gate import workers
from veracity.scan.gate.file import Settings
from veracity.scan.gate.result import FileResult

RULE = Rule("checkpoint-bad", "load", "bad", Severity.ERROR, Confidence.HIGH)


def reader(path: str, settings: Settings) -> FileResult:
    """Does what a file's name says, so that a worker meets it."""
    name = os.path.basename(path)
    if name.startswith("ends"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("hangs"):
        time.sleep(600)
    if name.startswith("memory"):
        raise MemoryError
    found = (finding_of(RULE, path, "odd \udcff", locations=(Location(path, 3),)),) if "bad" in name else ()
    return FileResult(path, 1, found, formats=("x",), inputs=1)


def scanned(monkeypatch: pytest.MonkeyPatch, names: list[str], jobs: int) -> list[FileResult]:
    monkeypatch.setattr(workers, "scan_file", reader)
    monkeypatch.setattr(workers, "GRACE", 0.5)
    told: list[FileResult] = []
    results = workers.scan_files(names, Settings(seconds=0.5), jobs, told.append)
    assert sorted(one.path for one in told) == sorted(names)
    return results


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_order_and_whole(monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    names = [f"{number:03}{'bad' if number % 7 == 0 else ''}\udcff" for number in range(100)]

    results = scanned(monkeypatch, names, jobs)

    assert [one.path for one in results] == names
    assert results[7].findings[0].message == "odd \udcff"
    assert results[7].findings[0].severity is Severity.ERROR
    assert results[7].findings[0].locations == (Location(names[7], 3),)


@pytest.mark.parametrize(
    ("name", "said"), [("ends", "SIGKILL"), ("hangs", "took longer"), ("memory", "memory")]
)
def test_a_reader_that_fails_costs_one_file(monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    names = [f"a{number}" for number in range(20)] + [name] + [f"b{number}" for number in range(20)]

    results = scanned(monkeypatch, names, 2)

    assert [one.path for one in results] == names
    missed = [one for one in results if one.missed]
    assert [one.path for one in missed] == [name]
    assert said in missed[0].missed[0].reason


def test_no_worker_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    scanned(monkeypatch, ["a", "ends", "b"], 2)
    assert children() == before


def children() -> list[str]:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


def test_an_unreadable_file_is_said_to_be(tmp_path: Path) -> None:
    results = workers.scan_files([str(tmp_path / "gone")], Settings(), 1, lambda _: None)

    assert "No such file" in results[0].missed[0].reason
