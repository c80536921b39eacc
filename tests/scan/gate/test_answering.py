"""The process that reads files for a monitor: which file, which part of it, and what it must never do."""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from pathlib import Path

import msgspec
import pytest

from veracity.core.fileidentity import identity_of
from veracity.core.picklepolicy import NO_PERMITS, SitePermits
from veracity.scan.gate import answering
from veracity.scan.gate.answering import Answer, Question, answer
from veracity.scan.gate.file import judge_open
from veracity.scan.gate.result import FileResult
from veracity.scan.lineworker import Answered, LineWorker, Share

RUNS = b"cposix\nsystem\n(Vtrue\ntR."
"""Would run the program ``true``, which does nothing."""


def asked(path: Path, offset: int = 0, permits: SitePermits = NO_PERMITS) -> Answer:
    return answer(Question(1, str(path), identity_of(path.stat()), offset, permits))


def rules(told: Answer) -> set[str]:
    return {one.rule for one in told.result.findings}


def test_a_file_is_told_with_its_digest_when_something_is_found(tmp_path: Path) -> None:
    clean, runs = tmp_path / "a.pkl", tmp_path / "b.txt"
    clean.write_bytes(pickle.dumps({"lr": 0.1}))
    runs.write_bytes(RUNS)
    told = asked(clean)
    assert (told.same, told.result.formats, rules(told), told.result.sha256) == (True, ("pickle",), set(), "")
    assert rules(asked(runs)) == {"checkpoint-pickle-executes"}
    assert asked(runs).result.sha256 == hashlib.sha256(RUNS).hexdigest()


def test_what_begins_within_a_file_is_read_from_there(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"\xff header" + RUNS)
    assert rules(asked(path)) == set()
    told = asked(path, 8)
    assert rules(told) == {"checkpoint-pickle-executes"}
    assert f"{path} from byte 8 names posix.system" in told.result.findings[0].message
    assert asked(path, 10_000).result.findings == ()
    # All of it is read, too, and need not be a format that is known.
    path.rename(path.with_suffix(".pkl"))
    assert asked(path.with_suffix(".pkl")).result.missed
    assert asked(path.with_suffix(".pkl"), 8).result.missed == ()
    path.write_bytes(RUNS + pickle.dumps(1))
    assert rules(asked(path, len(RUNS))) == {"checkpoint-pickle-executes"}


def test_pickles_in_a_row_are_answered_at_once(tmp_path: Path) -> None:
    path, one = tmp_path / "a.bin", pickle.dumps(list(range(9)))
    path.write_bytes(b"\xff header" + 5 * one)
    assert asked(path, 8).row == tuple(8 + number * len(one) for number in range(5))
    assert asked(path).row == ()


def test_another_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(RUNS)
    before = identity_of(path.stat())
    path.with_name("b").write_bytes(RUNS)
    os.replace(path.with_name("b"), path)
    assert answer(Question(1, str(path), before)) == Answer(1, False, FileResult(str(path)))


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(1))
    judge = judge_open

    def slow(*args: object) -> object:
        result = judge(*args)  # type: ignore[arg-type]
        path.write_bytes(RUNS)
        return result

    monkeypatch.setattr(answering, "judge_open", slow)
    assert not asked(path).same


@pytest.mark.parametrize("name", ["missing", "folder", "pipe", "nul\0byte"])
def test_what_is_no_file_is_unread(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    told = answer(Question(1, f"{tmp_path}/{name}", "1:2:3:4:5"))
    assert (len(told.result.missed), told.result.findings) == (1, ())


def test_more_memory_than_a_reader_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*args: object) -> object:
        raise MemoryError

    (tmp_path / "a").write_bytes(b"x")
    monkeypatch.setattr(answering, "judge_open", greedy)
    assert "memory" in asked(tmp_path / "a").result.missed[0].reason


def test_what_a_site_permits(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"cproject.kinds\nKind\n)\x81.")
    assert rules(asked(path)) == {"checkpoint-pickle-unknown-global"}
    assert rules(asked(path, permits=SitePermits((("project.kinds", "Kind"),)))) == set()


def test_a_process_answers_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "näme\udcff.pkl"
    path.write_bytes(RUNS)
    worker = LineWorker(answering.command(), "the reader", seconds=60, share=Share.ITS_STARTERS)
    for number in (1, 2):
        body = msgspec.to_builtins(Question(number, str(path), identity_of(path.stat())))
        worker.send(body.pop("id"), body)
    results, deadline = [], time.monotonic() + 60
    while worker.pending and time.monotonic() < deadline:
        results += worker.pump(0.5)
    worker.close()
    assert [one.number for one in results] == [1, 2]
    for one in results:
        assert isinstance(one, Answered)
        assert msgspec.convert(one.body, Answer, strict=False).result.path == str(path)
