"""Findings that are set aside: by the configuration, by a comment beside them, or by a baseline.

None of them disappears: each is told with its reason. A comment counts only with a reason, and never in a
line that the judged change itself adds, since who plants something would bring the comment along.
"""

from __future__ import annotations

import datetime
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import EvidenceError, UsageError
from ...core.finding import Finding
from ...core.ignore import Ignore
from ...observe.artifact.input import open_file
from ...observe.artifact.url import is_url
from .fingerprint import fingerprint
from .result import FileResult, SetAside

VERSION = 1
MAX_BASELINE = 64 << 20
_MAX_SOURCE = 16 << 20
_COMMENT = re.compile(rb"#\s*veracity:\s*ignore\[([a-z, -]{1,400})\]\s*:?\s*(\S.{2,})")


@dataclass(frozen=True, slots=True)
class Rules:
    """What sets findings aside. ``baseline``: fingerprint → how many of it were there before."""

    ignores: tuple[Ignore, ...]
    baseline: Mapping[str, int]
    today: datetime.date
    comments: bool = True


def set_aside(results: Sequence[FileResult], rules: Rules) -> list[FileResult]:
    """``results`` with what the rules set aside."""
    known = Counter(rules.baseline)
    told = []
    for one in results:
        comments = _comments(one) if rules.comments else {}
        aside = [found for finding in one.findings if (found := _set(finding, one, comments, rules, known))]
        told.append(one.setting_aside(aside) if aside else one)
    return told


def _set(
    finding: Finding,
    result: FileResult,
    comments: Mapping[int, tuple[frozenset[str], str]],
    rules: Rules,
    known: Counter[str],
) -> SetAside | None:
    for ignore in rules.ignores:
        if ignore.covers(finding, result.path, rules.today):
            return SetAside(finding, f"{ignore.owner}, until {ignore.expires}", ignore.reason)
    for where in finding.locations[:1]:
        # A place in another file, or in one inside this, has its line there.
        named, reason = comments.get(where.line if where.path == result.path else 0, (frozenset(), ""))
        if finding.rule in named:
            return SetAside(finding, "a comment in this line", reason)
    mark = fingerprint(finding, result.path)
    if known[mark] > 0:
        known[mark] -= 1
        return SetAside(finding, "the baseline", "it was there before")
    return None


def _comments(result: FileResult) -> dict[int, tuple[frozenset[str], str]]:
    """Comments by line, of a source file that has findings in lines."""
    in_lines = any(where.line for one in result.findings for where in one.locations)
    # A file of this machine may be called like a URL, and would speak for what lies behind that.
    if not in_lines or is_url(result.path):
        return {}
    try:
        source = open_file(result.path)
    except EvidenceError:
        return {}
    try:
        data = source.read(0, _MAX_SOURCE)
    except EvidenceError:
        return {}
    finally:
        source.close()
    found = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if b"veracity:" in line and (match := _COMMENT.search(line)):
            rules = frozenset(one.strip() for one in match[1].decode("ascii").split(","))
            found[number] = rules, match[2].decode("utf-8", "replace").strip()[:400]
    return found


def baseline_document(results: Sequence[FileResult]) -> str:
    """A baseline of all findings of ``results``, those set aside by nothing but a baseline included."""
    rows: Counter[tuple[str, str, str]] = Counter()
    for result in results:
        kept = [one.finding for one in result.aside if one.by == "the baseline"]
        for finding in (*result.findings, *kept):
            rows[(fingerprint(finding, result.path), finding.rule, result.path)] += 1
    listed = [
        {"fingerprint": mark, "rule": rule, "path": path, "times": times}
        for (mark, rule, path), times in sorted(
            rows.items(), key=lambda item: (item[0][2], item[0][1], item[0][0])
        )
    ]
    return json.dumps({"version": VERSION, "findings": listed}, ensure_ascii=True, indent=2) + "\n"


def read_baseline(path: Path) -> Mapping[str, int]:
    """Fingerprints of a baseline with how many there were; raises UsageError when it is none."""
    try:
        source = open_file(path)
        try:
            data = source.read(0, MAX_BASELINE + 1)
        finally:
            source.close()
        document = json.loads(data) if len(data) <= MAX_BASELINE else None
    except (EvidenceError, ValueError, RecursionError) as error:
        raise UsageError(f"the baseline cannot be read: {str(error)[:200]}", where=str(path)) from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise UsageError(
            "not a baseline of this version", where=str(path), remedy="write one with --write-baseline"
        )
    rows = document.get("findings")
    known: Counter[str] = Counter()
    for row in rows if isinstance(rows, list) else [None]:
        mark, times = (row.get("fingerprint"), row.get("times")) if isinstance(row, dict) else (None, None)
        if not isinstance(mark, str) or not isinstance(times, int) or isinstance(times, bool) or times < 1:
            raise UsageError("the baseline holds something else than findings", where=str(path))
        known[mark] += times
    return known
