"""What an environment makes of a name: an edited or exchanged definition is told, everybody's is not."""

from __future__ import annotations

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import DefiningFile, GlobalDefined, Reassigned
from veracity.core.origin import monitor_origin
from veracity.detect.rules.checkpoint.global_redefined import MAX_FINDINGS, GlobalRedefined

FILE = DefiningFile("torch._utils", "/s/site-packages/torch/_utils.py", "ab", "recorded", "torch", "pip")
CODE = Reassigned("torch._utils.rebuild", "/s/hook.py", 3, "_utils.rebuild = mine", False, "none", "")


def defined(
    file: DefiningFile = FILE, replaced: tuple[Reassigned, ...] = (), beside: tuple[Reassigned, ...] = ()
) -> GlobalDefined:
    return GlobalDefined(
        monitor_origin(1), "a.pt", "torch._utils", "rebuild", "/s/bin/python", (file,), replaced, beside
    )


def found(*those: GlobalDefined) -> list[Finding]:
    detector = GlobalRedefined()
    assert [finding for one in those for finding in detector.observe(one)] == []
    return list(detector.finish())


def file(**change: str) -> DefiningFile:
    fields = {name: getattr(FILE, name) for name in FILE.__slots__}
    return DefiningFile(**{**fields, **change})


def code(**change: object) -> Reassigned:
    fields = {name: getattr(CODE, name) for name in CODE.__slots__}
    return Reassigned(**{**fields, **change})


@pytest.mark.parametrize(
    ("one", "severity"),
    [
        (defined(file(standing="altered")), "error"),
        (defined(file(standing="none", instead="/usr/lib/python3.11/collections/__init__.py")), "error"),
        (defined(file(standing="none", instead="/s/site-packages/other.py")), "warning"),
        (defined(file(bytecode="/s/__pycache__/_utils.cpython-311.pyc")), "error"),
        (defined(replaced=(CODE,)), "error"),
        (defined(replaced=(code(name="torch._utils.?"),)), "error"),
        (defined(replaced=(code(standing="recorded", owner="other"),)), "warning"),
        (defined(beside=(code(name="torch._utils.other"),)), "warning"),
    ],
)
def test_what_makes_a_name_another_thing_is_told(one: GlobalDefined, severity: str) -> None:
    (finding,) = found(one)
    assert finding.severity.value == severity
    assert finding.message.startswith("a.pt names torch._utils.rebuild, ")
    assert finding.locations[0].path == "a.pt"


@pytest.mark.parametrize(
    "one",
    [
        defined(),
        *(defined(file(standing=each)) for each in ("library", "listed", "interpreter", "none")),
        defined(replaced=(code(standing="recorded", owner="torch"),)),
        defined(beside=(code(name="torch._utils.other", plain=True),)),
        defined(beside=(code(name="torch._utils.other", standing="recorded", owner="other"),)),
    ],
)
def test_what_everybody_has_is_not_told(one: GlobalDefined) -> None:
    assert found(one) == []


def test_all_names_of_one_cause_are_one_finding_and_hostile_names_are_escaped() -> None:
    altered = file(standing="altered")
    three = [
        GlobalDefined(monitor_origin(1), "a.pt", "torch._utils", name, "/p", (altered,), (), ())
        for name in ("a", "b", "\x1b[2J")
    ]
    (finding,) = found(*three)
    assert "torch._utils.a and 2 more" in finding.message
    assert "\x1b" not in "".join(finding.evidence[0].excerpt)


def test_findings_of_one_file_are_bounded() -> None:
    codes = tuple(code(line=number) for number in range(MAX_FINDINGS + 5))
    assert len(found(defined(replaced=codes))) == MAX_FINDINGS
