"""What cannot be read or must not be used: each verb says so in a sentence, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.seal.approving import Approving
from veracity.cli.main import main
from veracity.seal.approvals import add_to_log, log_folder

Captured = pytest.CaptureFixture[str]
HUGE = 2 << 30


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Approving:
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Approving.made(tmp_path)


WITH_THE_HOMES_KEY = [
    ["seal", "code=code"],
    ["verify", "approvals"],
    ["approve", "--list", "latest"],
    ["run", "--policy", "enforce", "--seal", "latest", "--", "true"],
    ["verify", "latest-seal"],
]


@pytest.mark.parametrize("words", WITH_THE_HOMES_KEY, ids=lambda words: "-".join(words[:2]))
@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_a_home_whose_key_others_can_use(
    made: Approving, words: list[str], mode: int, capsys: Captured
) -> None:
    made.approve("lead", "second")
    words = [made.folder.seal if word == "latest-seal" else word for word in words]
    before = sorted((made.home / "seals").iterdir())
    (made.home / "key.pem").chmod(mode)
    assert main(words) == 2
    assert f"can be used by others (mode {mode:04o})" in capsys.readouterr().err
    assert sorted((made.home / "seals").iterdir()) == before
    (made.home / "key.pem").chmod(0o600)
    assert not any((made.home / "runs").glob("*")) if (made.home / "runs").exists() else True


def test_a_clock_that_was_set_back(made: Approving, capsys: Captured) -> None:
    """By more than clocks of two machines may differ: an approval that has expired would count again."""
    made.approve("lead")
    ahead = time.time_ns() + 3600 * 10**9
    add_to_log(made.home, made.own, "approval", made.envelope("second", at=ahead), ahead)
    for words in (
        ["approve", "--list", "latest"],
        ["verify", "approvals"],
        ["approve", "latest", "--key", "lead.pem"],
        ["run", "--policy", "enforce", "--seal", "latest", "--", "true"],
    ):
        assert main(words) == 1
        assert "the clock was set back" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["hole", "one-record"])
def test_a_manifest_of_two_gigabytes(made: Approving, content: str) -> None:
    """It is read within bounds: in little memory, and to an end."""
    manifest = made.folder.manifest
    data = manifest.read_bytes()
    if content == "one-record":
        head, _, rest = data.partition(b"\n")
        name = rest.split(b" ")[0]
        manifest.write_bytes(head + b"\n" + name + b" %d\n" % HUGE)
    os.truncate(manifest, HUGE)
    done = subprocess.run(
        [sys.executable, "-m", "veracity.cli.main", "verify", made.folder.seal],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (512 << 20, 512 << 20)),
    )
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("veracity: ")


def test_a_log_that_is_no_log(made: Approving, capsys: Captured) -> None:
    made.approve("lead")
    (log_folder(made.home) / "cosigned").write_text("nonsense\n")
    (log_folder(made.home) / "checkpoint").write_text("nonsense\n")
    (log_folder(made.home) / "journal").write_bytes(b"\0" * 100)
    assert main(["verify", "approvals"]) == 2
    assert main(["approve", "latest", "--key", "second.pem"]) == 2
    assert "Traceback" not in capsys.readouterr().err
