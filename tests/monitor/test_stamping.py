"""Records that authorities have stamped, and authorities that do not answer."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import veracity
from tests.ledger.authority import Authority
from veracity.cli.main import main
from veracity.core.errors import EvidenceError
from veracity.ledger.entry import Entry
from veracity.ledger.keys import SigningKey
from veracity.ledger.store import Ledger
from veracity.ledger.timestamp import MAX_TIMESTAMPS
from veracity.monitor.folder import RunFolder, create_folder
from veracity.monitor.stamping import read_timestamps, stamp

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = create_folder(tmp_path / "home", 1_700_000_000_000_000_000)
    with Ledger.create(made.ledger, "log.example/run", SigningKey.generate("log.example")) as ledger:
        ledger.append(Entry("note", {}).encode())
    return made


def test_authorities_that_do_not_answer_cost_their_timestamps(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veracity.monitor.stamping.LAST_SECONDS", 3.0)
    authority = Authority.create(tmp_path / "tsa")
    with authority.serving() as url, socket.create_server(("127.0.0.1", 0)) as silent:
        waiting = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        started = time.monotonic()
        told = stamp(folder, ["http://127.0.0.1:9/", url, waiting])
        assert time.monotonic() - started < 8
    assert len(told) == 2
    assert told[0].startswith("http://127.0.0.1:9/: the authority cannot be reached")
    assert told[1] == f"{waiting}: did not answer in time"
    assert [path.name for path in folder.timestamps.iterdir()] == ["2.tsr"]
    assert (folder.timestamps / "2.tsr").stat().st_mode & 0o777 == 0o600
    assert stamp(folder, []) == []


def test_timestamps_that_are_too_many_or_too_long(folder: RunFolder) -> None:
    assert read_timestamps(folder.timestamps) == []
    folder.timestamps.mkdir()
    (folder.timestamps / "1.tsr").write_bytes(bytes(1 << 17))
    with pytest.raises(EvidenceError):
        read_timestamps(folder.timestamps)
    for number in range(MAX_TIMESTAMPS + 1):
        (folder.timestamps / f"{number}.tsr").write_bytes(b"")
    with pytest.raises(EvidenceError, match="more than 16"):
        read_timestamps(folder.timestamps)


def test_a_guarded_run_is_stamped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path / "home")]
    authority = Authority.create(tmp_path / "tsa")
    with authority.serving() as url:
        words = [*home, "run", "--quiet", "--timestamp", url, "--timestamp", "http://127.0.0.1:9/"]
        done = subprocess.run(
            [sys.executable, "-m", "veracity.cli.main", *words, "--", sys.executable, "-c", "pass"],
            env={**os.environ, "PYTHONPATH": str(Path(veracity.__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0
    assert done.stderr.startswith("not stamped: http://127.0.0.1:9/: the authority cannot be reached")
    named = ["--timestamp-ca", str(authority.certificates)]
    assert main([*home, "verify", "latest", *named]) == 0
    assert "a time-stamping authority that you named had seen the tree head by 20" in capsys.readouterr().out
    bundle = str(tmp_path / "case.zip")
    assert main([*home, "bundle", "latest", "--output", bundle]) == 0
    assert main([*home, "verify", bundle, *named]) == 0
    other = Authority.create(tmp_path / "other")
    assert main([*home, "verify", bundle, "--timestamp-ca", str(other.certificates)]) == 1
    assert main([*home, "verify", "latest", "--timestamp-ca", str(other.certificates)]) == 1
    assert main([*home, "verify", "latest", "--timestamp-ca", str(tmp_path / "absent")]) == 2
    assert main([*home, "run", "--timestamp", "nonsense", "--", "true"]) == 2
