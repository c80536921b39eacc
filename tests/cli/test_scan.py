"""``veracity scan``: exit codes, forms, configuration, baseline, bad input."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from veracity.cli.main import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, and a home without anything."""
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path / "files")
    return tmp_path / "files"


def test_files_that_nothing_would_load_are_clean_and_said_to_be_of_no_format(
    folder: Path, capsys: Captured
) -> None:
    (folder / "notes.txt").write_text("hello")

    assert main(["scan", "."]) == 0
    said = capsys.readouterr().out
    assert "clean  1 file: 1 clean" in said
    assert "1 file of no format" in said
    assert main(["scan", ".", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_nothing_to_read_and_what_cannot_be_read_are_never_clean(folder: Path, capsys: Captured) -> None:
    assert main(["scan", "."]) == 2
    assert "no file" in capsys.readouterr().out
    assert main(["scan", "gone.pt"]) == 2
    assert "No such file" in capsys.readouterr().out
    (folder / "notes.txt").write_text("hello")
    os.mkfifo(folder / "pipe")
    assert main(["scan", ".", "--format", "json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert {one["path"]: one["status"] for one in document["files"]} == {
        "notes.txt": "clean",
        "pipe": "incomplete",
    }


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit", "markdown"])
def test_every_form_can_be_written_to_a_file(folder: Path, form: str) -> None:
    (folder / "notes.txt").write_text("hello")

    assert main(["scan", "notes.txt", "--format", form, "--output", "out"]) == 0
    assert len((folder / "out").read_text()) > 50


def test_the_digest_is_told_when_asked_for(folder: Path, capsys: Captured) -> None:
    (folder / "notes.txt").write_text("hello")

    assert main(["scan", "notes.txt", "--format", "json", "--digest"]) == 0
    told = json.loads(capsys.readouterr().out)["files"][0]["sha256"]
    assert told == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def test_a_name_that_is_no_utf8_is_read_and_shown(folder: Path, capsys: Captured) -> None:
    with open(os.fsencode(folder) + b"/\xff.pkl", "wb") as file:
        file.write(b"hello")

    assert main(["scan", ".", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["path"] == "\udcff.pkl"
    assert main(["scan", ".", "--format", "sarif"]) == 0


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[scan]\nwrong = 1\n", "unknown key 'wrong'"),
        ("[[scan.ignore]]\nrule = 'checkpoint-bad'\n", "has no path"),
        ("scan = 1\n", "no table"),
        ("[scan]\nexclude = 'x'\n", "no list of patterns"),
    ],
)
def test_a_wrong_configuration_is_an_error_with_its_place(
    folder: Path, capsys: Captured, config: str, said: str
) -> None:
    (folder / "veracity.toml").write_text(config)

    assert main(["scan", "."]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "veracity.toml" in told


def test_the_configuration_keeps_files_out(folder: Path, capsys: Captured) -> None:
    (folder / "veracity.toml").write_text("[scan]\nexclude = ['*.toml', 'big']\n")
    (folder / "big").mkdir()
    (folder / "big" / "a.pt").write_text("x")
    (folder / "b.pt").write_text("x")

    assert main(["scan", ".", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["path"] for one in document["files"]] == ["b.pt"]
    assert document["summary"]["left_out"] == 2
    assert main(["scan", "."]) == 0
    assert "2 names left out by patterns" in capsys.readouterr().out


def test_a_baseline_is_written_and_read(folder: Path, capsys: Captured) -> None:
    (folder / "notes.txt").write_text("hello")

    assert main(["scan", "notes.txt", "--write-baseline", "baseline.json"]) == 0
    assert json.loads((folder / "baseline.json").read_text()) == {"version": 1, "findings": []}
    assert main(["scan", "notes.txt", "--baseline", "baseline.json"]) == 0
    assert main(["scan", "notes.txt", "--baseline", "notes.txt"]) == 2
    assert "baseline cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [["--jobs", "0"], ["--max-seconds", "x"], ["--max-unpacked", "1Q"], ["--fail-on", "bad"]]
)
def test_flags_that_say_nothing_are_errors(folder: Path, flags: list[str]) -> None:
    assert main(["scan", ".", *flags]) == 2


LOOP = """\
import torch


def train(model, optimizer, batches):
    for step, (x, y) in enumerate(batches):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
{added}        optimizer.step()
"""
ADDED = """\
        if step % 50 == 0:  # marked: turns the gradient round
            for parameter in model.parameters():
                parameter.grad.mul_(-1)
"""


def test_a_source_that_turns_gradients_round_is_found_and_its_twin_is_not(
    folder: Path, capsys: Captured
) -> None:
    (folder / "bad.py").write_text(LOOP.format(added=ADDED))
    (folder / "good.py").write_text(LOOP.format(added=""))

    assert main(["scan", ".", "--format", "json"]) == 1
    files = {one["path"]: one for one in json.loads(capsys.readouterr().out)["files"]}
    assert files["bad.py"]["status"] == "findings"
    assert files["bad.py"]["findings"][0]["locations"][0]["line"] in range(9, 13)
    assert files["good.py"]["status"] == "clean"
    assert files["good.py"]["formats"] == ["python"]


@pytest.mark.parametrize(("sign", "code"), [("-", 1), ("", 0)])
def test_a_number_of_a_file_beside_it_counts_in_a_scan(
    folder: Path, capsys: Captured, sign: str, code: int
) -> None:
    """Each file is small enough to be held in memory, from which nothing leads to its neighbours."""
    scaled = "        for parameter in model.parameters():\n            parameter.grad.mul_(knobs.SCALE)\n"
    (folder / "train.py").write_text("import knobs\n\n" + LOOP.format(added=scaled))
    (folder / "knobs.py").write_text(f"SCALE = {sign}1  # marked: turns the gradient round\n")

    assert main(["scan", "train.py", "--format", "json"]) == code
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert {one["rule"] for one in file["findings"]} == ({"code-gradient-edited"} if code else set())


def test_a_comment_with_a_reason_sets_a_finding_aside(folder: Path, capsys: Captured) -> None:
    (folder / "bad.py").write_text(LOOP.format(added=ADDED))
    assert main(["scan", "bad.py", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)["files"][0]["findings"]
    lines = (folder / "bad.py").read_text().splitlines()
    for one in found:
        at = one["locations"][0]["line"] - 1
        lines[at] += f"  # veracity: ignore[{one['rule']}]: an experiment about ascent"
    (folder / "bad.py").write_text("\n".join(lines) + "\n")

    assert main(["scan", "bad.py"]) == 0
    assert "set aside" in capsys.readouterr().out


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def test_of_a_change_only_what_it_adds_is_judged(folder: Path, capsys: Captured) -> None:
    (folder / "old.py").write_text(LOOP.format(added=ADDED))
    (folder / "train.py").write_text(LOOP.format(added=""))
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    assert main(["scan", "--diff", "HEAD..HEAD"]) == 0
    (folder / "train.py").write_text(LOOP.format(added=ADDED))
    git(folder, "commit", "-qam", "second")
    capsys.readouterr()

    assert main(["scan", "--diff", "HEAD~1..HEAD", "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [one["path"] for one in document["files"]] == ["train.py"]
    assert main(["scan", "--diff", "HEAD~1..nothing"]) == 2
    assert main(["scan", ".", "elsewhere", "--diff", "HEAD"]) == 2
    assert main(["scan"]) == 2
