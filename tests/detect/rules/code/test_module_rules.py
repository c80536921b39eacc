"""The rules over checked modules: altered, forged, loaded elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import ModuleChecked
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Confidence, Severity
from veracity.detect.detector import Detector
from veracity.detect.rules.code.bytecode_forged import UNRECORDED, BytecodeForged
from veracity.detect.rules.code.loaded_elsewhere import LoadedElsewhere
from veracity.detect.rules.code.source_altered import SourceAltered
from veracity.detect.rules.code.unlike_seal import UnlikeSeal

ORIGIN = Origin("monitor", Trust.SERVICE, 7, 0, -1, 1)
RECORDED, OTHER = "a" * 64, "b" * 64


def checked(**more: Any) -> ModuleChecked:
    fields: dict[str, Any] = {
        "module": "torch.optim.adam",
        "path": "/site/torch/optim/adam.py",
        "source_digest": RECORDED,
        "distribution": "torch",
        "installer": "pip",
        "source": "true",
        "bytecode": "same",
        "reason": "",
        "expected": RECORDED,
        "modified_at": 1_700_000_000_000_000_000,
        "diff": [],
        "diff_from": "",
        "first_line": 0,
        **more,
    }
    return ModuleChecked(ORIGIN, **fields)


def judged(detector: Detector, *modules: ModuleChecked) -> list[Finding]:
    found = [finding for module in modules for finding in detector.observe(module)]
    return found + list(detector.finish())


ALTERED = checked(
    source="altered", source_digest=OTHER, diff=["-old", "+new"], diff_from="RECORD's text", first_line=42
)


def test_altered_source() -> None:
    (finding,) = judged(SourceAltered(), ALTERED, ALTERED)
    assert finding.breaks
    assert finding.rule == "code-source-altered"
    assert (finding.locations[0].path, finding.locations[0].line) == ("/site/torch/optim/adam.py", 42)
    assert finding.evidence[0].expected == RECORDED
    assert finding.evidence[1].excerpt == ("-old", "+new")
    assert finding.evidence[-1].observed == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("installer", ["conda", ""])
def test_altered_by_an_installer_that_rewrites_files(installer: str) -> None:
    module = checked(source="altered", source_digest=OTHER, installer=installer)
    (finding,) = judged(SourceAltered(), module)
    assert (finding.severity, finding.confidence) == (Severity.ERROR, Confidence.MEDIUM)


CLEAN = [
    checked(),
    checked(bytecode="compiled"),
    checked(source="unrecorded", bytecode="compiled", expected="", distribution=""),
    checked(source="missing", bytecode="unchecked", reason="it has no file"),
    checked(bytecode="unchecked", reason="loaded by AssertionRewritingHook, which may rewrite code"),
]


@pytest.mark.parametrize("rule", [SourceAltered, BytecodeForged, LoadedElsewhere])
def test_clean_modules(rule: type[Detector]) -> None:
    assert judged(rule(), *CLEAN) == []


def test_forged_bytecode() -> None:
    module = checked(bytecode="forged", reason="changed: step")
    (finding,) = judged(BytecodeForged(), module, module)
    assert finding.breaks
    assert finding.evidence[0].observed == "changed: step"


def test_bytecode_of_a_file_edited_during_the_run_does_not_break() -> None:
    module = checked(source="unrecorded", bytecode="stale", expected="")
    (finding,) = judged(BytecodeForged(), module)
    assert (finding.severity, finding.confidence) == (Severity.WARNING, Confidence.LOW)


def test_coverage_counts_each_module_once_over_the_rules() -> None:
    detectors: list[Detector] = [SourceAltered(), BytecodeForged(), LoadedElsewhere()]
    total = detectors[0].coverage()
    for detector in detectors:
        judged(detector, *CLEAN)
    for detector in detectors[1:]:
        total.merge(detector.coverage())
    assert (total.law, total.unit, total.checked, total.possible) == ("code-identity", "modules", 3, 5)
    assert total.reasons == {
        UNRECORDED: 1,
        "it has no file": 1,
        "loaded by AssertionRewritingHook, which may rewrite code": 1,
    }


def test_loaded_elsewhere_with_other_content() -> None:
    module = checked(source="elsewhere", path="/shadow/torch/optim/adam.py", source_digest=OTHER)
    (finding,) = judged(LoadedElsewhere(), module, module)
    assert finding.breaks
    assert "/shadow/torch/optim/adam.py" in finding.message


def test_loaded_elsewhere_with_the_recorded_content_is_one_note() -> None:
    modules = [checked(source="elsewhere", path=f"/shadow/torch/{number}.py") for number in range(3)]
    (finding,) = judged(LoadedElsewhere(), *modules)
    assert finding.severity is Severity.NOTE


def test_loaded_elsewhere_without_a_recorded_digest_is_not_certain() -> None:
    module = checked(source="elsewhere", expected="", source_digest=OTHER)
    (finding,) = judged(LoadedElsewhere(), module)
    assert not finding.breaks


def test_findings_are_bounded() -> None:
    altered = [checked(source="altered", path=f"/site/{n}.py", source_digest=OTHER) for n in range(300)]
    detector = SourceAltered()
    assert len(judged(detector, *altered)) == 200
    assert list(detector.coverage().reasons.values()) == [100]
    elsewhere = [checked(source="elsewhere", path=f"/x/{n}.py", source_digest=OTHER) for n in range(30)]
    assert len(judged(LoadedElsewhere(), *elsewhere)) == 20


def test_impossible_times_are_left_out() -> None:
    (finding,) = judged(SourceAltered(), checked(source="altered", source_digest=OTHER, modified_at=10**19))
    assert all("time" not in item.name or item.observed for item in finding.evidence)


@pytest.mark.parametrize("standing", ["differs", "added"])
def test_a_module_that_is_not_as_sealed(standing: str) -> None:
    detector = UnlikeSeal()
    (finding,) = judged(detector, checked(sealed=standing), checked(sealed=standing), checked(sealed="same"))
    assert finding.breaks
    assert finding.rule == "code-unlike-seal"
    assert finding.locations[0].path == "/site/torch/optim/adam.py"
    assert (detector.coverage().checked, detector.coverage().possible) == (3, 3)


def test_modules_as_sealed_or_outside_are_no_finding() -> None:
    detector = UnlikeSeal()
    assert (
        judged(detector, checked(sealed="same"), checked(sealed="outside"), checked(sealed="unknown")) == []
    )
    assert (detector.coverage().checked, detector.coverage().possible) == (1, 3)
    assert detector.coverage().reasons == {"in no part of the seal": 1, "not read for the seal": 1}


def test_runs_without_a_seal_are_not_counted() -> None:
    detector = UnlikeSeal()
    assert judged(detector, checked()) == []
    assert detector.coverage().reasons == {"the run was started without --seal": 1}


def test_a_program_in_no_part_of_the_seal_is_a_note_and_one_without_a_file_is_counted() -> None:
    detector = UnlikeSeal()
    main = {"module": "__main__", "source": "unrecorded", "path": "/elsewhere/train.py"}
    (finding,) = judged(detector, checked(**main, sealed="outside"))
    assert finding.severity is Severity.NOTE
    assert "lies in no part of the seal" in finding.message
    text = {"module": "__main__", "path": "", "source": "missing", "reason": "it was given by -c"}
    assert judged(detector, checked(**text, sealed="unknown")) == []
    assert judged(detector, checked(module="__main__", sealed="outside")) == [], "of a package"
    assert detector.coverage().reasons["the program: it was given by -c"] == 1
