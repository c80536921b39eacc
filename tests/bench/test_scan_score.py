"""A file counts by the worst word of a scanner; what it says nothing of, it called clean."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from bench.scan.corpus.assemble import Call, Name, stream
from bench.scan.corpus.sample import BENIGN, MALICIOUS, Entry, Sample, write
from bench.scan.peers import CLEAN, FLAGGED, INCOMPLETE, _each
from bench.scan.report import scores
from bench.scan.score import Told, _worst, counts, ours, wrong
from bench.scan.speed import line, run

BAD = Entry("malicious/one", MALICIOUS, "pickle", "os.system", 1)
GOOD = Entry("benign/numpy/a.npy", BENIGN, "numpy", "numpy")


def test_the_worst_of_its_files_counts() -> None:
    words = {
        "/c/malicious/one/a": CLEAN,
        "/c/malicious/one/b/c": INCOMPLETE,
        "/c/malicious/one-more/a": FLAGGED,
    }
    assert _worst(Path("/c"), BAD, words) == INCOMPLETE
    assert _worst(Path("/c"), GOOD, words) == CLEAN


def test_counts_name_what_is_wrong() -> None:
    rows = list(counts([Told(BAD, CLEAN), Told(BAD, FLAGGED), Told(GOOD, INCOMPLETE)]))
    assert [(row["label"], row["files"], row[FLAGGED], row["wrong"]) for row in rows] == [
        (BENIGN, 1, 0, ["numpy/a.npy"]),
        (MALICIOUS, 2, 1, ["one"]),
    ]


def test_the_list_has_every_wrong_one_with_its_reason() -> None:
    lines = list(wrong([Told(BAD, CLEAN), Told(GOOD, FLAGGED, ("rule (error): it says so",))]))
    assert lines[:2] == ["== malicious and clean: 1", "malicious/one [pickle class 1: os.system]"]
    assert lines[3:6] == [
        "== benign and flagged: 1",
        "benign/numpy/a.npy [numpy: numpy]",
        "    rule (error): it says so",
    ]


def test_what_a_program_answers_is_taken_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    program = "import json, sys\nprint('noise')\n"
    program += "for line in sys.stdin:\n    print(json.dumps([line.strip(), 'clean']))\n"
    assert _each(tmp_path, program, [Path("/c/a b")]) == {"/c/a b": CLEAN}


def test_the_command_is_asked_about_each_entry(tmp_path: Path) -> None:
    bad = write(
        Sample("one", 1, "pickle", "os.system", {"model.pkl": stream(Call(Name("os", "system"), ("true",)))}),
        tmp_path,
    )
    (tmp_path / "benign").mkdir()
    (tmp_path / "benign" / "a.pkl").write_bytes(pickle.dumps({"epoch": 3}))
    good = Entry("benign/a.pkl", BENIGN, "stdlib", "pickle")
    told = {one.entry.path: one.word for one in ours(tmp_path, [bad, good])}
    assert told == {"malicious/one": FLAGGED, "benign/a.pkl": CLEAN}


def test_a_process_is_measured_with_its_exit_code() -> None:
    taken = run(["/bin/sh", "-c", "exit 3"])
    assert taken.code == 3
    assert "exit [3]" in line("x", [taken])


def test_peers_are_of_any_commit_and_the_last_row_counts() -> None:
    mine = {"tool": "veracity", "case": "a", "commit": "1"}
    peer = {"tool": "picklescan", "case": "b", "commit": "0"}
    assert scores([peer, {**mine, "commit": "0"}, mine, {**peer, "files": 3}], ["1"]) == [
        {**peer, "files": 3},
        mine,
    ]
