"""One key for all who come, and no trust in what another account could have put there."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from veracity.core.errors import EvidenceError
from veracity.monitor.nodes import meeting
from veracity.monitor.nodes.meeting import meet


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "WAIT", 0.2)


def test_all_who_come_at_once_have_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        met = list(pool.map(lambda _: meet(tmp_path / "jobs" / "j"), range(64)))
    assert len({one.key for one in met}) == 1
    assert len(met[0].key) == 32
    assert (tmp_path / "jobs" / "j" / "key").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path / "jobs" / "j") == ["key"]


def test_other_jobs_have_other_keys(tmp_path: Path) -> None:
    assert meet(tmp_path / "a").key != meet(tmp_path / "b").key


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*args: object, **more: object) -> None:
        raise PermissionError(1, "not supported")

    monkeypatch.setattr(os, "link", link)
    assert meet(tmp_path / "j").key == meet(tmp_path / "j").key


def made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder / "key"


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    key = made(tmp_path / "j")
    key.write_text("0" * 64 + "\n")
    key.chmod(0o640)
    with pytest.raises(EvidenceError, match="others may read it"):
        meet(tmp_path / "j")


def test_a_link_in_place_of_the_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("0" * 64 + "\n")
    made(tmp_path / "j").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EvidenceError):
        meet(tmp_path / "j")


def test_a_pipe_in_place_of_the_key_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(made(tmp_path / "j"), 0o600)
    with pytest.raises(EvidenceError, match="no regular file"):
        meet(tmp_path / "j")


@pytest.mark.parametrize("text", ["", "short\n", "z" * 64 + "\n", "0" * 65 + "\n", "0" * 64 + "\n\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    key = made(tmp_path / "j")
    key.write_text(text)
    key.chmod(0o600)
    with pytest.raises(EvidenceError, match="not one"):
        meet(tmp_path / "j")


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "j")
    (tmp_path / "j").chmod(0o770)
    with pytest.raises(EvidenceError, match="others may write"):
        meet(tmp_path / "j")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("name", ["j", "j/key"])
def test_what_belongs_to_another_account_is_refused(tmp_path: Path, name: str) -> None:
    meet(tmp_path / "j")
    os.chown(tmp_path / name, 12345, 12345)
    with pytest.raises(EvidenceError, match="another account"):
        meet(tmp_path / "j")


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "j").symlink_to(tmp_path / "real")
    with pytest.raises(EvidenceError, match="not a folder"):
        meet(tmp_path / "j")


def test_a_file_in_the_way_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvidenceError):
        meet(tmp_path / "file" / "j")
