"""What was found in an environment that was compared with its archives: text, and what stands in its seal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..core.canonical import Json
from ..core.observation import DistributionCompared
from ..core.quantity import quantity
from ..core.rule import Severity
from ..scan.examine import Examined
from . import wording
from .page import Page
from .text import add_finding
from .visible import clip

if TYPE_CHECKING:
    from rich.console import Console

MAX_SHOWN = 50
MAX_SEALED = 2_000
_STANDINGS = {
    "compared": "compared with its archive",
    "system": "belongs to the system, compared with its package database",
    "content": "has no archive, sealed by content",
    "unlocked": "is named by no lock",
    "version": "has another version than the lock names",
    "absent": "its archive could not be had",
}


def examined(found: Examined, console: Console | None = None) -> str:
    """Findings, worst first; how much was compared; what was not, and why."""
    page = Page()
    page.line(("Environment", "bold"), f"  {wording.severities(found.findings)}")
    ordered = wording.worst_first(found.findings)
    for finding in ordered[:MAX_SHOWN]:
        add_finding(page, finding)
    if len(ordered) > MAX_SHOWN:
        page.line(f"  and {len(ordered) - MAX_SHOWN:,} more; --format json has them all")
    standings = Counter(one.standing for one in found.distributions)
    for standing, number in standings.most_common():
        each = quantity(number, "distribution: it", "distributions: each")
        page.line(f"  {each} {_STANDINGS[standing]}")
    for law, part in sorted(found.coverage.items()):
        full = 0 < part.possible <= part.checked
        page.line(f"  {law:<18}", (wording.checked(part), "green" if full else "yellow"))
        for reason in wording.reasons(part)[:MAX_SHOWN]:
            page.line(" " * 20, f"- {clip(reason, 300)}")
    for gap in found.gaps:
        page.line("  ", ("gap", "bold yellow"), f"  {clip(gap.what, 200)}: {clip(gap.reason, 300)}")
    return page.show(console)


def sealed_part(
    found: Examined, python: str, version: str, named_by: Sequence[tuple[str, str]]
) -> dict[str, Json]:
    """What a seal says of an examined environment; ``named_by``: locks with their SHA-256, folders."""
    ordered = wording.worst_first(found.findings)
    return {
        "python": python,
        "version": version,
        "named_by": [{"path": path, "sha256": sha256} for path, sha256 in named_by],
        "distributions": [_distribution(one) for one in found.distributions],
        "coverage": [
            {"law": law, "unit": part.unit, "checked": part.checked, "possible": part.possible}
            for law, part in sorted(found.coverage.items())
        ],
        "findings": [
            {
                "rule": one.rule,
                "severity": one.severity.value,
                "confidence": one.confidence.value,
                "subject": one.subject,
                "locations": [where.path for where in one.locations],
                "message": one.message,
            }
            for one in ordered[:MAX_SEALED]
        ],
        "findings_count": len(ordered),
        "gaps": [{"what": one.what, "reason": one.reason} for one in found.gaps[:MAX_SEALED]],
    }


def sealed_findings(examined: Mapping[str, Json]) -> list[str]:
    """Of what stands in a seal: each error and warning, and what was not compared, a sentence each."""
    said = []
    for one in _objects(examined.get("findings")):
        if one.get("severity") != Severity.NOTE.value:
            said.append(f"{one.get('severity')}: {one.get('rule')}: {one.get('message')}")
    missing = [one for one in _objects(examined.get("distributions")) if one.get("standing") == "absent"]
    said += [f"not compared: {one.get('name')} {one.get('version')}" for one in missing]
    said += [
        f"not compared: {one.get('what')}: {one.get('reason')}" for one in _objects(examined.get("gaps"))
    ]
    return said


def _objects(value: Json | None) -> list[dict[str, Json]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _distribution(one: DistributionCompared) -> dict[str, Json]:
    return {
        "name": one.name,
        "version": one.version,
        "standing": one.standing,
        "archive": one.archive,
        "sha256": one.sha256,
        "files": one.files,
    }


def exit_code(found: Examined) -> int:
    """1 with an error or a warning, else 2 when not all could be compared, else 0."""
    if any(one.severity is not Severity.NOTE for one in found.findings):
        return 1
    return 0 if found.is_complete else 2
