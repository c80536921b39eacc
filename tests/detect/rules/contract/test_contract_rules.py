"""The rules on the seal that a run was started on."""

from __future__ import annotations

from typing import Any

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import SealChecked, SealDrift
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Severity
from veracity.detect.detector import Detector
from veracity.detect.rules.contract.seal_drifted import SealDrifted
from veracity.detect.rules.contract.seal_unapproved import SealUnapproved

ORIGIN = Origin("monitor", Trust.SERVICE, 7, 0, -1, 1)
DRIFT = SealDrift("code", "pkg/adamw.py", "content changed", "other", 1_700_000_000_000_000_000)


def checked(**more: Any) -> SealChecked:
    fields: dict[str, Any] = {
        "seal": "seal-1",
        "digest": "sha256:00",
        "standing": "approved",
        "reasons": [],
        **more,
    }
    return SealChecked(ORIGIN, **fields)


def judged(detector: Detector, seal: SealChecked) -> list[Finding]:
    return [*detector.observe(seal), *detector.finish()]


def test_what_is_approved_and_as_sealed_is_counted() -> None:
    for kind in (SealDrifted, SealUnapproved):
        detector = kind()
        assert judged(detector, checked()) == []
        assert (detector.coverage().checked, detector.coverage().possible) == (1, 1)
        assert not detector.coverage().reasons


def test_a_change_says_what_whose_and_since_when() -> None:
    (found,) = judged(SealDrifted(), checked(drift=[DRIFT], more=4))
    assert found.breaks
    assert (
        "content changed: code: pkg/adamw.py, owner other, last changed 2023-11-14 22:13:20 UTC"
        in found.message
    )
    assert found.message.endswith("and 4 more")


def test_a_weaker_level_is_said_and_no_finding() -> None:
    detector = SealDrifted()
    assert judged(detector, checked(level="sample=1%")) == []
    coverage = detector.coverage()
    assert (coverage.checked, coverage.stopped) == (1, "")
    assert list(coverage.reasons) == [
        "the seal was compared at the level sample=1%, not by reading every byte"
    ]


def test_a_program_outside_the_seal_is_a_change() -> None:
    (found,) = judged(SealDrifted(), checked(outside=["/tmp/other.py"]))
    assert found.breaks
    assert [one.path for one in found.locations] == ["/tmp/other.py"]


def test_what_could_not_be_read_leaves_the_run_incomplete() -> None:
    detector = SealDrifted()
    assert judged(detector, checked(unread=["code: a.py: permission denied"])) == []
    assert "permission denied" in detector.coverage().stopped
    assert detector.coverage().checked == 0


@pytest.mark.parametrize("standing", ["not approved", "fallen", "expired", "refused"])
def test_a_seal_that_is_not_approved_breaks_a_run(standing: str) -> None:
    (found,) = judged(SealUnapproved(), checked(standing=standing, reasons=["code: 1 of 2 approvals"]))
    assert found.breaks
    assert found.message == f"seal-1 is {standing}: code: 1 of 2 approvals"


def test_what_is_not_known_is_not_accused() -> None:
    for standing, stops in (("unknown", True), ("no policy", False)):
        detector = SealUnapproved()
        assert judged(detector, checked(standing=standing, reasons=["cannot be read"])) == []
        assert bool(detector.coverage().stopped) == stops
        assert detector.coverage().checked == 0


def test_an_override_is_loud() -> None:
    override = {"override": "the deadline", "override_by": "1000"}
    (needed,) = judged(SealUnapproved(), checked(standing="expired", **override))
    assert needed.breaks
    assert "--unsafe-override of user id 1000: the deadline" in needed.message
    (drifted,) = judged(SealUnapproved(), checked(drift=[DRIFT], **override))
    assert drifted.breaks
    (useless,) = judged(SealUnapproved(), checked(**override))
    assert useless.severity is Severity.NOTE
    (evidence,) = [
        one
        for one in judged(SealDrifted(), checked(drift=[DRIFT], **override))[0].evidence
        if one.name == "override"
    ]
    assert "the deadline" in evidence.observed


@pytest.mark.parametrize("at", [-1, 0, 2**62, 2**63 - 1])
def test_any_time_can_be_said(at: int) -> None:
    assert SealDrift("code", "", "removed", "", at).sentence.startswith("removed: code: .")


def test_a_run_without_a_seal_says_so() -> None:
    assert SealDrifted().coverage().reasons == {"the run was started without --seal": 1}
