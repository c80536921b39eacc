"""The verbs that read: runs, show, report, verify, attach, demo."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.render import samples
from veracity.cli.main import main
from veracity.core.errors import VerificationError
from veracity.ledger.keys import SigningKey
from veracity.ledger.witness.cosignature import WitnessKey
from veracity.render import text

Put = Callable[..., None]
Captured = pytest.CaptureFixture[str]


def test_runs_lists_newest_first(home: Path, capsys: Captured) -> None:
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["broken", "held", "incomplete", "unfinished"]
    assert main(["runs", "--format", "json", "--limit", "1"]) == 0
    rows = json.loads(capsys.readouterr().out)
    shown = {"run", "started_at", "command", "verdict", "override", "reason"}
    assert [set(row) for row in rows] == [shown]
    assert rows[0]["run"] == samples.RUN


@pytest.mark.parametrize(
    ("run", "verdict", "code"),
    [
        ("latest", "broken", 1),
        ("run-20250301", "held", 0),
        ("20250228", "incomplete", 2),
        ("run-20250227-080000-00000c", "unfinished", 2),
    ],
)
def test_show_prints_the_run_and_exits_by_its_verdict(
    run: str, verdict: str, code: int, home: Path, capsys: Captured
) -> None:
    assert main(["show", run]) == code
    assert capsys.readouterr().out.startswith(f"{verdict}  ")
    assert main(["show", run, "--format", "json"]) == code
    assert json.loads(capsys.readouterr().out)["verdict"] == verdict


def test_show_without_a_name_shows_the_newest(home: Path, capsys: Captured) -> None:
    assert main(["show"]) == 1
    assert capsys.readouterr().out == text.show(samples.broken())


def test_show_quietly_is_one_line(home: Path, capsys: Captured) -> None:
    assert main(["--quiet", "show"]) == 1
    assert capsys.readouterr().out == text.headline(samples.broken())


def test_show_of_an_unknown_run_names_near_ones(home: Path, capsys: Captured) -> None:
    assert main(["show", "run-20250302-140211-a1b2c4"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert samples.RUN in captured.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_only(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["show"]) == 1
    assert "\x1b[" in terminal.getvalue()
    target = tmp_path / "run.txt"
    assert main(["show", "--output", str(target)]) == 1
    assert target.read_text() == text.show(samples.broken())
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    monkeypatch.setattr(sys, "stdout", plain)
    assert main(["show"]) == 1
    assert plain.getvalue() == text.show(samples.broken())


def test_report_is_put_into_the_run_or_where_asked(home: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main(["report"]) == 0
    written = home / "runs" / samples.RUN / "report.html"
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"report: {written}\n")
    assert written.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert main(["report", "run-20250301", "--output", str(tmp_path / "r.html"), "--quiet"]) == 0
    assert "held" in (tmp_path / "r.html").read_text("utf-8")
    assert capsys.readouterr().err == ""
    assert main(["report", "--output", "-"]) == 0
    assert capsys.readouterr().out == written.read_text("utf-8")


def test_a_file_that_cannot_be_written_is_a_sentence_and_leaves_nothing(
    home: Path, tmp_path: Path, capsys: Captured
) -> None:
    target = tmp_path / "missing" / "r.html"
    assert main(["report", "--output", str(target)]) == 2
    assert capsys.readouterr().err == f"veracity: No such file or directory: {target}\n"
    (tmp_path / "folder").mkdir()
    assert main(["report", "--output", str(tmp_path / "folder")]) == 2
    assert "Is a directory" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "home"]


def test_output_to_a_device_does_not_replace_it(home: Path) -> None:
    assert main(["show", "--output", "/dev/null"]) == 1
    assert Path("/dev/null").is_char_device()


def test_verify_says_what_was_checked(home: Path, put: Put, capsys: Captured) -> None:
    put(
        "veracity.monitor.verify",
        verify_run=lambda folder, *_: [f"{folder.name} was read\x1b", "and so on"],
    )
    assert main(["verify"]) == 0
    assert (
        capsys.readouterr().out
        == f"verified  {samples.RUN}\n  1. {samples.RUN} was read\\x1b\n  2. and so on\n"
    )
    assert main(["verify", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is True
    assert main(["verify", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_verify_of_an_edited_record_exits_1(home: Path, put: Put, capsys: Captured) -> None:
    def refuse(folder: Path, *_: object) -> list[str]:
        raise VerificationError("entry 7 is not what was signed", where=str(folder))

    put("veracity.monitor.verify", verify_run=refuse)
    assert main(["verify"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "entry 7 is not what was signed" in captured.err


def test_attach_shows_the_run_it_took_up(home: Path, put: Put, capsys: Captured) -> None:
    asked = []

    def attach_run(given: Path, run: str) -> object:
        asked.append((given, run))
        return samples.held()

    put("veracity.monitor.attach", attach_run=attach_run)
    assert main(["attach", "run-20250227"]) == 0
    assert asked == [(home, "run-20250227-080000-00000c")]
    assert capsys.readouterr().out.startswith("held  ")
    assert main(["attach", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "held"


def test_attach_asks_witnesses_for_what_it_added(home: Path, put: Put, capsys: Captured) -> None:
    put("veracity.monitor.attach", attach_run=lambda *_: samples.held())
    key = WitnessKey(SigningKey.generate("w").verifier).vkey
    words = ["--witness", f"http://127.0.0.1:9={key}", "--timestamp", "http://127.0.0.1:9/"]
    assert main(["attach", "run-20250227", *words]) == 0
    said = capsys.readouterr().err
    assert "not cosigned: " in said
    assert "not stamped: " in said
    assert main(["attach", "run-20250227", "--witness", "nonsense"]) == 2
    assert main(["attach", "run-20250227", "--timestamp", "nonsense"]) == 2


def test_demo_passes_home_and_quiet_on(home: Path, put: Put) -> None:
    asked = []

    def run_demo(given: Path, quiet: bool) -> int:
        asked.append((given, quiet))
        return 1

    put("veracity.drill.demo", run_demo=run_demo)
    assert main(["demo", "--quiet"]) == 1
    assert asked == [(home, True)]
