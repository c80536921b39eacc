"""Files in the job's folder: those of monitors are read to their end, whatever else lies there is told."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from veracity.core.observation import ReplicaStep
from veracity.monitor.nodes import files
from veracity.monitor.nodes.files import MAX_BAD, MAX_PEERS, OwnFile, PeerFiles, file_name, run_of
from veracity.monitor.nodes.lines import MAX_LINE, Line, encode

KEY = b"k" * 32
RUN = "run-20260101-000000-{:06x}"
MINE = file_name("here", RUN.format(0))
THEIRS = file_name("there", RUN.format(1))
STEP = ReplicaStep("g", 3, 9, [0], "m", "p", "AAAAAAAAAAA=")


@pytest.fixture
def reader(tmp_path: Path) -> PeerFiles:
    return PeerFiles(tmp_path, MINE, KEY, time.time())


def heard(reader: PeerFiles) -> list[Line]:
    """All lines; nothing is wrong with any file."""
    lines, troubles = reader.read()
    assert troubles == []
    return [line for _, line in lines]


def trouble(reader: PeerFiles) -> str:
    """What is wrong; it is told once and the file is left alone."""
    lines, (one,) = reader.read()
    assert lines == []
    assert reader.read() == ([], [])
    return one.reason


def test_what_is_appended_is_read_once_and_numbered(tmp_path: Path, reader: PeerFiles) -> None:
    own = OwnFile(tmp_path, THEIRS, KEY)
    assert heard(reader) == []
    own.append([Line(0, "there", "began"), Line(0, "there", step=STEP)])
    assert heard(reader) == [Line(0, "there", "began"), Line(1, "there", step=STEP)]
    assert heard(reader) == []
    own.append([Line(0, "there", "done")])
    own.close()
    assert heard(reader) == [Line(2, "there", "done")]
    assert (tmp_path / THEIRS).stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_already_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / MINE).symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        OwnFile(tmp_path, MINE, KEY)


def test_a_full_file_still_takes_the_last_word(
    tmp_path: Path, reader: PeerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FILE", (1 << 20) + 600)
    own = OwnFile(tmp_path, THEIRS, KEY)
    own.append([Line(0, "there", step=STEP)] * 10 + [Line(0, "there", "done")])
    own.close()
    assert own.full
    lines = heard(reader)
    assert 1 <= len(lines) < 10
    assert lines[-1].state == "done"


def test_our_own_and_other_files_are_not_read(tmp_path: Path, reader: PeerFiles) -> None:
    for name in (
        MINE,
        "key",
        "notes.txt",
        "x.replicas",
        "n-run-1.replicas.old",
        "n" * 190 + "-run-1.replicas",
    ):
        (tmp_path / name).write_bytes(b"x\n")
    assert heard(reader) == []


def test_a_line_in_two_halves(tmp_path: Path, reader: PeerFiles) -> None:
    data = encode(Line(0, "there", step=STEP), KEY, THEIRS)
    (tmp_path / THEIRS).write_bytes(data[:50])
    assert heard(reader) == []
    with (tmp_path / THEIRS).open("ab") as file:
        file.write(data[50:])
    assert heard(reader) == [Line(0, "there", step=STEP)]


def test_pipes_links_and_folders_hold_nobody_up(tmp_path: Path, reader: PeerFiles) -> None:
    (tmp_path / "real").write_bytes(encode(Line(0, "a", "done"), KEY, "a-run-1.replicas"))
    (tmp_path / "a-run-1.replicas").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "b-run-1.replicas")
    (tmp_path / "c-run-1.replicas").mkdir()
    (tmp_path / "d-run-1.replicas").symlink_to("/dev/zero")
    lines, troubles = reader.read()
    assert lines == []
    assert [one.name[0] for one in troubles] == ["a", "b", "c", "d"]
    assert reader.read() == ([], [])


def test_foreign_lines_are_told_once_and_then_the_file_is_left(tmp_path: Path, reader: PeerFiles) -> None:
    good = encode(Line(0, "there", "began"), KEY, THEIRS)
    (tmp_path / THEIRS).write_bytes(b"nonsense\n" + good)
    lines, (one,) = reader.read()
    assert [line for _, line in lines] == [Line(0, "there", "began")]
    assert "key of this job" in one.reason
    with (tmp_path / THEIRS).open("ab") as file:
        file.write(b"nonsense\n" * (MAX_BAD + 1) + encode(Line(1, "there", "done"), KEY, THEIRS))
    lines, (one,) = reader.read()
    assert lines == []
    assert reader.read() == ([], [])


def test_a_line_without_an_end(tmp_path: Path, reader: PeerFiles) -> None:
    (tmp_path / THEIRS).write_bytes(b"x" * (MAX_LINE + 2))
    assert "no end" in trouble(reader)


def test_lines_left_out_and_said_again_are_noticed(tmp_path: Path, reader: PeerFiles) -> None:
    numbered = [encode(Line(at, "there", step=STEP), KEY, THEIRS) for at in range(4)]
    (tmp_path / THEIRS).write_bytes(numbered[0] + numbered[2] + numbered[1] + numbered[3])
    lines, troubles = reader.read()
    assert [line.n for _, line in lines] == [0, 2, 3]
    assert ["stands where" in one.reason for one in troubles] == [True, True]


def test_a_file_that_was_cut_or_exchanged(tmp_path: Path, reader: PeerFiles) -> None:
    path = tmp_path / THEIRS
    path.write_bytes(encode(Line(0, "there", "began"), KEY, THEIRS))
    assert len(heard(reader)) == 1
    os.truncate(path, 5)
    assert "cut" in trouble(reader)


def test_a_file_that_was_exchanged(tmp_path: Path, reader: PeerFiles) -> None:
    path = tmp_path / THEIRS
    path.write_bytes(encode(Line(0, "there", "began"), KEY, THEIRS))
    assert len(heard(reader)) == 1
    (tmp_path / "new").write_bytes(encode(Line(0, "there", "began"), KEY, THEIRS) * 3)
    (tmp_path / "new").replace(path)
    assert "exchanged" in trouble(reader)


def test_a_file_that_was_removed(tmp_path: Path, reader: PeerFiles) -> None:
    (tmp_path / THEIRS).write_bytes(encode(Line(0, "there", "began"), KEY, THEIRS))
    assert len(heard(reader)) == 1
    (tmp_path / THEIRS).unlink()
    assert "cannot be read" in trouble(reader)


def test_a_huge_file_is_read_in_portions_and_to_a_bound(
    tmp_path: Path, reader: PeerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_READ", 300)
    monkeypatch.setattr(files, "MAX_FILE", 900)
    (tmp_path / THEIRS).write_bytes(
        b"".join(encode(Line(at, "there", step=STEP), KEY, THEIRS) for at in range(50))
    )
    counts = [len(reader.read()[0]) for _ in range(3)]
    assert max(counts) <= 2
    assert "larger" in trouble(reader)


def test_only_so_many_are_followed(tmp_path: Path, reader: PeerFiles) -> None:
    for at in range(MAX_PEERS + 5):
        name = file_name(f"n{at}", RUN.format(at + 1))
        (tmp_path / name).write_bytes(encode(Line(0, "n", "began"), KEY, name))
    assert len(heard(reader)) == MAX_PEERS
    assert reader.unread == 5


def test_what_an_earlier_start_of_the_job_left_is_not_read(tmp_path: Path, reader: PeerFiles) -> None:
    now = time.time()
    for name, state, age in (("a", "held", 5.0), ("b", "began", 999.0), ("c", "began", 5.0)):
        file = file_name(name, RUN.format(1))
        (tmp_path / file).write_bytes(encode(Line(0, name, state), KEY, file))
        os.utime(tmp_path / file, (now - age, now - age))
    assert [line.node for line in heard(reader)] == ["c"]
    assert heard(reader) == []


def test_a_run_is_known_by_its_files_name() -> None:
    assert run_of(file_name("a-run-b", RUN.format(7))) == RUN.format(7)
