"""``veracity show``: a run on a terminal, worst first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ..core.finding import Evidence, Finding
from ..core.quantity import quantity
from ..core.rule import Severity
from . import wording
from .page import Page, Span
from .visible import brief, clip

if TYPE_CHECKING:
    from rich.console import Console

    from ..core.summary import GapSummary, RunSummary

VERDICT_STYLES = {
    "held": "bold green",
    "broken": "bold red",
    "incomplete": "bold yellow",
    "refused": "bold red",
}
_SEVERITY_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}
_MAX_FINDINGS = 50
_MAX_GAPS = 50
_MAX_EXCERPT = 24
_MAX_REMARKS = 12
_MAX_PROCESSES = 64


def show(summary: RunSummary, console: Console | None = None) -> str:
    """Everything about ``summary`` as text; coloured when a console is given, else without escape codes."""
    page = Page()
    _heading(page, summary)
    _findings(page, summary)
    _coverage(page, summary)
    _gaps(page, summary.gaps)
    _what_ran(page, summary)
    _processes(page, summary)
    _record(page, summary)
    return page.show(console)


def headline(summary: RunSummary, console: Console | None = None) -> str:
    """The first line alone: verdict, run, and what the record is worth."""
    page = Page()
    page.line(*_first_line(summary))
    return page.show(console)


def closing(summary: RunSummary, console: Console | None = None) -> str:
    """What ``veracity run`` says when the job is over: verdict, worst findings, what to read next."""
    page = Page()
    page.line("veracity: ", *_first_line(summary))
    page.paragraph(wording.happened(summary), indent="  ")
    for finding in wording.worst_first(summary.findings)[:3]:
        page.line("  ", *_title(finding))
    for gap in summary.gaps[:3]:
        page.line("  ", ("gap", "bold yellow"), f"  {clip(gap.what, 160)}: {clip(gap.reason, 300)}")
    page.line(f"  veracity show {summary.run}    veracity report {summary.run}")
    return page.show(console)


def _first_line(summary: RunSummary) -> list[Span]:
    word = wording.verdict_word(summary)
    spans: list[Span] = [(word, VERDICT_STYLES.get(word, "bold")), "  ", (summary.run, "bold")]
    worth = wording.standing(summary)
    if worth:
        spans.append(f"  ({worth})")
    return spans


def _heading(page: Page, summary: RunSummary) -> None:
    page.line(*_first_line(summary))
    page.paragraph(wording.happened(summary), indent="  ")
    page.line()
    code = "has not ended" if summary.exit_code is None else f"exit code {summary.exit_code}"
    ranks, steps = wording.ranks_and_steps(summary)
    page.table(
        [
            (("command", "dim"), clip(" ".join(summary.command), 400)),
            (("started", "dim"), f"{wording.moment(summary.started_at)} on {summary.host} by {summary.user}"),
            (("took", "dim"), f"{wording.span(summary)}, {code}"),
            (("saw", "dim"), f"{quantity(steps, 'step')} on {quantity(ranks, 'rank')}"),
            *([(("job", "dim"), clip(wording.job(summary), 400))] if summary.job else []),
        ]
    )
    for reason in wording.other_reasons(summary)[:20]:
        page.paragraph(f"also because {reason}", indent="  ")


def _section(page: Page, title: str, remark: str = "") -> None:
    page.line()
    page.line((title, "bold"), f"  {remark}" if remark else "")


def _findings(page: Page, summary: RunSummary) -> None:
    _section(page, "Findings", wording.severities(summary.findings))
    ordered = wording.worst_first(summary.findings)
    for position, finding in enumerate(ordered[:_MAX_FINDINGS]):
        if position:
            page.line()
        add_finding(page, finding)
    if len(ordered) > _MAX_FINDINGS:
        rest = quantity(len(ordered) - _MAX_FINDINGS, "further finding")
        page.line(f"  and {rest}: veracity show {summary.run} --format json")


def _title(finding: Finding) -> list[Span]:
    whence = wording.whence(finding)
    return [
        (finding.severity.value, _SEVERITY_STYLES[finding.severity]),
        "  ",
        (finding.rule, "bold"),
        f"  confidence {finding.confidence.value}",
        f"  {whence}" if whence else "",
    ]


def add_finding(page: Page, finding: Finding) -> None:
    """A finding with its evidence, as lines of a page."""
    page.line("  ", *_title(finding))
    page.paragraph(finding.message, indent="    ")
    rows: list[tuple[Span, ...]] = []
    if finding.subject:
        rows.append((("subject", "dim"), clip(finding.subject, 300)))
    rows += [(("at", "dim"), (clip(wording.place(where), 600), "cyan")) for where in finding.locations[:20]]
    page.table(rows, indent="    ")
    for evidence in finding.evidence[:20]:
        _evidence(page, evidence)


def _evidence(page: Page, evidence: Evidence) -> None:
    page.line("    ", (clip(evidence.name, 200), "bold"))
    rows: list[tuple[Span, ...]] = []
    for label, value in (("expected", evidence.expected), ("observed", evidence.observed)):
        if value:
            rows.append(((label, "dim"), clip(value, 600)))
    if evidence.digest:
        rows.append((("digest", "dim"), clip(evidence.digest, 100)))
    page.table(rows, indent="      ")
    for text in evidence.excerpt[:_MAX_EXCERPT]:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(text[:1], "")
        page.line("      | ", (clip(text.expandtabs(4), 300), style))
    if len(evidence.excerpt) > _MAX_EXCERPT:
        page.line(f"      | ... {quantity(len(evidence.excerpt) - _MAX_EXCERPT, 'further line')}")


def _coverage(page: Page, summary: RunSummary) -> None:
    _section(page, "Coverage", "" if summary.coverage else "no law checked anything")
    width = max((len(law) for law in summary.coverage), default=0)
    for law, part in sorted(summary.coverage.items()):
        full = 0 < part.possible <= part.checked and not part.stopped
        style = "green" if full else "yellow"
        page.line("  ", law.ljust(width), "  ", (wording.checked(part), style))
        if wording.odds(part):
            page.line(" " * (width + 4), wording.odds(part))
        for reason in wording.reasons(part):
            page.line(" " * (width + 4), f"- {clip(reason, 300)}")


def _gaps(page: Page, gaps: tuple[GapSummary, ...]) -> None:
    _section(page, "Gaps", "what could not be observed" if gaps else "none: nothing known was missed")
    for gap in gaps[:_MAX_GAPS]:
        who = (
            f" (rank {gap.rank}, pid {gap.pid})"
            if gap.rank >= 0
            else f" (pid {gap.pid})"
            if gap.pid > 0
            else ""
        )
        law = f" [{gap.law}]" if gap.law else ""
        page.line("  ", (clip(gap.what, 200), "yellow"), f"{law}{who}")
        page.paragraph(gap.reason, indent="    ")
        if gap.remedy:
            page.paragraph(f"what to do: {gap.remedy}", indent="    ")
    if len(gaps) > _MAX_GAPS:
        page.line(f"  and {quantity(len(gaps) - _MAX_GAPS, 'further gap')}")


def _what_ran(page: Page, summary: RunSummary) -> None:
    _section(page, "What ran", "" if summary.sealed else "nothing was recorded")
    total = Counter(item.kind for item in summary.sealed)
    strange = Counter(item.kind for item in summary.sealed if wording.remarkable(item))
    rows: list[tuple[Span, ...]] = []
    for kind in dict.fromkeys(item.kind for item in summary.sealed):
        only = [item for item in summary.sealed if item.kind == kind]
        if len(only) <= 2:
            for item in only:
                said = "  ".join(part for part in (item.name, item.value, item.remark) if part)
                rows.append(((kind, "dim"), clip(said, 200)))
        else:
            odd = f", {strange[kind]:,} of them not as recorded" if strange[kind] else ""
            rows.append(((kind, "dim"), f"{total[kind]:,} recorded{odd}"))
    page.table(rows)
    odd_items = [item for item in summary.sealed if wording.remarkable(item) and total[item.kind] > 2]
    for item in odd_items[:_MAX_REMARKS]:
        page.line("    ", (clip(item.remark, 80), "red"), f"  {clip(item.name, 300)}")
    if len(odd_items) > _MAX_REMARKS:
        page.line(f"    and {len(odd_items) - _MAX_REMARKS:,} more")


def _processes(page: Page, summary: RunSummary) -> None:
    _section(page, "Processes", "" if summary.processes else "none was heard")
    rows: list[tuple[Span, ...]] = []
    for process in summary.processes[:_MAX_PROCESSES]:
        rank = f"rank {process.rank}" if process.rank >= 0 else process.role
        how = f"{process.how} {process.code}" + (
            f" ({clip(process.explained, 80)})" if process.explained else ""
        )
        told = f"{quantity(process.steps, 'step')}, {quantity(process.records, 'record')}"
        lost = f", {process.dropped:,} dropped" if process.dropped else ""
        share = wording.guard_share(process)
        cost = f", {share} in the guard" if share else ""
        rows.append(
            (f"pid {process.pid}", rank, told + lost + cost, how, (brief(process.command, 80), "dim"))
        )
    page.table(rows)
    if len(summary.processes) > _MAX_PROCESSES:
        page.line(f"  and {quantity(len(summary.processes) - _MAX_PROCESSES, 'further process')}")


def _record(page: Page, summary: RunSummary) -> None:
    page.line()
    root = summary.tree_root or "not yet signed"
    page.line(("Ledger", "bold"), f"  {quantity(summary.entries, 'entry')}, root {root}")
    page.line(f"  re-read and check every one: veracity verify {summary.run}")
