"""Markdown: a scan as a comment on a change or a job's summary."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..core.quantity import quantity
from ..core.rule import Severity
from ..scan.gate.result import FileResult, Summary
from .visible import clip, visible
from .wording import place, worst_first

MAX_ROWS = 500
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")


def markdown(results: Sequence[FileResult], summary: Summary, threshold: Severity) -> str:
    """Counts, a table of findings, a list of what was not read."""
    word = {0: "clean", 1: "findings"}.get(summary.exit_code, "incomplete")
    lines = [f"## veracity scan: {word}", ""]
    lines.append(
        f"{quantity(summary.files, 'file')}: {summary.clean:,} clean, {summary.findings:,} with findings, "
        f"{summary.incomplete:,} incomplete, {quantity(summary.aside, 'finding')} set aside, "
        f"{quantity(summary.left_out, 'name')} left out."
    )
    rows = [(finding, one) for one in results for finding in worst_first(one.findings)]
    rows.sort(key=lambda row: -row[0].severity.weight)
    if rows:
        lines += ["", "| Severity | Confidence | Rule | Where | What |", "| --- | --- | --- | --- | --- |"]
    for finding, one in rows[:MAX_ROWS]:
        where = place(finding.locations[0]) if finding.locations else finding.subject or one.path
        cells = (finding.severity.value, finding.confidence.value, finding.rule, where, finding.message)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    missed = [(one, part) for one in results for part in one.missed]
    if missed:
        lines += ["", "### Not read", ""]
    lines += [f"- {_cell(part.what)}: {_cell(part.reason)}" for _, part in missed[:MAX_ROWS]]
    hidden = max(0, len(rows) - MAX_ROWS) + max(0, len(missed) - MAX_ROWS)
    if hidden:
        lines += ["", f"{hidden:,} more are not listed here."]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", visible(clip(text, 500)))
