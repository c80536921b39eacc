"""How seals stand, who approved them, and what falls with a key: for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.approval import Approvable, Approval, PartStanding, Standing, Why, Word
from ..core.policy import Policy
from ..core.quantity import quantity
from ..monitor.sealedruns import SealedRun
from .page import Page, Span
from .wording import moment

if TYPE_CHECKING:
    from rich.console import Console

MAX_SHOWN = 100
_STYLES = {Word.APPROVED: "bold green", Word.EXPIRED: "bold yellow"}


def listed(policy: Policy, seal: Approvable, stands: Standing, console: Console | None = None) -> str:
    """How a seal stands, part by part, and what each approval of it is worth."""
    page = Page()
    page.line((stands.word.value, _STYLES.get(stands.word, "bold red")), f"  {seal.seal}")
    rows: list[tuple[Span, ...]] = []
    for one, place in _placed(seal, stands):
        who = f"by {', '.join(one.counted)}" if one.counted else ""
        word: Span = (one.word.value, _STYLES.get(one.word, "red"))
        rows.append((one.part, word, place, one.reason if one.word is not Word.APPROVED else who))
    page.table(rows)
    for approval, why in stands.judged[-MAX_SHOWN:]:
        until = f", until {moment(approval.expires_at)}" if approval.expires_at is not None else ""
        said = f": {approval.reason}" if approval.reason else ""
        knowing = ", despite what was found" if approval.despite else ""
        style = "" if why is Why.COUNTS else "yellow"
        parts = f"{', '.join(approval.parts)}{knowing}"
        page.line(
            f"  {_called(policy, approval)}, {moment(approval.at)}, for {parts}{until}: ",
            (why.value, style),
            said,
        )
    if not stands.judged:
        page.line("  nobody has approved it")
    page.line("  ", (f"seal {seal.digest}", "dim"))
    page.line("  ", (f"policy {policy.digest()}", "dim"))
    return page.show(console)


def document(policy: Policy, seal: Approvable, stands: Standing) -> str:
    """The same as JSON."""
    body = {
        "seal": seal.seal,
        "digest": seal.digest,
        "policy": str(policy.digest()),
        "standing": stands.word.value,
        "parts": [
            {
                "part": one.part,
                "path": place,
                "standing": one.word.value,
                "approved_by": list(one.counted),
                "needed": one.needed,
                "reason": one.reason,
            }
            for one, place in _placed(seal, stands)
        ],
        "approvals": [
            {
                "entry": one.number,
                "principal": _called(policy, one),
                "parts": list(one.parts),
                "at": one.at,
                "expires_at": one.expires_at,
                "policy": one.policy,
                "reason": one.reason,
                "despite_findings": one.despite,
                "worth": why.value,
            }
            for one, why in stands.judged
        ],
    }
    return json.dumps(body, ensure_ascii=True, indent=2) + "\n"


def _placed(seal: Approvable, stands: Standing) -> list[tuple[PartStanding, str]]:
    """Each part with its path; what was found in an environment stands behind them and has none."""
    places = [*seal.places, *[""] * (len(stands.parts) - len(seal.places))]
    return list(zip(stands.parts, places, strict=True))


def fallen(
    name: str,
    since: int,
    concerned: Sequence[tuple[Approvable, Standing]],
    runs: Sequence[SealedRun],
    unread: Sequence[str],
    console: Console | None = None,
) -> str:
    """What a revocation felled."""
    page = Page()
    page.line(("revoked", "bold red"), f"  {name}, all that was approved from {moment(since)} on")
    for seal, stands in concerned[:MAX_SHOWN]:
        page.line("  ", (stands.word.value, "red"), f"  {seal.seal}: {'; '.join(stands.reasons)}")
    for run in [one for one in runs if not one.reason][:MAX_SHOWN]:
        page.line(f"  {run.run} was started on {run.seal}")
    known = sum(not one.reason for one in runs)
    page.line(f"  {quantity(len(concerned), 'seal')} and {quantity(known, 'run')} are concerned")
    for reason in [*unread, *(f"{one.run}: {one.reason}" for one in runs if one.reason)][:MAX_SHOWN]:
        page.line(("  not known", "bold yellow"), f"  {reason}")
    return page.show(console)


def fallen_document(
    name: str,
    since: int,
    concerned: Sequence[tuple[Approvable, Standing]],
    runs: Sequence[SealedRun],
    unread: Sequence[str],
) -> str:
    """The same as JSON."""
    body = {
        "revoked": name,
        "since": since,
        "seals": [
            {"seal": seal.seal, "standing": stands.word.value, "reasons": list(stands.reasons)}
            for seal, stands in concerned
        ],
        "runs": [{"run": one.run, "seal": one.seal} for one in runs if not one.reason],
        "not_known": [*unread, *(f"{one.run}: {one.reason}" for one in runs if one.reason)],
    }
    return json.dumps(body, ensure_ascii=True, indent=2) + "\n"


def _called(policy: Policy, approval: Approval) -> str:
    """Whose key it is; a name that only the approval itself says is marked as such."""
    holder = policy.holder_of(approval.identity) if approval.holds else None
    return holder.name if holder is not None else f"somebody who says to be {approval.name!r}"
