"""Setting aside: by configuration, comment or baseline; nothing disappears."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import UsageError
from veracity.core.finding import Evidence, Finding, Location, finding_of
from veracity.core.ignore import ignores_of
from veracity.core.rule import Confidence, Rule, Severity
from veracity.scan.gate.aside import Rules, baseline_document, read_baseline, set_aside
from veracity.scan.gate.fingerprint import fingerprint
from veracity.scan.gate.result import FileResult

RULE = Rule("checkpoint-bad", "load", "bad", Severity.ERROR, Confidence.HIGH)
TODAY = datetime.date(2030, 6, 1)


def finding(path: str, line: int = 0, seen: str = "x") -> Finding:
    return finding_of(
        RULE,
        path,
        f"bad at {line}",
        locations=(Location(path, line),),
        evidence=(Evidence("e", observed=seen),),
    )


def entry(**other: object) -> dict[str, object]:
    day = datetime.date(2030, 6, 1)
    return {
        "rule": "checkpoint-bad",
        "path": "old/*.pt",
        "reason": "r",
        "owner": "o",
        "expires": day,
        **other,
    }


@pytest.mark.parametrize(
    ("path", "today", "expected"),
    [
        ("old/a.pt", TODAY, True),
        ("deep/old/a.pt", TODAY, True),
        ("new/a.pt", TODAY, False),
        ("old/a.pt", TODAY + datetime.timedelta(days=1), False),
    ],
)
def test_an_ignore_holds_for_its_path_until_its_day(path: str, today: datetime.date, expected: bool) -> None:
    rules = Rules(ignores_of([entry()]), {}, today)

    told = set_aside([FileResult(path, findings=(finding(path),))], rules)[0]

    assert bool(told.aside) is expected
    assert bool(told.findings) is not expected
    assert told.status(Severity.WARNING) == ("clean" if expected else "findings")


@pytest.mark.parametrize(
    "wrong",
    [
        entry(owner=""),
        entry(reason=None),
        entry(expires="2030-06-01"),
        entry(rule="Everything"),
        entry(more=1),
        {},
        "x",
    ],
)
def test_an_ignore_that_says_too_little_is_an_error(wrong: object) -> None:
    with pytest.raises(UsageError, match="number 1"):
        ignores_of([wrong])
    with pytest.raises(UsageError, match="no list"):
        ignores_of("x")


def test_a_comment_counts_with_a_reason_in_its_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(
        "a = 1  # veracity: ignore[checkpoint-bad]: measured in the lab\n"
        "b = 2  # veracity: ignore[checkpoint-bad]\n"
        "c = 3  # veracity: ignore[code-other]: because\n"
        "d = 4\n"
    )
    name = str(path)
    found = tuple(finding(name, line) for line in (1, 2, 3, 4))

    told = set_aside([FileResult(name, findings=found)], Rules((), {}, TODAY))[0]

    assert [one.finding.locations[0].line for one in told.aside] == [1]
    assert told.aside[0].reason == "measured in the lab"
    untouched = set_aside([FileResult(name, findings=found)], Rules((), {}, TODAY, comments=False))[0]
    assert len(untouched.findings) == 4


def test_a_baseline_covers_as_many_as_there_were_wherever_they_have_moved(tmp_path: Path) -> None:
    before = [FileResult("a.py", findings=(finding("a.py", 3), finding("a.py", 9)))]
    path = tmp_path / "baseline.json"
    path.write_text(baseline_document(before))
    after = FileResult("a.py", findings=tuple(finding("a.py", line) for line in (5, 11, 30)))

    told = set_aside([after], Rules((), read_baseline(path), TODAY))[0]

    assert [one.locations[0].line for one in told.findings] == [30]
    again = baseline_document([told])
    assert json.loads(again)["findings"][0]["times"] == 3


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 9}', '{"version": 1, "findings": [1]}', "[" * 10_000]
)
def test_what_is_no_baseline_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        read_baseline(path)


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 9))
def test_fingerprints_know_rule_path_and_what_was_seen_but_no_line(one: str, other: str, line: int) -> None:
    assert fingerprint(finding(one, line), one) == fingerprint(finding(one, line + 1), one)
    if one != other:
        assert fingerprint(finding(one), one) != fingerprint(finding(other), other)


def test_a_comment_counts_for_places_in_its_own_file_only(tmp_path: Path) -> None:
    path = str(tmp_path / "a.py")
    Path(path).write_text("x  # veracity: ignore[checkpoint-bad]: looked at\n")
    rules = Rules((), {}, TODAY)
    for place, expected in ((path, True), (f"{path}!inner.py", False), (str(tmp_path / "b.py"), False)):
        told = set_aside([FileResult(path, findings=(finding(place, 1),))], rules)[0]
        assert bool(told.aside) is expected, place
