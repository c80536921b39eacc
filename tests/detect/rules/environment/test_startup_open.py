"""The rule over profiles, plug-ins and caches."""

from __future__ import annotations

from typing import Any

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import StartupItem
from veracity.core.origin import monitor_origin
from veracity.core.rule import Severity
from veracity.detect.rules.environment.preload_unowned import PreloadUnowned
from veracity.detect.rules.environment.startup_open import MAX_FINDINGS, StartupOpen
from veracity.detect.rules.environment.startup_unowned import StartupUnowned


def item(kind: str, **more: Any) -> StartupItem:
    fields: dict[str, Any] = {
        "name": "torch.compile",
        "path": "/tmp/torchinductor_me",
        "line": 0,
        "text": "",
        "via": "its default",
        "sha256": "a" * 64,
        "owner": "",
        "installer": "",
        "standing": "none",
        "effect": "",
        "effects": [],
        "modified_at": 0,
        "before": "first",
        **more,
    }
    return StartupItem(monitor_origin(1), kind, **fields)


def judged(*items: StartupItem) -> list[Finding]:
    detector = StartupOpen()
    found = [finding for one in items for finding in detector.observe(one)]
    assert detector.coverage().possible == len(items)
    return found + list(detector.finish())


@pytest.mark.parametrize("kind", ["profile", "library", "folder", "cache"])
@pytest.mark.parametrize("writers", ["everybody", "the group team", "the account mallory"])
def test_what_others_may_exchange_is_a_warning(kind: str, writers: str) -> None:
    one = item(kind, writers=writers)
    (finding,) = judged(one, one)
    assert (finding.severity, finding.breaks) == (Severity.WARNING, False)
    assert writers in finding.message


CLEAN = [
    item("profile"),
    item("profile", standing="recorded", owner="bash"),
    item("profile", before="same"),
    item("folder"),
    item("cache"),
    item("library", standing="recorded", owner="ofi"),
    item("library", before="same"),
]


@pytest.mark.parametrize("one", CLEAN)
def test_what_ordinary_machines_have_is_no_finding(one: StartupItem) -> None:
    assert judged(one) == []
    for detector in (StartupUnowned(), PreloadUnowned()):
        assert list(detector.observe(one)) == []


def test_notes() -> None:
    found = judged(item("library"), item("profile", before="changed", path="/home/me/.profile"))
    assert [one.severity for one in found] == [Severity.NOTE, Severity.NOTE]


def test_bounds() -> None:
    items = [item("cache", path=f"/tmp/{n}", writers="everybody") for n in range(MAX_FINDINGS + 3)]
    detector = StartupOpen()
    assert len([one for each in items for one in detector.observe(each)]) == MAX_FINDINGS
    assert sum(detector.coverage().reasons.values()) == 3
