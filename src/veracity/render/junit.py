"""JUnit XML: each file is a test case, so that a pipeline shows a scan as it shows its tests."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from ..core.finding import Location
from ..core.rule import Severity
from ..scan.gate.result import FINDINGS, INCOMPLETE, FileResult, Summary
from .visible import visible
from .wording import place, worst_first


def junit(results: Sequence[FileResult], summary: Summary, threshold: Severity) -> str:
    """Findings are failures, what could not be read is an error."""
    seconds = sum(one.seconds for one in results)
    counts = (
        f'tests="{summary.files}" failures="{summary.findings}" errors="{summary.incomplete}" '
        f'time="{seconds:.3f}"'
    )
    lines = ['<?xml version="1.0" encoding="utf-8"?>', f"<testsuites {counts}>"]
    lines.append(f'  <testsuite name="veracity scan" {counts}>')
    for one in results:
        lines += _case(one, threshold)
    return "\n".join([*lines, "  </testsuite>", "</testsuites>"]) + "\n"


def _case(one: FileResult, threshold: Severity) -> list[str]:
    name = quoteattr(visible(one.path))
    opening = f'    <testcase classname="veracity.scan" name={name} time="{one.seconds:.3f}"'
    status = one.status(threshold)
    if status == FINDINGS:
        listed = worst_first(one.findings)
        said = [f"{f.severity.value} {f.rule}: {f.message}{_places(f.locations)}" for f in listed]
        kind, message = "failure", f"{listed[0].rule}: {listed[0].message}"
    elif status == INCOMPLETE:
        said = [f"{missed.what}: {missed.reason}" for missed in one.missed]
        kind, message = "error", said[0]
    else:
        return [opening + "/>"]
    text = escape("\n".join(visible(line) for line in said))
    return [
        opening + ">",
        f"      <{kind} message={quoteattr(visible(message))}>{text}</{kind}>",
        "    </testcase>",
    ]


def _places(locations: Sequence[Location]) -> str:
    told = [place(one) for one in locations]
    return f" ({', '.join(told[:3])})" if told else ""
