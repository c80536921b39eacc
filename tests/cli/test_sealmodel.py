"""``veracity seal --model`` and ``veracity verify model.sig``: flags, words and exit codes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from veracity.cli.main import main
from veracity.ledger.eckeys import EcPublicKey, EcSigningKey


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"w")
    return folder


def test_signed_and_verified_with_the_homes_key(
    home: Path, net: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["seal", "--model", str(net)]) == 0
    shown = capsys.readouterr().out
    assert f"signed  {net / 'model.sig'}" in shown
    assert str(home / "model-key.pub.pem") in shown
    assert stat.S_IMODE((home / "model-key.pem").stat().st_mode) == 0o600
    key = EcSigningKey.load(home / "model-key.pem").verifier
    assert EcPublicKey((home / "model-key.pub.pem").read_bytes()) == key
    for name in (net / "model.sig", net):
        assert main(["verify", str(name)]) == 0
        shown = capsys.readouterr().out
        assert "as it was signed: 1 file, 1 byte read again" in shown
        assert "not covered  model.sig" in shown


def test_a_change_is_named_and_counts(home: Path, net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seal", "--model", str(net), "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [one["files"] for one in made["signed"]] == [1]
    (net / "weights.bin").write_bytes(b"W")
    (net / "evil\x1b.py").write_bytes(b"")
    assert main(["verify", str(net / "model.sig")]) == 1
    shown = capsys.readouterr().out
    assert "content changed" in shown
    assert "evil%1B.py" in shown
    assert main(["verify", str(net), "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {one["path"]: one["change"] for one in found["changed"]} == {
        "weights.bin": "content changed",
        "evil%1B.py": "added",
    }
    assert found["key"] == made["signed"][0]["key"]


def test_keys_of_ones_own(home: Path, net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = EcSigningKey.load_or_create(tmp_path / "key.pem")
    (tmp_path / "public.pem").write_bytes(key.verifier.pem)
    assert main(["seal", "--model", str(net), "--key", str(tmp_path / "key.pem"), "--quiet"]) == 0
    assert not home.exists()
    assert main(["verify", str(net)]) == 2
    assert "--key" in capsys.readouterr().err
    assert main(["verify", str(net), "--key", str(tmp_path / "public.pem")]) == 0
    other = EcSigningKey.generate().verifier.pem
    (tmp_path / "public.pem").write_bytes(other)
    assert main(["verify", str(net), "--key", str(tmp_path / "public.pem")]) == 1
    assert "another key" in capsys.readouterr().err
    (tmp_path / "key.pem").chmod(0o644)
    assert main(["seal", "--model", str(net), "--key", str(tmp_path / "key.pem")]) == 2
    assert "can be used by others" in capsys.readouterr().err


def test_where_signatures_lie(
    home: Path, net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["seal", "--model", str(net), "--signature", str(tmp_path / "out.sig")]) == 0
    assert main(["verify", str(tmp_path / "out.sig")]) == 2
    assert "--at PATH" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "out.sig"), "--at", str(net)]) == 0
    assert main(["seal", "--model", str(net / "weights.bin"), str(net)]) == 0
    assert main(["verify", str(net / "weights.bin.sig")]) == 0
    assert main(["verify", str(net)]) == 0
    assert main(["seal", "--model", str(net), str(net), "--signature", "x.sig"]) == 2
    assert main(["seal", "--model", str(tmp_path / "absent")]) == 2
    assert main(["verify", str(tmp_path / "out.sig"), "--at", "a", "--at", "b"]) == 2
    assert main(["verify", str(tmp_path / "absent.sig"), "--at", str(net)]) == 2


def test_model_flags_are_for_models(home: Path, net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--follow-links"], ["--ignore", "x"], ["--signature", "x"]):
        assert main(["seal", str(net), *words]) == 2
        assert "--model" in capsys.readouterr().err
    for words in (["--python", "x"], ["--sbom", "x"], ["--lock", "x"], ["--wheels", "x"]):
        assert main(["seal", "--model", str(net), *words]) == 2
        assert "by itself" in capsys.readouterr().err
    assert not home.exists()


def test_what_could_not_be_read_is_incomplete(
    home: Path, net: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["seal", "--model", "--follow-links", str(net)]) == 0
    os.symlink(net, net / "way")
    assert main(["verify", str(net)]) == 2
    assert "not read  way: it is a link to a folder" in capsys.readouterr().out
