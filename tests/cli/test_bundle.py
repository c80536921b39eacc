"""``veracity bundle``: a real record, packed and checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ledger.test_bundle import CHECKER, make
from veracity.cli.main import main
from veracity.ledger.keys import SigningKey

RUN = "run-20260102-030405-00000a"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    key = SigningKey.generate("log.example")
    folder = tmp_path / "home" / "runs" / RUN
    folder.parent.mkdir(parents=True)
    make(folder, entries=3, key=key)
    (folder / "ledger.vkey").write_text(key.verifier.vkey + "\n")
    document = {"run": RUN, "command": ["x"], "started_at": 1, "verdict": "broken"}
    (folder / "run.json").write_text(json.dumps(document))
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_a_record_is_packed_and_holds(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "latest", "--output", "case.zip"]) == 0
    assert "6 entries, 4 payloads" in capsys.readouterr().out
    checked = subprocess.run(
        [sys.executable, "-I", CHECKER, tmp_path / "case.zip"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    assert "everything holds" in checked.stdout


def test_its_usual_name_is_the_runs(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", RUN[:10], "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["bundle"] == f"{RUN}.zip"
    assert (tmp_path / f"{RUN}.zip").exists()


def test_payloads_that_are_gone_are_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    next((home / "runs" / RUN / "blobs").iterdir()).unlink()
    assert main(["bundle", "--output", "case.zip"]) == 2
    assert "1 payloads are no longer kept" in capsys.readouterr().err


def test_a_record_that_does_not_hold_is_not_packed(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "runs" / RUN / "ledger" / "tile" / "entries" / "000.p" / "6"
    path.write_bytes(path.read_bytes().replace(b'"seq":1', b'"seq":2'))
    assert main(["bundle", "--output", "case.zip"]) == 1
    assert not (tmp_path / "case.zip").exists()


def test_a_bundle_is_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "--output", "-"]) == 2
