"""``veracity witness`` as a process: it says its key, cosigns, and ends by a signal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import veracity
from tests.ledger.witness.test_record import Log
from veracity.cli.main import main
from veracity.cli.witness import address_of
from veracity.core.errors import UsageError
from veracity.ledger.note import parse_note
from veracity.ledger.witness.asking import KnownWitness, ask
from veracity.ledger.witness.cosignature import WitnessKey, verify_cosignature


@contextmanager
def serving(folder: Path, vkey: str) -> Iterator[tuple[subprocess.Popen[str], KnownWitness]]:
    """A witness of the log with this key, as a process."""
    (folder / "logs").write_text(f"# the training cluster's\n{vkey}\n")
    words = ["witness", "--log", str(folder / "logs"), "--listen", "127.0.0.1:0", "--name", "w.example"]
    process = subprocess.Popen(
        [sys.executable, "-m", "veracity.cli.main", *words, "--state", str(folder / "state")],
        env={**os.environ, "PYTHONPATH": str(Path(veracity.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            key = WitnessKey.parse(process.stdout.readline())
            told = re.search(r"cosigning for 1 key of logs at (http://\S+)/add", process.stderr.readline())
            assert told is not None
            yield process, KnownWitness(told[1], key)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def test_a_witness_serves_and_remembers(tmp_path: Path) -> None:
    log = Log()
    with serving(tmp_path, log.key.verifier.vkey) as (process, known):
        head = ask(known, log.head(50), log.leaves)
        assert verify_cosignature(parse_note(head.signed), known.key) > 0
    assert process.returncode == 0
    with serving(tmp_path, log.key.verifier.vkey) as (_, again):
        assert again.key == known.key
        head = ask(again, log.head(70), log.leaves)
        assert verify_cosignature(parse_note(head.signed), known.key) > 0
    assert (tmp_path / "state" / "key.pem").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["witness", "--log", str(tmp_path / "absent")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "empty").write_text("\n")
    assert main(["witness", "--log", str(tmp_path / "empty")]) == 2
    assert "no public key" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["8765", ":1", "h:", "h:x", "h:99999"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError):
        address_of(text)


def test_addresses() -> None:
    assert address_of("127.0.0.1:0") == ("127.0.0.1", 0)
    assert address_of("[::1]:80") == ("::1", 80)
