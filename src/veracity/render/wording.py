"""How things are said, once for all formats: times, counts, coverage, and the sentence of what happened."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.finding import Finding, Location
from ..core.quantity import quantity
from ..core.rule import Confidence, Severity
from ..core.verdict import Outcome

if TYPE_CHECKING:
    from ..core.coverage import Coverage
    from ..core.summary import ProcessSummary, RunSummary, SealedItem
    from ..observe.marks import Mark

UNFINISHED = "unfinished"
SAME_ACCOUNT = "same account: tamper-visible only"

_SURE = {Confidence.HIGH: 0, Confidence.MEDIUM: 1, Confidence.LOW: 2}
_BROKEN = {
    "update": "the weights were not changed as the declared optimizer would have changed them",
    "schedule": "the learning rate did not follow the declared schedule",
    "data-order": "batches did not arrive in the order that sampler, seed and epoch imply",
    "data-content": "the data that arrived is not the data that was recorded",
    "weight-continuity": "weights differ from what they were left as, without an optimizer step in between",
    "code-identity": "the code that ran is not the code that its source or distribution says",
    "load": "a file that was to be loaded holds more than data",
    "start-up-purity": "something ran before the program that belongs to nothing known",
    "reported-computed": "the loss that was logged is not the loss that was computed",
    "time": "steps lost time that neither the work nor the machine explains",
    "life": "a process of the job ended without a known cause",
    "channels": "a way out of the process, or into installed code, was opened that training has no use for",
    "approval": "the run was started on what is not as it was sealed, or was not approved",
    "record": "the record of the run itself does not hold",
}
_REMARKABLE = ("altered", "uncommitted", "forged", "elsewhere", "unrecorded", "missing", "unknown", "edited")


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Findings by severity, then confidence, then the step they begin at (those without a step last)."""
    return sorted(findings, key=_badness)


def _badness(finding: Finding) -> tuple[int, int, float, str, int]:
    step = math.inf if finding.first_step is None else finding.first_step
    return -finding.severity.weight, _SURE[finding.confidence], step, finding.rule, finding.rank


def verdict_word(summary: RunSummary) -> str:
    """``held``, ``broken``, ``incomplete``, ``unfinished`` while there is no verdict, or ``refused``."""
    if summary.refused:
        return "refused"
    return summary.verdict.outcome.value if summary.verdict is not None else UNFINISHED


def standing(summary: RunSummary) -> str:
    """What the record is worth by who made it: stands in the first line of every verdict."""
    if summary.same_account:
        return SAME_ACCOUNT
    if not summary.recorder:
        return ""
    recorder = f"the account {summary.recorder} (uid {summary.recorder_uid})"
    return f"recorded by {recorder}, job ran as uid {summary.ran_as}"


def headline(summary: RunSummary) -> str:
    """Verdict, run, and what the record is worth, in one line."""
    worth = standing(summary)
    return f"{verdict_word(summary)}  {summary.run}" + (f"  ({worth})" if worth else "")


def guard_share(process: ProcessSummary) -> str:
    """``0.6 %``: the guard's share of the time from the first step to the last; empty when nobody knows."""
    return f"{100 * process.spent / process.trained:.1f} %" if process.trained > 0 else ""


def severities(findings: Iterable[Finding]) -> str:
    """``2 errors, 1 warning``; ``none`` when there are none."""
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(quantity(counts[level], level.value) for level in Severity if counts[level]) or "none"


def moment(at: int | None) -> str:
    """``2025-03-02 14:02:11 UTC`` for nanoseconds since the epoch; ``unknown`` for what no clock shows."""
    if at is None:
        return "not yet"
    try:
        when = datetime.datetime.fromtimestamp(at // 10**9, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return "unknown"
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def marked(mark: Mark) -> str:
    """``owner me, last changed 2025-03-02 14:02:11 UTC``, by the file system's word."""
    return f"owner {mark.user or mark.uid}, last changed {moment(mark.changed_at)}"


def duration(ns: int) -> str:
    """``43.2 ms``, ``1.80 s``, ``4 min 12 s``, ``3 h 05 min``."""
    if ns < 0:
        return f"-{duration(-ns)}"
    if ns < 1_000_000:
        return f"{ns / 1e3:.3g} us" if ns else "0 s"
    if ns < 1_000_000_000:
        return f"{ns / 1e6:.3g} ms"
    if ns < 60_000_000_000:
        return f"{ns / 1e9:.3g} s"
    minutes, seconds = divmod(ns // 10**9, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def span(summary: RunSummary) -> str:
    """How long the run took, or that it goes on."""
    if summary.ended_at is None:
        return "has not ended"
    return duration(summary.ended_at - summary.started_at)


def place(location: Location) -> str:
    """``path:line``, or the path alone when the line is not known."""
    return f"{location.path}:{location.line}" if location.line > 0 else location.path


def whence(finding: Finding) -> str:
    """``from step 120, rank 0``; empty when neither is known."""
    parts = [] if finding.first_step is None else [f"from step {finding.first_step:,}"]
    if finding.rank >= 0:
        parts.append(f"rank {finding.rank}")
    return ", ".join(parts)


def checked(part: Coverage) -> str:
    """``checked 300 of 300 steps``; a law that checked nothing says so."""
    if part.checked <= 0:
        return f"checked nothing (0 of {part.possible:,} {part.unit})" if part.possible else "checked nothing"
    return f"checked {part.checked:,} of {part.possible:,} {part.unit}"


def odds(part: Coverage) -> str:
    """What a law that checks drawn units may have missed, empty for one that checks them as they come."""
    if not part.checked:
        return ""
    if part.drawn_from == 0:
        if not part.passed:
            return ""
        seldom, often = (part.missed(of, everywhere=True) for of in (0.01, 0.1))
        return (
            f"drawn by chance: what acts on a hundredth of the {part.unit} was missed with a probability of "
            f"{seldom:.2g}, on a tenth of {often:.2g}"
        )
    everywhere, alone = (part.missed(0.1, everywhere=whole) for whole in (True, False))
    return (
        f"drawn by chance: what acts on a tenth of the {part.unit} was missed with a probability of "
        f"{everywhere:.2g} if it acts on all {part.drawn_from}, of {alone:.2g} if on one of them"
    )


def reasons(part: Coverage) -> list[str]:
    """Why a law did not check more, commonest first, with how often when more than once."""
    said = [f"stopped: {part.stopped}"] if part.stopped else []
    ranked = sorted(part.reasons.items(), key=lambda item: (-item[1], item[0]))
    return said + [f"{reason} ({times:,} times)" if times > 1 else reason for reason, times in ranked]


def job(summary: RunSummary) -> str:
    """The job over several nodes that a run says it is part of, and the other runs of it that it met."""
    return f"{summary.job}, with {', '.join(summary.peers) or 'no other monitor'}"


def ranks_and_steps(summary: RunSummary) -> tuple[int, int]:
    """How many ranks spoke, and the number of optimizer steps of the one that made most.

    A rank that was started again has made those of all its processes.
    """
    ranks = {process.rank for process in summary.processes if process.rank >= 0 and process.role == "rank"}
    ranks |= {point.rank for point in summary.points if point.rank >= 0}
    made: Counter[int] = Counter()
    for process in summary.processes:
        made[process.rank] += process.steps
    most = max(made.values(), default=0)
    return len(ranks), max(most, max((point.step + 1 for point in summary.points), default=0))


def remarkable(item: SealedItem) -> bool:
    """Whether a line of "what ran" says that something is not as its reference says."""
    return any(word in item.remark for word in _REMARKABLE)


def happened(summary: RunSummary) -> str:
    """One or two sentences of plain language: what happened in this run."""
    if summary.refused:
        others = len(summary.refused) - 1
        return f"Not started: {summary.refused[0]}" + (
            f", and {quantity(others, 'more reason')}." if others else "."
        )
    ranks, steps = ranks_and_steps(summary)
    ran = f"{quantity(steps, 'step')} on {quantity(ranks, 'rank')}"
    if summary.verdict is None:
        return f"No verdict yet: the run goes on, or its monitor ended before it did. Seen so far: {ran}."
    if summary.verdict.outcome is Outcome.BROKEN:
        return _broken(summary)
    if summary.verdict.outcome is Outcome.INCOMPLETE:
        why = summary.verdict.reasons[0] if summary.verdict.reasons else "no reason was recorded"
        return f"Nothing was found broken, but too little was seen to say that the laws held: {why}."
    laws = [part for part in summary.coverage.values() if part.checked > 0]
    blind = len(summary.coverage) - len(laws)
    rest = f"; {quantity(blind, 'law')} could check nothing, as said below" if blind else ""
    passed = max((part.passed for part in summary.coverage.values() if part.unit == "steps"), default=0)
    made = sum(process.steps for process in summary.processes)
    if passed:
        share = max(0.0, 1 - passed / made) if made else 0.0
        ran += f", of which {100 * share:.2g} % were looked at,"
    return f"{ran} obeyed every law that was checked ({len(laws)} of {len(summary.coverage)}){rest}."


def other_reasons(summary: RunSummary) -> list[str]:
    """Reasons of the verdict that neither :func:`happened` nor a finding's own message already gives."""
    if summary.verdict is None or summary.verdict.outcome is Outcome.HELD:
        return []
    said = {f"{finding.rule}: {finding.message}" for finding in summary.findings}
    told = summary.verdict.reasons
    return [
        reason
        for reason in (told[1:] if summary.verdict.outcome is Outcome.INCOMPLETE else told)
        if reason not in said
    ]


def _brief(location: Location) -> str:
    """The last parts of a path: enough to know the file in a sentence; the findings have it whole."""
    parts = location.path.rsplit("/", 3)
    return place(Location("/".join(parts[1:]) if len(parts) == 4 else location.path, location.line))


def _broken(summary: RunSummary) -> str:
    ordered = worst_first(summary.findings)
    breaking = [finding for finding in ordered if finding.breaks]
    if not breaking:
        return "The verdict is broken, but no finding that would break a run is in the record."
    worst = breaking[0]
    what = _BROKEN.get(worst.law, f"the law of {worst.law} did not hold")
    sentence = f"From step {worst.first_step:,} on, {what}" if worst.first_step is not None else what
    if worst.rank >= 0:
        sentence += f" (rank {worst.rank})"
    if worst.locations:
        sentence += f". The first place to look is {_brief(worst.locations[0])}"
    others = len(ordered) - 1
    more = f" {quantity(others, 'further finding')} below." if others else ""
    return f"{sentence[0].upper()}{sentence[1:]}.{more}"
