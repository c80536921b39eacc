"""``veracity seal --sbom``: of this environment, of another, and of none."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from veracity.cli.main import main


def components(path: Path) -> dict[str, str]:
    return {one["name"]: one["version"] for one in json.loads(path.read_text())["components"]}


def test_this_environment_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the standard library finds the same distributions."""
    assert main(["seal", "--sbom", str(tmp_path / "env.json"), "--python", sys.executable]) in (0, 2)
    assert f"wrote  {tmp_path / 'env.json'}" in capsys.readouterr().out
    listed = components(tmp_path / "env.json")
    for name in ("cryptography", "pytest", "rich"):
        assert listed[name] == importlib.metadata.version(name)
    document = json.loads((tmp_path / "env.json").read_text())
    assert (
        document["metadata"]["component"]["version"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    )
    assert str(Path(sys.prefix)) not in (tmp_path / "env.json").read_text()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "venv" / "lib" / "python3.12" / "site-packages"
    (folder / "net-1.dist-info").mkdir(parents=True)
    (folder / "net-1.dist-info" / "METADATA").write_text("Name: net\nVersion: 1\n")
    (tmp_path / "venv" / "pyvenv.cfg").write_text("version = 3.12.1\n")
    (tmp_path / "venv" / "bin").mkdir()
    (tmp_path / "venv" / "bin" / "python").write_text("")
    (tmp_path / "venv" / "bin" / "python").chmod(0o755)
    return folder


def test_each_way_to_name_an_environment(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    texts = set()
    for place in (tmp_path / "venv", tmp_path / "venv" / "bin" / "python"):
        assert main(["seal", "--sbom", "-", "--python", str(place)]) == 0
        texts.add(capsys.readouterr().out)
    monkeypatch.setenv("PATH", str(tmp_path / "venv" / "bin"))
    assert main(["seal", "--sbom", "-"]) == 0
    texts.add(capsys.readouterr().out)
    assert len(texts) == 1
    assert [one["purl"] for one in json.loads(texts.pop())["components"]] == ["pkg:pypi/net@1"]


def test_what_could_not_be_read_is_incomplete(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "bad\x1b-1.dist-info").mkdir()
    assert main(["seal", "--sbom", str(tmp_path / "s.json"), "--python", str(tmp_path / "venv")]) == 2
    shown = capsys.readouterr()
    assert "not read" in shown.err
    assert "\x1b" not in shown.err
    assert json.loads((tmp_path / "s.json").read_text())["compositions"][0]["aggregate"] == "incomplete"


def test_what_is_no_environment(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "s.json")
    python = ["--python", str(tmp_path / "venv")]
    for words in (
        ["--python", str(tmp_path)],
        ["--python", str(tmp_path / "absent")],
        [str(site)],
        [*python, "--wheels", str(tmp_path)],
        [*python, "--lock", str(tmp_path)],
        [*python, "--model"],
        [*python, "--key", out],
        [*python, "--format", "json"],
    ):
        assert main(["seal", "--sbom", out, *words]) == 2
    shutil.rmtree(site / "net-1.dist-info")
    assert main(["seal", "--sbom", out, *python]) == 2
    assert "no distribution" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["seal", "--sbom", out]) == 2
    assert "no python on PATH" in capsys.readouterr().err
    assert not os.path.exists(out)
