"""The parts of the report that are words and tables: findings, coverage, gaps, contract, what ran."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..core.coverage import Coverage
from ..core.finding import Evidence, Finding
from ..core.quantity import quantity
from ..core.rule import Severity
from ..core.summary import GapSummary, ProcessSummary, RunSummary, SealedItem
from . import wording
from .markup import Limits, code, escape

_LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note-level"}
_DIFF = {"+": "add", "-": "del", "@": "hunk"}


def section(title: str, remark: str, body: str, anchor: str = "") -> str:
    """A titled part of the page; ``title`` and ``remark`` are plain text, ``body`` is HTML."""
    small = f"<small>{escape(remark)}</small>" if remark else ""
    name = f' id="{anchor}"' if anchor else ""
    return f"<section{name}><h2>{escape(title)}{small}</h2>{body}</section>"


def more(left: int, noun: str, run: str) -> str:
    """A sentence on what a page leaves out, and where it is."""
    if left <= 0:
        return ""
    where = code(f"veracity show {run} --format json")
    return f'<p class="note">And {escape(quantity(left, noun))}, listed by {where}.</p>'


def findings(summary: RunSummary, ordered: Sequence[Finding], limits: Limits) -> str:
    """Findings as cards, numbered as on the loss curve."""
    cards = [_finding(at, finding, limits) for at, finding in enumerate(ordered[: limits.findings], 1)]
    if not cards:
        cards = ['<div class="card">No law that was checked was found broken.</div>']
    left = more(len(ordered) - limits.findings, "further finding", summary.run)
    return section("Findings", wording.severities(ordered), "".join(cards) + left, "findings")


def _finding(at: int, finding: Finding, limits: Limits) -> str:
    level = _LEVEL[finding.severity]
    whence = wording.whence(finding)
    facts = []
    if finding.subject:
        facts.append(f"<dt>Subject</dt><dd>{code(finding.subject, limits.text)}</dd>")
    for where in finding.locations[: limits.evidence]:
        facts.append(f"<dt>At</dt><dd>{code(wording.place(where), limits.text)}</dd>")
    shown = "".join(_evidence(evidence, limits) for evidence in finding.evidence[: limits.evidence])
    return (
        f'<article class="card finding {level}" id="finding-{at}"><h3><span class="num">{at}</span>'
        f"{code(finding.rule, 120)}"
        f'<span class="badge">{finding.severity.value}, confidence {finding.confidence.value}</span>'
        f'<span class="at">{escape(whence)}</span></h3><p>{escape(finding.message, limits.text)}</p>'
        f'<dl class="facts">{"".join(facts)}</dl>{shown}</article>'
    )


def _evidence(evidence: Evidence, limits: Limits) -> str:
    parts = [f"<h4>{escape(evidence.name, limits.text)}</h4>"]
    if evidence.expected or evidence.observed:
        expected, observed = escape(evidence.expected, limits.text), escape(evidence.observed, limits.text)
        parts.append(
            f'<div class="pair"><div><span>expected</span><b>{expected or "&mdash;"}</b></div>'
            f'<div class="seen"><span>observed</span><b>{observed or "&mdash;"}</b></div></div>'
        )
        compared = _compared(evidence.expected, evidence.observed)
        parts.append(f'<p class="times">{compared}</p>' if compared else "")
    if evidence.excerpt:
        parts.append(_excerpt(evidence.excerpt, limits))
    if evidence.digest:
        parts.append(f'<p class="note">recorded as {code(evidence.digest, 100)}</p>')
    return "".join(parts)


def _compared(expected: str, observed: str) -> str:
    """``Observed is 1.9 times what was expected``, when both are plain numbers and that says something."""
    try:
        before, after = float(expected), float(observed)
    except ValueError:
        return ""
    if not (math.isfinite(before) and math.isfinite(after)) or before == after:
        return ""
    difference = f"difference {after - before:+.4g}"
    if before == 0 or not 1e-6 < abs(after / before) < 1e6:
        return difference
    return f"{difference}; observed is {after / before:.4g} times what was expected"


def _excerpt(lines: Sequence[str], limits: Limits) -> str:
    shown = lines[: limits.excerpt]
    is_diff = all(line[:1] in ("", " ", "+", "-", "@", "\\") for line in lines)
    rows = []
    for line in shown:
        css = _DIFF.get(line[:1], "") if is_diff else ""
        tag = f'<span class="{css}">' if css else "<span>"
        rows.append(f"{tag}{escape(line.expandtabs(4), max(80, limits.text // 5))}</span>")
    if len(lines) > len(shown):
        rows.append(f'<span class="hunk">{escape(quantity(len(lines) - len(shown), "further line"))}</span>')
    return f"<pre>{''.join(rows)}</pre>"


def coverage(parts: dict[str, Coverage], limits: Limits) -> str:
    """How much each law really checked, with the reasons for the rest."""
    most = 5 * limits.evidence
    laws = [_law(law, part, limits) for law, part in sorted(parts.items())[:most]]
    left = len(parts) - most
    other = f'<p class="note">And {escape(quantity(left, "further law"))}.</p>' if left > 0 else ""
    body = f'<div class="card">{"".join(laws) or "No law checked anything."}{other}</div>'
    return section("Coverage", "how much each law really checked", body)


def _law(law: str, part: Coverage, limits: Limits) -> str:
    share = min(1.0, part.checked / part.possible) if part.possible > 0 else 0.0
    css = "none" if part.checked <= 0 else "part" if part.stopped or share < 1 else "full"
    reasons = wording.reasons(part)
    said = "".join(f"<li>{escape(reason, limits.text)}</li>" for reason in reasons[: limits.evidence])
    if len(reasons) > limits.evidence:
        said += f"<li>{escape(quantity(len(reasons) - limits.evidence, 'further reason'))}</li>"
    name, amount = (
        escape(law, 80),
        escape("; ".join(filter(None, (wording.checked(part), wording.odds(part)))), 400),
    )
    bar = f'<progress class="{css}" max="1" value="{max(0.0, share):.3f}" aria-label="{name}"></progress>'
    listed = f"<ul>{said}</ul>" if said else ""
    return f'<div class="law"><b>{name}</b>{bar}<span class="amount">{amount}</span>{listed}</div>'


def gaps(summary: RunSummary, limits: Limits) -> str:
    """What could not be observed, why, and what to do about it."""
    most = min(limits.rows // 6, 100)
    cards = "".join(_gap(gap, limits) for gap in summary.gaps[:most])
    if not cards:
        return section("Gaps", "none", '<div class="card">Nothing is known to have been missed.</div>')
    body = cards + more(len(summary.gaps) - most, "further gap", summary.run)
    return section("Gaps", "what could not be observed", body)


def _gap(gap: GapSummary, limits: Limits) -> str:
    who = f"rank {gap.rank}, " if gap.rank >= 0 else ""
    pid = f"{who}pid {gap.pid}, " if gap.pid > 0 else who
    law = f'<span class="badge">{escape(gap.law, 80)}</span>' if gap.law else ""
    remedy = f"<p><b>What to do.</b> {escape(gap.remedy, limits.text)}</p>" if gap.remedy else ""
    return (
        f'<div class="card finding warning"><h3>{escape(gap.what, limits.text)}{law}<span class="at">{pid}'
        f"{wording.moment(gap.at)}</span></h3><p>{escape(gap.reason, limits.text)}</p>{remedy}</div>"
    )


def contract(summary: RunSummary, limits: Limits) -> str:
    """What the run declared, and where each declaration comes from."""
    if not summary.contract:
        return section("Contract", "", '<div class="card">The run declared nothing that could be read.</div>')
    most = min(limits.rows, 200)
    rows = "".join(
        f"<tr><td>{escape(name, limits.text)}</td><td>{code(value, limits.text)}</td>"
        f"<td>{escape(origin, 80)}</td></tr>"
        for name, value, origin in summary.contract[:most]
    )
    head = "<tr><th>Field</th><th>Value</th><th>Origin</th></tr>"
    note = (
        '<p class="note">A field that was only read or observed is protected against later change, not '
        "against having been wrong from the start.</p>"
    )
    left = more(len(summary.contract) - most, "further field", summary.run)
    table = f'<div class="card"><table>{head}{rows}</table></div>'
    return section("Contract", "what the run declared", table + note + left)


def what_ran(summary: RunSummary, limits: Limits) -> str:
    """What is not as its reference says, then all sealed items by kind, collapsed."""
    if not summary.sealed:
        return section("What ran", "", '<div class="card">Nothing was recorded of what ran.</div>')
    odd = [item for item in summary.sealed if wording.remarkable(item)]
    most = max(4, limits.rows // 4)
    parts = []
    if odd:
        rows = "".join(_item(item, limits) for item in odd[:most])
        left = more(len(odd) - most, "further item", summary.run)
        parts.append(f'<div class="card"><h3>Not as its reference says</h3><table>{rows}</table>{left}</div>')
    kinds: dict[str, list[SealedItem]] = {}
    for item in summary.sealed:
        kinds.setdefault(item.kind, []).append(item)
    shown = sorted(list(kinds.items())[:40], key=lambda pair: len(pair[1]))
    room = limits.rows
    groups: dict[str, str] = {}
    for left_over, (kind, items) in zip(range(len(shown), 0, -1), shown, strict=True):
        # Smallest kinds first: what they do not need of their share is left to the large ones.
        take = min(len(items), room // left_over)
        room -= take
        groups[kind] = _kind(kind, items, take, summary.run, limits)
    parts.append(f'<div class="card">{"".join(groups[kind] for kind in kinds if kind in groups)}</div>')
    return section("What ran", quantity(len(summary.sealed), "item"), "".join(parts))


def _kind(kind: str, items: Sequence[SealedItem], take: int, run: str, limits: Limits) -> str:
    ranked = sorted(items, key=lambda item: (not wording.remarkable(item), item.name))
    rows = "".join(_item(item, limits) for item in ranked[:take])
    left = more(len(items) - take, "further item", run)
    head = f"<summary>{escape(kind, 80)}<small>{len(items):,}</small></summary>"
    return f"<details>{head}<table>{rows}</table>{left}</details>"


def _item(item: SealedItem, limits: Limits) -> str:
    css = ' class="odd"' if wording.remarkable(item) else ""
    is_digest = len(item.value) > 64 and item.value.startswith("sha256:")
    value = code(item.value[:23] + "\u2026" if is_digest else item.value, limits.text) if item.value else ""
    return (
        f"<tr{css}><td>{escape(item.name, min(limits.text, 300))}</td><td>{value}</td>"
        f"<td>{escape(item.remark, 200)}</td></tr>"
    )


def processes(summary: RunSummary, limits: Limits) -> str:
    """Who spoke, how much, and how each ended."""
    most = min(limits.rows, 200)
    rows = "".join(_process(process, limits) for process in summary.processes[:most])
    head = (
        "<tr><th>PID</th><th>Role</th><th>Steps</th><th>Records</th><th>Dropped</th><th>In the guard</th>"
        "<th>Ended</th><th>Command</th></tr>"
    )
    left = more(len(summary.processes) - most, "further process", summary.run)
    table = f"<table>{head}{rows}</table>" if rows else "No process of the job was heard."
    remark = quantity(len(summary.processes), "process")
    return section("Processes", remark, f'<div class="card">{table}</div>{left}')


def _process(process: ProcessSummary, limits: Limits) -> str:
    role = f"rank {process.rank}" if process.rank >= 0 else process.role
    how = f"{process.how} {process.code}" + (f": {process.explained}" if process.explained else "")
    counts = "".join(f"<td>{count:,}</td>" for count in (process.steps, process.records, process.dropped))
    counts += f"<td>{wording.guard_share(process)}</td>"
    return (
        f"<tr><td>{process.pid}</td><td>{escape(role, 80)}</td>{counts}<td>{escape(how, 300)}</td>"
        f"<td>{code(process.command, min(limits.text, 300))}</td></tr>"
    )
