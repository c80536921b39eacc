"""The demonstration end to end, with real training in the smallest size that shows it."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.render import samples
from veracity.core.errors import UsageError
from veracity.core.finding import Finding
from veracity.core.summary import RunSummary
from veracity.core.verdict import Outcome
from veracity.drill import demo, interpreter
from veracity.drill.demo import DemoSize, run_demo
from veracity.drill.interpreter import find_torch
from veracity.drill.sabotage import MARK
from veracity.monitor.home import Home
from veracity.monitor.summary import load_summary

FLAGS = """
    --n-layer=1 --n-head=2 --n-embd=32 --block-size=16 --batch-size=8 --max-chars=20000
    --threads=1 --workers=0
"""
SIZE = DemoSize(12, 20, tuple(FLAGS.split()))


def installed() -> dict[str, str]:
    """Digests of what the demonstration edits copies of, and of the bytecode beside it."""
    package = find_torch(sys.executable)
    assert package is not None
    files = sorted((package / "optim").glob("*.py")) + sorted((package / "optim" / "__pycache__").iterdir())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def found(summary: RunSummary, rule: str) -> Finding:
    return next(finding for finding in summary.findings if finding.breaks and finding.rule == rule)


@pytest.mark.serial
def test_the_clean_run_holds_and_both_changes_are_caught(
    tmp_path: Path, warm_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = installed()
    assert run_demo(warm_home, False, SIZE) == 0
    assert installed() == before
    assert list(scratch.iterdir()) == [], "the shadow and the checkpoints are thrown away"

    runs = [load_summary(one.folder) for one in reversed(Home(warm_home).runs())]
    outcomes = [run.verdict.outcome for run in runs if run.verdict is not None]
    assert outcomes == [Outcome.HELD, Outcome.BROKEN, Outcome.BROKEN]
    clean, shadowed, resumed = runs
    assert not [finding for finding in clean.findings if finding.breaks]

    update = found(shadowed, "update-not-declared")
    assert update.first_step == 0
    code = found(shadowed, "code-loaded-elsewhere")
    assert code.locations[0].path.endswith("/shadow/torch/optim/adam.py")
    assert code.locations[0].line > 0
    assert any(line.startswith("+") and MARK in line for one in code.evidence for line in one.excerpt)

    edited = found(resumed, "continuity-checkpoint-edited")
    assert edited.first_step == 0
    assert edited.locations[0].path.endswith("/clean/checkpoint-000012.pt")

    captured = capfd.readouterr()
    for run in runs:
        report = Path(run.folder) / "report.html"
        assert report.read_text().startswith("<!DOCTYPE html>")
        assert str(report) in captured.out
    assert "\x1b" not in captured.out
    for rule in ("update-not-declared", "code-loaded-elsewhere", "continuity-checkpoint-edited"):
        assert rule in captured.out
    assert f"shadow/torch/optim/adam.py:{code.locations[0].line}" in captured.out
    assert "parameters, 20,000 characters" not in captured.out, "the jobs' own output stays out of it"


def test_without_torch_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(interpreter, "find_torch", lambda python: None)
    with pytest.raises(UsageError) as caught:
        run_demo(tmp_path / "home", True)
    diagnostics = caught.value.diagnostics()
    assert "torch" in diagnostics.remedy
    assert sys.executable in diagnostics.where
    assert not (tmp_path / "home").exists()


def test_torch_is_found_where_the_interpreter_would_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert find_torch(sys.executable) == package


@pytest.mark.parametrize("python", ["/nonexistent/python", os.devnull, "/bin/false"])
def test_what_is_no_python_has_no_torch(python: str) -> None:
    assert find_torch(python) is None


def test_an_outcome_that_is_not_expected_is_explained(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n\x1b[31mlast\n")
    scenario = demo.Scenario("a", "b", (), 1, Outcome.BROKEN, ("some-rule",))
    told = demo.complaint(demo.Caught(scenario, samples.held(), tmp_path / "r", False, ()), log)
    assert "expected broken by some-rule" in told
    assert "last" in told
    assert "\x1b" not in told
