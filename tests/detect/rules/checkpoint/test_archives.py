"""The rules on archives that are not what they seem. What is found in real ones: tests/observe/archive."""

from __future__ import annotations

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import ArchiveOdd, ArchiveRead, Oddity, OddMember
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Severity
from veracity.detect.filerules import FILE_DETECTORS
from veracity.detect.rules.checkpoint.archive_ambiguous import ArchiveAmbiguous
from veracity.detect.rules.checkpoint.archive_damaged import ArchiveDamaged
from veracity.detect.rules.checkpoint.archive_escapes import ArchiveEscapes
from veracity.detect.rules.checkpoint.archive_hidden import ArchiveHidden
from veracity.detect.rules.checkpoint.oddities import MAX_FINDINGS

ORIGIN = Origin("scan", Trust.SERVICE, 0, -1, -1, 1)


def odd(oddity: Oddity, layout: str = "", name: str = "/in/a.zip!b.zip", count: int = 1) -> ArchiveOdd:
    examples = tuple(OddMember(f"member{number}", "8", "0") for number in range(min(count, 8)))
    return ArchiveOdd(ORIGIN, name, "zip", layout, oddity, count, examples)


def judged(seen: ArchiveOdd | ArchiveRead) -> list[Finding]:
    return [finding for detector in FILE_DETECTORS for finding in detector().observe(seen)]


@pytest.mark.parametrize(
    "oddity",
    [
        Oddity.UNLISTED, Oddity.NAMES, Oddity.SIZES, Oddity.METHODS, Oddity.FLAGS, Oddity.ENDS,
        Oddity.COUNT, Oddity.OVERLAP, Oddity.NUL, Oddity.PARENT, Oddity.THROUGH_LINK,
    ],
)  # fmt: skip
def test_what_no_honest_writer_does_is_an_error(oddity: Oddity) -> None:
    (finding,) = judged(odd(oddity))

    assert finding.breaks
    assert finding.subject == "/in/a.zip!b.zip"
    assert finding.locations[0].path == "/in/a.zip"
    assert "member0" in finding.message
    assert finding.evidence[0].expected == "8"


@pytest.mark.parametrize("oddity", list(Oddity))
def test_each_oddity_is_judged_by_one_rule_at_most(oddity: Oddity) -> None:
    for layout in ("", "torch"):
        assert len(judged(odd(oddity, layout))) <= 1
    assert judged(odd(oddity, "torch"))


def test_what_honest_archives_have_weighs_less_or_nothing() -> None:
    assert judged(odd(Oddity.TWINS)) == []
    assert [one.severity for one in judged(odd(Oddity.TWICE))] == [Severity.WARNING]
    assert [one.severity for one in judged(odd(Oddity.TWICE, "torchscript"))] == [Severity.ERROR]
    assert [one.severity for one in judged(odd(Oddity.LINK_OUTSIDE))] == [Severity.NOTE]


def test_each_kind_of_an_archive_is_told_once_with_how_many_there_are() -> None:
    detector = ArchiveDamaged()

    (finding,) = [
        *detector.observe(odd(Oddity.CHECKSUM, count=1200)),
        *detector.observe(odd(Oddity.CHECKSUM)),
    ]

    assert "1,197 more" in finding.message
    assert len(finding.evidence) == 8


def test_findings_are_bounded() -> None:
    for detector in (ArchiveAmbiguous(), ArchiveEscapes()):
        many = [
            finding
            for number in range(MAX_FINDINGS + 50)
            for oddity in (Oddity.NAMES, Oddity.PARENT)
            for finding in detector.observe(odd(oddity, name=f"{number}"))
        ]
        assert len(many) == MAX_FINDINGS
        assert detector.coverage().reasons


@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_data_that_torch_does_not_write(place: str) -> None:
    counts = {"before": 0, "between": 0, "after": 0, place: 5}
    for layout, expected in (("torch", 1), ("torchscript", 1), ("", 0)):
        read = ArchiveRead(ORIGIN, "a.pt", "zip", layout, 3, **counts)
        found = list(ArchiveHidden().observe(read))
        assert len(found) == expected
        assert all("5 bytes" in one.message for one in found)
    assert list(ArchiveHidden().observe(ArchiveRead(ORIGIN, "a.pt", "zip", "torch", 3, 0, 0, 0))) == []
