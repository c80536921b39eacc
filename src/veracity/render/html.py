"""``veracity report``: one HTML file that needs nothing else, no network and no script."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.finding import Finding
from ..core.quantity import quantity
from ..core.summary import RunSummary, StepPoint
from . import sections, wording
from .charts import loss_chart, rate_chart, steps_between, time_chart
from .markup import GENEROUS, LEAST, TIGHT, Limits, code, escape
from .series import PHASES, by_rank
from .style import CSS

MAX_BYTES = 1_000_000
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def report(summary: RunSummary) -> str:
    """The whole report, at most :data:`MAX_BYTES` of UTF-8: a run too rich for it is shown in less detail."""
    page = ""
    for limits in (GENEROUS, TIGHT, LEAST):
        page = _page(summary, limits)
        if len(page.encode("utf-8")) <= MAX_BYTES:
            break
    return page


def _page(summary: RunSummary, limits: Limits) -> str:
    ordered = wording.worst_first(summary.findings)
    word = wording.verdict_word(summary)
    body = "".join(
        (
            _tiles(summary),
            _course(summary, ordered[: limits.findings], limits),
            sections.findings(summary, ordered, limits),
            sections.coverage(summary.coverage, limits),
            sections.gaps(summary, limits),
            sections.contract(summary, limits),
            sections.what_ran(summary, limits),
            sections.processes(summary, limits),
            _record(summary),
        )
    )
    title = escape(f"{word}: {summary.run}", 200)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f'<meta name="referrer" content="no-referrer"/><title>{title}</title><style>{CSS}</style></head>\n'
        f"<body>{_header(summary, word, limits)}<main>{body}</main>"
        "<footer>Drawn from the run's ledger alone. This file loads nothing and runs nothing. Steps and "
        "ranks count from 0; times are UTC.</footer></body></html>\n"
    )


def _header(summary: RunSummary, word: str, limits: Limits) -> str:
    ended = "has not ended" if summary.exit_code is None else f"exit code {summary.exit_code}"
    facts = (
        ("Command", code(" ".join(summary.command), limits.text)),
        ("Started", escape(f"{wording.moment(summary.started_at)} on {summary.host} by {summary.user}", 400)),
        ("Took", escape(f"{wording.span(summary)}, {ended}")),
        *((("Job", escape(wording.job(summary), 400)),) if summary.job else ()),
    )
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    account = ""
    if summary.same_account:
        account = (
            '<p class="note"><b>Same account: tamper-visible only.</b> Monitor and job ran under one '
            "account: whoever controls it could replace the whole record, but not change a part of it "
            "unnoticed.</p>"
        )
    return (
        f'<header class="{word}"><div><div class="brand"><b>Veracity</b><span>run report</span></div>'
        f'<h1><span class="word">{word}</span>{code(summary.run, 120)}{_standing(summary)}</h1>'
        f'<p class="lead">{escape(wording.happened(summary), 900)}</p>{_because(summary, limits)}{account}'
        f'<dl class="facts">{listed}</dl></div></header>'
    )


def _standing(summary: RunSummary) -> str:
    """What the record is worth, in the line of the verdict."""
    worth = wording.standing(summary)
    return f' <small class="note">({escape(worth, 300)})</small>' if worth else ""


def _because(summary: RunSummary, limits: Limits) -> str:
    rest = wording.other_reasons(summary)
    rows = "".join(f"<li>{escape(reason, limits.text)}</li>" for reason in rest[:20])
    return f'<ul class="plain">{rows}</ul>' if rows else ""


def _tiles(summary: RunSummary) -> str:
    ranks, steps = wording.ranks_and_steps(summary)
    laws = sum(part.checked > 0 for part in summary.coverage.values())
    breaking = sum(finding.breaks for finding in summary.findings)
    tone = " broken" if breaking else ""
    gap_tone = " incomplete" if summary.gaps else ""
    rows = (
        ("", *_counted(steps, "step", f" on {quantity(ranks, 'rank')}")),
        ("", f"{laws} of {len(summary.coverage)}", "laws that could check"),
        (tone, *_counted(len(summary.findings), "finding", f" ({wording.severities(summary.findings)})")),
        (gap_tone, *_counted(len(summary.gaps), "gap")),
        ("", *_counted(summary.entries, "ledger entry")),
    )
    tiles = "".join(
        f'<div class="tile{css}"><b>{value}</b><span>{escape(label)}</span></div>'
        for css, value, label in rows
    )
    return f'<div class="tiles">{tiles}</div>'


def _counted(number: int, noun: str, more: str = "") -> tuple[str, str]:
    """A number, and what is said below it."""
    value, _, label = quantity(number, noun).partition(" ")
    return value, label + more


def _course(summary: RunSummary, ordered: Sequence[Finding], limits: Limits) -> str:
    if not summary.points:
        return sections.section("Course of training", "", '<div class="card">No step was recorded.</div>')
    rate = rate_chart(summary.points, limits)
    parts = [
        '<div class="card"><h3>Loss</h3>',
        loss_chart(summary.points, ordered, limits),
        f"<h3>Learning rate</h3>{rate}" if rate else "",
        _times(summary.points, ordered, limits),
        "</div>",
    ]
    remark = "findings are marked at their first step" if ordered else ""
    return sections.section("Course of training", remark, "".join(parts))


def _times(points: Sequence[StepPoint], ordered: Sequence[Finding], limits: Limits) -> str:
    """Step-time strips: of the ranks findings speak of first, then of the lowest ranks."""
    ranks = by_rank(points)
    wanted = [finding.rank for finding in ordered if finding.rank in ranks]
    chosen = sorted(list(dict.fromkeys([*wanted, *ranks]))[: limits.strips])
    span = steps_between(points)
    parts = ["<h3>Step time</h3>"]
    for rank in chosen:
        drawn, caption = time_chart(ranks[rank], span, (limits.buckets + 120) // len(chosen))
        who = f"rank {rank}: " if len(ranks) > 1 else ""
        parts.append(f'{drawn}<p class="note">{escape(who + caption)}</p>')
    keys = "".join(f'<span><i class="p-{name}"></i>{name}</span>' for name in PHASES)
    hidden = len(ranks) - len(chosen)
    other = f"<span>{escape(quantity(hidden, 'further rank'))} not drawn</span>" if hidden else ""
    return f'{"".join(parts)}<p class="legend">{keys}{other}</p>'


def _record(summary: RunSummary) -> str:
    root = code(summary.tree_root, 200) if summary.tree_root else "not yet signed"
    command = code(f"veracity verify {summary.run}", 200)
    body = (
        f'<div class="card"><dl class="facts"><dt>Entries</dt><dd>{summary.entries:,}</dd>'
        f"<dt>Root</dt><dd>{root}</dd><dt>Folder</dt><dd>{code(summary.folder, 400)}</dd></dl>"
        f"<p>Do not take this page's word for it: {command} re-reads every entry and every recorded piece of "
        "evidence, rebuilds the tree, and compares its root and signature with the ones above. A root noted "
        "elsewhere when the run ended shows any later change.</p></div>"
    )
    return sections.section("Record", "what this page rests on", body)
