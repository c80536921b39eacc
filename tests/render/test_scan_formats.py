"""Forms of a scan: JSON, SARIF beside its schema, JUnit as XML, Markdown without live markup."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from veracity.core.finding import Evidence, Location, finding_of
from veracity.core.rule import Confidence, Rule, Severity
from veracity.render.junit import junit
from veracity.render.markdown import markdown
from veracity.render.sarif import FINGERPRINT, sarif
from veracity.render.scanned import scan_document, scanned
from veracity.scan.gate.result import FileResult, Missed, SetAside, summarize

SCHEMA = Path(__file__).parent.parent / "vectors" / "sarif" / "sarif-2.1.0.json"
RULE = Rule("checkpoint-bad", "load", "A bad file", Severity.ERROR, Confidence.HIGH)
NOTE = Rule("checkpoint-odd", "load", "An odd file", Severity.NOTE, Confidence.LOW)
FOLDER = "/data/models"


def results() -> list[FileResult]:
    bad = finding_of(
        RULE,
        "a b.pt!archive/data.pkl",
        "calls os.system\x1b[2J | <b>",
        locations=(Location("a b.pt!archive/data.pkl"), Location("/else/where.py", 7)),
        evidence=(Evidence("call", observed="os.system"),),
    )
    note = finding_of(NOTE, "c.py", "odd", locations=(Location("/data/models/c.py", 12),))
    odd = "\udcff.pt"
    return [
        FileResult("a b.pt", 10, (bad,), formats=("zip", "pickle"), inputs=2, sha256="0" * 64),
        FileResult("c.py", 5, (note,), formats=("python",), inputs=1),
        FileResult("d.bin", 5, inputs=1),
        FileResult(odd, 5, missed=(Missed(odd, "breaks off", "get it again"),)),
        FileResult("e.pt", 5, aside=(SetAside(bad, "somebody", "known"),), formats=("pickle",), inputs=1),
    ]


def test_statuses_and_exit_code() -> None:
    told = results()
    summary = summarize(told, Severity.WARNING)

    assert [one.status(Severity.WARNING) for one in told] == [
        "findings",
        "clean",
        "clean",
        "incomplete",
        "clean",
    ]
    assert (summary.exit_code, summary.unknown, summary.aside) == (1, 1, 1)
    assert summarize(told[1:], Severity.WARNING).exit_code == 2
    assert summarize(told[1:3], Severity.WARNING).exit_code == 0
    assert summarize(told[1:3], Severity.NOTE).exit_code == 1
    assert summarize([], Severity.NOTE).exit_code == 2


def test_json_has_everything() -> None:
    told = results()
    text = scan_document(told, summarize(told, Severity.WARNING), Severity.WARNING)

    assert text.isascii()
    document = json.loads(text)
    assert document["version"] == 1
    assert [one["status"] for one in document["files"]][:2] == ["findings", "clean"]
    assert document["files"][0]["findings"][0]["rule"] == "checkpoint-bad"
    assert len(document["files"][0]["findings"][0]["fingerprint"]) == 32
    assert document["files"][4]["set_aside"][0]["reason"] == "known"
    assert document["summary"]["exit_code"] == 1


def test_sarif_obeys_its_schema() -> None:
    told = results()
    summary = summarize(told, Severity.WARNING)
    text = sarif(told, summary, {RULE.id: RULE}, "1.0.0", FOLDER)

    document = json.loads(text)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    run = document["runs"][0]
    assert [one["ruleId"] for one in run["results"]] == ["checkpoint-bad", "checkpoint-odd", "checkpoint-bad"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].endswith(
        "a%20b.pt"
    )
    assert (
        run["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "archive/data.pkl"
    )
    assert run["results"][1]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "c.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 12},
    }
    assert len(run["results"][0]["partialFingerprints"][FINGERPRINT]) == 32
    assert run["results"][2]["suppressions"][0]["justification"] == "known (somebody)"
    assert not run["invocations"][0]["executionSuccessful"]
    assert "\x1b" not in text


def test_junit_is_xml_with_failures_and_errors() -> None:
    told = results()
    root = ElementTree.fromstring(junit(told, summarize(told, Severity.WARNING), Severity.WARNING))

    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {
        "a b.pt": ["failure"],
        "c.py": [],
        "d.bin": [],
        "\\udcff.pt": ["error"],
        "e.pt": [],
    }
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("5", "1", "1")


def test_markdown_shows_no_markup_of_files() -> None:
    told = results()
    text = markdown(told, summarize(told, Severity.WARNING), Severity.WARNING)

    assert "<b>" not in text.replace("\\<b\\>", "")
    assert "\\x1b" in text.replace("\\\\", "\\")
    assert "breaks off" in text
    assert text.count("\n| error |") == 1


@pytest.mark.parametrize("empty", [True, False])
def test_text_shows_the_worst_first_and_never_calls_nothing_clean(empty: bool) -> None:
    told = [] if empty else results()
    text = scanned(told, summarize(told, Severity.WARNING), Severity.WARNING)

    if empty:
        assert text.startswith("incomplete")
    else:
        assert text.splitlines()[0] == "findings  a b.pt  (zip, pickle)"
        assert "not read" in text
        assert "findings  5 files: 3 clean, 1 with findings, 1 incomplete" in text
        assert "\x1b" not in text
