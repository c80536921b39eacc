"""A home with runs whose summaries come from the samples, so that verbs are tested without a training."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.render import samples
from veracity.core.summary import RunSummary

Put = Callable[..., None]
SUMMARIES: dict[str, Callable[[], RunSummary]] = {
    samples.RUN: samples.broken,
    "run-20250301-080000-00000a": samples.held,
    "run-20250228-080000-00000b": samples.incomplete,
    "run-20250227-080000-00000c": samples.unfinished,
}


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts functions into a module's place for as long as a test runs."""

    def place(name: str, **members: object) -> None:
        module = ModuleType(name)
        for member, value in members.items():
            setattr(module, member, value)
        monkeypatch.setitem(sys.modules, name, module)

    return place


@pytest.fixture
def home(tmp_path: Path, put: Put, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one run of each verdict; the broken one is the newest."""
    for run in SUMMARIES:
        folder = tmp_path / "home" / "runs" / run
        folder.mkdir(parents=True)
        summary = SUMMARIES[run]()
        verdict = summary.verdict.outcome.value if summary.verdict is not None else None
        document = {
            "run": run,
            "command": list(summary.command),
            "started_at": summary.started_at,
            "verdict": verdict,
        }
        (folder / "run.json").write_text(json.dumps(document))
    put("veracity.monitor.summary", load_summary=lambda folder: SUMMARIES[folder.name]())
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
