from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from veracity.cli.checkup import NOTE, OK, PROBLEM, Line, examine
from veracity.cli.main import main

Captured = pytest.CaptureFixture[str]


def line(home: Path, subject: str) -> Line:
    return next(one for one in examine(home) if one.subject == subject)


def private(path: Path) -> Path:
    path.mkdir(mode=0o700)
    path.chmod(0o700)
    return path


def test_every_line_that_is_not_ok_says_what_to_do(tmp_path: Path) -> None:
    lines = examine(tmp_path / "home")
    assert len(lines) == 10
    assert [one for one in lines if one.state != OK and not one.remedy] == []
    assert {one.state for one in lines} <= {OK, NOTE, PROBLEM}


def test_a_good_home(tmp_path: Path) -> None:
    home = private(tmp_path / "home")
    assert line(home, "home").state == OK
    assert list(home.iterdir()) == []
    assert line(tmp_path / "not" / "yet", "home").state == OK
    assert not (tmp_path / "not").exists()


def test_homes_that_will_not_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert line(tmp_path / "file", "home").state == PROBLEM
    assert line(tmp_path / "file" / "below", "home").state == PROBLEM
    home = private(tmp_path / "home")
    home.chmod(0o755)
    assert line(home, "home").state == NOTE
    home.chmod(0o777)
    assert line(home, "home").state == PROBLEM


def test_a_key_that_others_can_read_is_a_problem(tmp_path: Path) -> None:
    home = private(tmp_path / "home")
    key = home / "ledger.key"
    key.write_text("secret")
    key.chmod(0o600)
    assert line(home, "signing key").state == OK
    key.chmod(0o640)
    found = line(home, "signing key")
    assert (found.state, found.remedy) == (PROBLEM, f"chmod 600 '{key}'")


def test_a_deep_home_is_noted(tmp_path: Path) -> None:
    assert line(tmp_path / ("deep" * 20), "unix socket").state == NOTE


def test_torch_is_found_by_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/false\n")
    python.chmod(0o755)
    monkeypatch.setenv("PATH", str(python.parent))
    assert line(tmp_path, "torch").state == NOTE
    (tmp_path / "env/lib/python3.11/site-packages/torch-2.13.0+cpu.dist-info").mkdir(parents=True)
    assert line(tmp_path, "torch").seen == f"torch-2.13.0+cpu in {python}"
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert line(tmp_path, "torch").seen == "no python on the path"


def test_without_a_tool_for_stacks_it_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    found = line(tmp_path, "slow steps")
    assert (found.state, found.remedy) == (NOTE, "pip install 'veracity[pyspy]'")


def test_a_check_that_fails_is_a_problem_and_not_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(shutil, "disk_usage", fail)
    found = next(one for one in examine(tmp_path) if one.subject == "disk space")
    assert found.state == PROBLEM
    assert "gone" in found.seen


def test_exit_code_and_forms(tmp_path: Path, capsys: Captured) -> None:
    home = private(tmp_path / "home")
    assert main(["doctor", "--home", str(home)]) == 0
    assert "tamper-visible only" in capsys.readouterr().out
    os.chmod(home, 0o777)
    assert main(["doctor", "--home", str(home), "--format", "json"]) == 2
    rows = json.loads(capsys.readouterr().out)
    assert [row["subject"] for row in rows if row["state"] == PROBLEM] == ["home"]
    assert set(rows[0]) == {"subject", "state", "seen", "remedy"}
    assert main(["doctor", "--home", str(home), "--quiet"]) == 2
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines() if not row.startswith(" ")] == [
        "problem"
    ]
