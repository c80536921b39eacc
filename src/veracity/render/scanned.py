"""``veracity scan``: what was found in files, for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.finding import Finding
from ..core.quantity import quantity
from ..core.rule import Severity
from ..scan.gate.result import CLEAN, FINDINGS, FileResult, Summary
from . import wording
from .json_document import finding_document
from .page import Page
from .text import add_finding
from .visible import clip

if TYPE_CHECKING:
    from rich.console import Console

VERSION = 1
MAX_SHOWN = 200
MAX_OF_ONE = 20
STYLES = {CLEAN: "bold green", FINDINGS: "bold red"}


def scanned(
    results: Sequence[FileResult], summary: Summary, threshold: Severity, console: Console | None = None
) -> str:
    """Files with findings, worst first; those that were not read to their end; counts."""
    page = Page()
    ordered = sorted(results, key=_badness)
    shown = 0
    for one in ordered:
        if not one.findings and not one.missed:
            continue
        if shown >= MAX_SHOWN:
            page.line("and more files; --format json has them all")
            break
        shown += 1
        _file(page, one, threshold)
    page.line(*_counts(summary))
    if summary.aside:
        page.line(f"  {quantity(summary.aside, 'finding')} set aside; --format json says by whom and why")
    if summary.left_out:
        page.line(f"  {quantity(summary.left_out, 'name')} left out by patterns, with all that is below")
    if summary.unvouched:
        lying = quantity(summary.unvouched, "file of the environment is", "files of the environment are")
        page.line(f"  {lying} taken as found there: nothing has a digest for that")
    if summary.unknown:
        page.line(f"  {quantity(summary.unknown, 'file')} of no format that a known loader would open")
    return page.show(console)


def _badness(one: FileResult) -> tuple[int, bool, str]:
    return -max((f.severity.weight for f in one.findings), default=0), not one.missed, one.path


def _file(page: Page, one: FileResult, threshold: Severity) -> None:
    status = one.status(threshold)
    what = f"  ({', '.join(one.formats)})" if one.formats else ""
    page.line((status, STYLES.get(status, "bold yellow")), "  ", (clip(one.path, 600), "bold"), what)
    listed = wording.worst_first(one.findings)
    for finding in listed[:MAX_OF_ONE]:
        add_finding(page, finding)
    rest = len(listed) - MAX_OF_ONE + one.more
    if rest > 0:
        page.line(f"  and {quantity(rest, 'further finding')}")
    for missed in one.missed[:MAX_OF_ONE]:
        page.line(
            "  ", ("not read", "bold yellow"), f"  {clip(missed.what, 400)}: {clip(missed.reason, 400)}"
        )
        if missed.remedy:
            page.line(f"    what to do: {clip(missed.remedy, 400)}")
    page.line()


def _counts(summary: Summary) -> list[tuple[str, str] | str]:
    if not summary.files and not summary.may_be_empty:
        return [("incomplete", "bold yellow"), "  there was no file to read"]
    word = {0: CLEAN, 1: FINDINGS}.get(summary.exit_code, "incomplete")
    parts = [f"{summary.clean:,} clean", f"{summary.findings:,} with findings"]
    parts.append(f"{summary.incomplete:,} incomplete")
    return [
        (word, STYLES.get(word, "bold yellow")),
        f"  {quantity(summary.files, 'file')}: {', '.join(parts)}",
    ]


def scan_document(results: Sequence[FileResult], summary: Summary, threshold: Severity) -> str:
    """All of it as indented ASCII JSON, version 1."""
    body = {
        "version": VERSION,
        "files": [_file_document(one, threshold) for one in results],
        "summary": {
            "files": summary.files,
            "clean": summary.clean,
            "findings": summary.findings,
            "incomplete": summary.incomplete,
            "unknown_format": summary.unknown,
            "bytes": summary.size,
            "set_aside": summary.aside,
            "left_out": summary.left_out,
            "unvouched": summary.unvouched,
            "exit_code": summary.exit_code,
        },
    }
    return json.dumps(body, ensure_ascii=True, allow_nan=False, indent=2) + "\n"


def _file_document(one: FileResult, threshold: Severity) -> dict[str, object]:
    told: dict[str, object] = {
        "path": one.path,
        "status": one.status(threshold),
        "formats": list(one.formats),
        "inputs": one.inputs,
        "size": one.size,
        "findings": [_finding(finding, one.path) for finding in wording.worst_first(one.findings)],
        "more_findings": one.more,
        "not_read": [{"what": m.what, "reason": m.reason, "remedy": m.remedy} for m in one.missed],
        "set_aside": [
            {**_finding(aside.finding, one.path), "by": aside.by, "reason": aside.reason}
            for aside in one.aside
        ],
    }
    if one.sha256:
        told["sha256"] = one.sha256
    if one.twin:
        told["same_file_as"] = one.twin
    return told


def _finding(finding: Finding, path: str) -> dict[str, object]:
    from ..scan.gate.fingerprint import fingerprint  # which a text for people does not tell

    return {**finding_document(finding), "fingerprint": fingerprint(finding, path)}
