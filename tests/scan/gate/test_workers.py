"""Workers: one that ends or never ends costs its file and nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from veracity.core.finding import Evidence, Location, finding_of
from veracity.core.rule import Confidence, Rule, Severity
from veracity.scan.gate import answers, workers
from veracity.scan.gate.file import Settings
from veracity.scan.gate.result import FileResult, Missed

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


def test_answers_that_were_not_told_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "TOLD_EVERY", 60.0)
    names = [f"{number}" for number in range(30)] + ["ends", "ends too", "last"]

    results = scanned(monkeypatch, names, 1)

    assert [one.path for one in results if one.missed] == ["ends", "ends too"]


def test_a_damaged_answer_costs_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def line_of(result: FileResult) -> bytes:
        return b"[1, 2]\n" if result.path == "odd" else answers.line_of(result)

    monkeypatch.setattr(workers, "line_of", line_of)
    results = scanned(monkeypatch, ["a", "b", "odd", "c", "d"], 1)

    assert [one.path for one in results if one.missed] == ["odd"]
    assert "answer is damaged" in results[2].missed[0].reason


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


def test_it_does_not_matter_whether_ended_children_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        results = scanned(monkeypatch, ["a", "ends", "b"], 2)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert [one.path for one in results if one.missed] == ["ends"]


def children() -> list[str]:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


def test_an_unreadable_file_is_said_to_be(tmp_path: Path) -> None:
    results = workers.scan_files([str(tmp_path / "gone")], Settings(), 1, lambda _: None)

    assert "No such file" in results[0].missed[0].reason


def test_an_answer_says_all_that_there_is() -> None:
    evidence = (Evidence("a", "b", "c\udcff", ("d", "e"), "f"), Evidence("g"))
    found = finding_of(
        RULE, "p!q", "odd\n", rank=3, first_step=4, locations=(Location("p", 7),), evidence=evidence
    )
    missed = (Missed("what\udc80", "why", "do"), Missed("x", "y"))
    whole = FileResult(
        *("p\udcff\n", 9, (found, finding_of(RULE, "p", "m")), missed, ("zip",), 2, 1, "ab", 0.25),
        named=(("a", "b\udcff"),),
        unvouched=2,
    )

    assert answers.result_in(answers.line_of(whole)) == whole
    assert answers.line_of(whole).count(b"\n") == 1


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"[1, 2]", b"null", b"\xff", answers.line_of(FileResult("a"))[:-3]]
)
def test_what_is_no_answer_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - one of several, as whoever reads it came upon it
        answers.result_in(line)
