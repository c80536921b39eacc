"""``veracity bundle``: a real record, packed and checked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ledger.test_bundle import CHECKER, make
from veracity.cli.main import main
from veracity.ledger.keys import SigningKey
from veracity.ledger.witness.cosignature import WitnessKey

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
    assert "1 payload is no longer kept" in capsys.readouterr().err


def test_a_record_that_does_not_hold_is_not_packed(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "runs" / RUN / "ledger" / "tile" / "entries" / "000.p" / "6"
    path.write_bytes(path.read_bytes().replace(b'"seq":1', b'"seq":2'))
    assert main(["bundle", "--output", "case.zip"]) == 1
    assert not (tmp_path / "case.zip").exists()


def test_a_bundle_is_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "--output", "-"]) == 2


# --- proofs of single entries ---------------------------------------------------------------------------


def test_one_entry_is_proved_and_verified(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = home / "runs" / RUN / "ledger.vkey"
    assert main(["bundle", "latest", "--entry", "1"]) == 0
    name = f"{RUN}-1.tlog-proof"
    assert f"proved  {name}" in capsys.readouterr().out
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert main(["verify", name, "--key", str(key)]) == 0
    said = capsys.readouterr().out
    assert "1. log.example signed the tree head of log.example/run: 6 entries" in said
    assert "3. entry 1, of kind record, is in that tree" in said
    assert 'entry 1: {"frame":"sha256:' in said
    assert main(["verify", name, "--key", str(key), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["index"], document["kind"], document["entry"]["seq"]) == (1, "record", 1)
    assert main(["bundle", "latest", "--entry", "1", "--output", "-"]) == 0
    assert capsys.readouterr().out.encode() == (tmp_path / name).read_bytes()


def test_a_proof_is_held_against_a_key_from_elsewhere(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "--entry", "0", "--output", "x.tlog-proof", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"proof": "x.tlog-proof", "entry": 0, "entries": 6}
    assert main(["verify", "x.tlog-proof"]) == 2
    assert "--key FILE" in capsys.readouterr().err
    (tmp_path / "other.vkey").write_text(SigningKey.generate("log.example").verifier.vkey)
    assert main(["verify", "x.tlog-proof", "--key", "other.vkey"]) == 1
    log = (home / "runs" / RUN / "ledger.vkey").read_text().strip()
    policy = tmp_path / "log.policy"
    policy.write_text(f"log {log}\nquorum none\n")
    assert main(["verify", "x.tlog-proof", "--witness-policy", str(policy)]) == 0
    witness = WitnessKey(SigningKey.generate("w").verifier).vkey
    assert main(["verify", "x.tlog-proof", "--witness-policy", str(policy), "--witness", witness]) == 2
    policy.write_text(f"log {log}\nwitness w {witness}\nquorum w\n")
    assert main(["verify", "x.tlog-proof", "--witness-policy", str(policy)]) == 1
    assert "w has not cosigned it" in capsys.readouterr().err
    assert main(["bundle", "--entry", "0", "--witness-policy", str(policy)]) == 2
    data = (tmp_path / "x.tlog-proof").read_bytes()
    (tmp_path / "x.tlog-proof").write_bytes(data.replace(b"index 0", b"index 1"))
    assert main(["verify", "x.tlog-proof", "--key", str(home / "runs" / RUN / "ledger.vkey")]) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["bundle", "--entry", "6"],
        ["bundle", "--entry", "-1"],
        ["bundle", "--entry", "x"],
        ["bundle", "--entry", "1", "--output", "x.zip"],
        ["verify", "absent.tlog-proof", "--key", "absent"],
        ["verify", "absent.tlog-proof", "--at", "code=x"],
    ],
)
def test_proofs_that_cannot_be(home: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2


# --- custody --------------------------------------------------------------------------------------------


def test_a_bundle_is_handed_on_and_verified(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "--output", "1.zip"]) == 0
    signer = SigningKey.load_or_create(home / "key.pem", "veracity.local")
    assert main(["bundle", "1.zip", "--to", "the desk", "--note", "by hand", "--output", "2.zip"]) == 0
    assert "and now to the desk, signed with this home's key" in capsys.readouterr().out
    words = ["bundle", "2.zip", "--to", "court", "--unsigned", "--output", "3.zip"]
    assert main([*words, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bundle": "3.zip", "custody": 3}
    key = home / "runs" / RUN / "ledger.vkey"
    assert main(["verify", "3.zip", "--key", str(key)]) == 0
    said = capsys.readouterr().out
    assert "the key that you named is taken: log.example+" in said
    assert "handed on to the desk at 20" in said
    assert f"(by hand), as they say; signed by a key that you did not name: {signer.verifier.vkey}" in said
    assert "handed on to court" in said
    assert main(["verify", "3.zip", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["bundle"], document["verified"], document["lacking"]) == ("3.zip", True, [])


def test_a_bundle_that_lacks_something_is_incomplete(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next((home / "runs" / RUN / "blobs").iterdir()).unlink()
    assert main(["bundle", "--output", "1.zip"]) == 2
    assert main(["verify", "1.zip"]) == 2
    captured = capsys.readouterr()
    assert "incomplete  1.zip" in captured.out
    assert "1 payloads are missing" in captured.err
    other = tmp_path / "other.vkey"
    other.write_text(SigningKey.generate("log.example").verifier.vkey)
    assert main(["verify", "1.zip", "--key", str(other)]) == 1
    policy = tmp_path / "w.policy"
    policy.write_text(f"witness w {WitnessKey(SigningKey.generate('w').verifier).vkey}\nquorum w\n")
    assert main(["verify", "1.zip", "--witness-policy", str(policy)]) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["bundle", "1.zip", "--output", "2.zip"],
        ["bundle", "1.zip", "--to", "x"],
        ["bundle", "1.zip", "--to", "x", "--output", "-"],
        ["bundle", "1.zip", "--to", "x", "--entry", "1", "--output", "2.zip"],
        ["bundle", "1.zip", "--to", "a\nb", "--output", "2.zip"],
        ["bundle", "absent.zip", "--to", "x", "--output", "2.zip"],
        ["verify", "absent.zip"],
        ["verify", "1.zip", "--at", "code=x"],
    ],
)
def test_bundles_that_are_not_handed_on(
    home: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "--output", "1.zip"]) == 0
    assert main(words) == 2
    assert not (tmp_path / "2.zip").exists()


# --- names behind pseudonyms ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--redact", "all"], "go together"),
        (["--redaction-key", "n.key"], "go together"),
        (["--redact", "all", "--redaction-key", "n.key", "--entry", "1"], "handed on as it is"),
        (["--redact", "names", "--redaction-key", "n.key"], "no class of names: 'names'"),
        (["--redact", "all", "--redaction-key", "case.zip"], "are two files"),
        (["--redact", "all", "--redaction-key", "n.key"], "signed by the record's key, and it is not here"),
    ],
)
def test_what_is_no_redaction(
    home: Path, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record's key is another than the home's, which is asked last."""
    SigningKey.load_or_create(home / "key.pem", "veracity.local")
    if "names" in words:
        key = SigningKey.load(home / "key.pem", "veracity.local")
        (home / "runs" / RUN / "ledger.vkey").write_text(key.verifier.vkey + "\n")
    assert main(["bundle", "--output", "case.zip", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "case.zip").exists()
    assert not (tmp_path / "n.key").exists()


def test_a_bundle_is_redacted_by_who_has_nothing_else(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["bundle", "--output", "case.zip"]) == 0
    shutil.rmtree(home)
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "desk"))
    capsys.readouterr()
    words = ["bundle", "case.zip", "--redact", "all", "--redaction-key", "n.key", "--output", "shown.zip"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "packed  shown.zip" in said.out
    assert "verifiers call it another's word" in said.err
    assert (tmp_path / "n.key").stat().st_mode & 0o777 == 0o600
    assert main(["verify", "shown.zip", "--redaction-key", "n.key"]) == 2
    assert "which is not the log's key" in capsys.readouterr().out
    for wrong, reason in (
        ([*words[:-1], "case.zip"], "is another file"),
        (words[:-2], "a bundle is a file"),
        ([*words[:4], *words[6:]], "go together"),
    ):
        assert main(wrong) == 2
        assert reason in capsys.readouterr().err
