"""``--level`` of ``seal``, ``verify`` and ``run --seal``."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.observe.looking import settle, settle_soon
from tests.seal.approving import Approving
from veracity.cli.main import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settle_soon(monkeypatch, tmp_path)
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for number in range(2_000):
        shard = folder / f"part{number % 2}" / f"shard{number:04}"
        shard.parent.mkdir(parents=True, exist_ok=True)
        shard.write_text(str(number))
    settle()
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> dict[str, Any]:
    assert main([*map(str, words), "--format", "json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def looked(document: dict[str, Any]) -> tuple[str, int, int]:
    (part,) = document["compared"]
    found = part["looked"]
    return found["level"], found["read"], found["by_stat"]


def test_every_result_says_its_level(home: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seal = said(capsys, "seal", f"data={data}")["seal"]
    assert looked(said(capsys, "verify", seal)) == ("full", 2000, 0)
    assert looked(said(capsys, "verify", seal, "--level", "stat")) == ("stat", 2000, 0)
    assert looked(said(capsys, "verify", seal, "--level", "stat")) == ("stat", 0, 2000)
    level, read, passed = looked(said(capsys, "verify", seal, "--level", "sample=10%"))
    assert (level, read + passed) == ("sample=10%", 2000)
    assert 100 < read < 320
    assert looked(said(capsys, "verify", seal, "--level", "kernel")) == ("kernel-verified", 2000, 0)
    assert main(["verify", seal, "--level", "stat"]) == 0
    text = capsys.readouterr().out
    assert "data is as it was sealed: 2,000 files, 0 of them read again (0 bytes)" in text
    assert "level stat: 0 of 2,000 files read" in text
    assert "not seen: " in text
    assert main(["verify", seal]) == 0
    assert "level full: every byte was read" in capsys.readouterr().out


def test_a_change_is_found_at_every_level(home: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seal = said(capsys, "seal", f"data={data}", "--level", "stat")["seal"]
    shard = data / "part1" / "shard0001"
    before = shard.stat()
    shard.write_text("2")
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    for level in ("full", "kernel", "stat", "sample"):
        for _ in range(2):  # the second time the change itself is remembered
            found = said(capsys, "verify", seal, "--level", level, code=1)
            assert [one["path"] for one in found["compared"][0]["changed"]] == ["part1/shard0001"]


def test_sealing_again_reads_and_writes_what_changed(
    home: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = said(capsys, "seal", f"data={data}", "--level", "stat")
    assert (first["read"]["level"], first["read"]["read"]) == ("stat", 2000)
    (data / "part0" / "shard0100").write_text("other")
    manifest = home / "seals" / first["seal"] / "manifest"
    size = manifest.stat().st_size
    second = said(capsys, "seal", f"data={data}", "--level", "stat")
    assert (second["read"]["read"], second["read"]["by_stat"]) == (1, 1999)
    again = home / "seals" / second["seal"] / "manifest"
    assert again.samefile(manifest)
    assert again.stat().st_size - size < 40_000
    assert said(capsys, "verify", first["seal"], code=1)["compared"][0]["changed"]
    assert said(capsys, "verify", second["seal"])["compared"][0]["changed"] == []
    plain = said(capsys, "seal", f"data={data}")
    assert plain["read"] is None
    assert plain["parts"] == second["parts"]
    assert said(capsys, "seal", "diff", second["seal"], plain["seal"])["compared"][0]["changed"] == []


def test_a_manifest_that_does_not_hold_is_not_gone_on_with(
    home: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = said(capsys, "seal", f"data={data}", "--level", "stat")["seal"]
    manifest = home / "seals" / first / "manifest"
    content = bytearray(manifest.read_bytes())
    content[-3] ^= 1
    manifest.write_bytes(content)
    second = said(capsys, "seal", f"data={data}", "--level", "stat")["seal"]
    assert not (home / "seals" / second / "manifest").samefile(manifest)
    assert said(capsys, "verify", second)["compared"][0]["changed"] == []


def test_a_seal_says_the_level_that_it_was_made_at(
    home: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["seal", f"data={data}", "--level", "stat"]) == 0
    assert "level stat: 2,000 of 2,000 files read" in capsys.readouterr().out
    read = said(capsys, "verify", "seal-")["read"]
    assert (read["level"], read["files"], read["read"]) == ("stat", 2000, 2000)


def test_a_home_in_what_is_sealed_cannot_remember(
    tmp_path: Path, home: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(data / "home"), "seal", f"data={data}", "--level", "stat"]) == 2
    assert "the home lies in what is read" in capsys.readouterr().err
    assert list((data / "home" / "seals").iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "latest", "--level", "stat"],
        ["verify", "x.zip", "--level", "stat"],
        ["verify", "seal-", "--level", "quick"],
        ["seal", "--sbom", "x", "--level", "stat"],
        ["seal", "diff", "a", "b", "--level", "stat"],
        ["run", "--level", "stat", "--", "true"],
    ],
)
def test_levels_are_for_seals(home: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "level" in capsys.readouterr().err


def test_a_policy_is_not_weakened_by_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle_soon(monkeypatch, tmp_path)
    made = Approving.made(tmp_path)
    monkeypatch.chdir(tmp_path)
    start = ["--home", str(made.home), "run", "--seal", "latest", "--policy", "enforce"]
    for top, flag in (("", "kernel"), ('level = "sample=2%"', "sample=1%"), ('level = "kernel"', "stat")):
        made.write_policy(top=top)
        assert main([*start, "--level", flag, "--", "true"]) == 2
        assert "may miss what that finds" in capsys.readouterr().err
    made.write_policy(top='level = "stat"')
    assert main([*start, "--level", "full", "--", "true"]) == 1  # nobody approved it, which is asked next
    assert "not approved" in capsys.readouterr().err


def test_what_lies_in_a_repository_is_read_at_every_level(
    home: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files are compared with what git has of them, by their content."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "data")):
        subprocess.run(["git", "-C", data, *words], check=True)
    settle()
    seal = said(capsys, "seal", f"data={data}", "--level", "stat")["seal"]
    for _ in range(2):
        found = said(capsys, "verify", seal, "--level", "stat")["compared"][0]["looked"]
        assert (found["level"], found["read"]) == ("stat", 2000)
        assert any("git" in one for one in found["because"])


def test_other_names_of_a_file_are_told_without_reading_it(
    tmp_path: Path, home: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.link(data / "part0" / "shard0000", tmp_path / "elsewhere")
    settle()
    seals = [said(capsys, "seal", f"data={data}", "--level", "stat") for _ in range(2)]
    assert [one["read"]["read"] for one in seals] == [2000, 0]
    assert seals[0]["links"] == seals[1]["links"]
    assert seals[1]["links"]["elsewhere"] == 1
