"""The rules on what executes before the program."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import StartupItem
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Confidence, Severity
from veracity.detect.detector import Detector
from veracity.detect.rules.environment.preload_unowned import PreloadUnowned
from veracity.detect.rules.environment.startup_unowned import StartupUnowned

ORIGIN = Origin("monitor", Trust.SERVICE, 7, 0, -1, 1)


def item(**more: Any) -> StartupItem:
    fields: dict[str, Any] = {
        "kind": "pth",
        "name": "a.pth",
        "path": "/site/a.pth",
        "line": 3,
        "text": "import a",
        "via": "Python's site module",
        "sha256": "a" * 64,
        "owner": "",
        "installer": "",
        "standing": "none",
        "effect": "",
        "effects": [],
        "modified_at": 1_700_000_000_000_000_000,
        "before": "first",
        **more,
    }
    return StartupItem(ORIGIN, **fields)


def judged(detector: Detector, *items: StartupItem) -> list[Finding]:
    return [finding for one in items for finding in detector.observe(one)] + list(detector.finish())


@pytest.mark.parametrize("standing", ["recorded", "listed", "known", "library", "guard"])
def test_owned_code_is_counted_and_not_accused(standing: str) -> None:
    detector = StartupUnowned()
    assert judged(detector, item(standing=standing, effect="replaces")) == []
    assert (detector.coverage().checked, detector.coverage().possible) == (1, 1)


@pytest.mark.parametrize(
    ("effect", "before", "severity", "confidence"),
    [
        ("", "first", Severity.WARNING, Confidence.HIGH),
        ("", "new", Severity.WARNING, Confidence.HIGH),
        ("", "same", Severity.NOTE, Confidence.HIGH),
        ("imports", "changed", Severity.WARNING, Confidence.HIGH),
        ("imports", "same", Severity.NOTE, Confidence.HIGH),
        ("hooks", "first", Severity.WARNING, Confidence.HIGH),
        ("targets", "first", Severity.ERROR, Confidence.MEDIUM),
        ("targets", "same", Severity.ERROR, Confidence.MEDIUM),
        ("targets", "new", Severity.ERROR, Confidence.HIGH),
        ("targets", "changed", Severity.ERROR, Confidence.HIGH),
        ("replaces", "same", Severity.ERROR, Confidence.HIGH),
        ("hides", "first", Severity.ERROR, Confidence.HIGH),
    ],
)
def test_weight(effect: str, before: str, severity: Severity, confidence: Confidence) -> None:
    (finding,) = judged(StartupUnowned(), item(effect=effect, before=before))
    assert (finding.severity, finding.confidence) == (severity, confidence)
    assert finding.locations[0].line == 3


def test_a_back_end_for_torch_is_there_to_change_torch() -> None:
    (finding,) = judged(StartupUnowned(), item(kind="plugin", effect="replaces"))
    assert not finding.breaks


@pytest.mark.parametrize(
    ("installer", "breaks"), [("pip", True), ("uv", True), ("conda", False), ("", False)]
)
def test_an_executed_line_that_record_does_not_know(installer: str, breaks: bool) -> None:
    altered = item(standing="altered", owner="setuptools", installer=installer)
    (finding,) = judged(StartupUnowned(), altered)
    assert finding.severity is Severity.ERROR
    assert finding.breaks is breaks
    assert "setuptools" in finding.message
    # Modules are compared with RECORD by the rules of code identity.
    assert judged(StartupUnowned(), replace(altered, kind="module")) == []


def test_the_first_line_that_does_it() -> None:
    seen = item(kind="module", line=0, effect="replaces", effects=["12: random.random = f"])
    (finding,) = judged(StartupUnowned(), seen)
    assert finding.locations[0].line == 12
    assert finding.evidence[1].excerpt == ("12: random.random = f",)
    odd = item(kind="module", line=0, effect="replaces", effects=["²: x"], modified_at=10**19)
    assert judged(StartupUnowned(), odd)[0].locations[0].line == 0


def test_findings_are_bounded_and_not_repeated() -> None:
    detector = StartupUnowned()
    many = [item(line=number) for number in range(150)]
    assert len(judged(detector, *many, *many)) == 100
    assert detector.coverage().reasons


@pytest.mark.parametrize(
    ("standing", "before", "severity"),
    [
        ("none", "first", Severity.WARNING),
        ("none", "same", Severity.NOTE),
        ("altered", "same", Severity.WARNING),
        ("recorded", "first", None),
        ("listed", "first", None),
    ],
)
def test_preloaded_libraries(standing: str, before: str, severity: Severity | None) -> None:
    detector = PreloadUnowned()
    library = item(kind="preload", path="/opt/libfast.so", via="LD_PRELOAD", standing=standing, before=before)
    found = judged(detector, library, library)
    assert [finding.severity for finding in found] == ([] if severity is None else [severity])
    assert detector.coverage().checked == 2
    assert judged(detector, item()) == []
    assert judged(StartupUnowned(), library) == []
