"""``veracity runs``: the runs of a home, newest first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from .page import Page, Span
from .text import VERDICT_STYLES
from .visible import brief
from .wording import moment

if TYPE_CHECKING:
    from rich.console import Console


class Listing(Protocol):
    """One run as a list shows it; ``started_at`` in ns since the epoch."""

    @property
    def run(self) -> str:
        """The run's id."""

    @property
    def started_at(self) -> int:
        """When it began, in ns since the epoch."""

    @property
    def command(self) -> tuple[str, ...]:
        """What was launched."""

    @property
    def verdict(self) -> str:
        """held, broken, incomplete, unfinished, refused or unreadable."""

    @property
    def override(self) -> bool:
        """Whether it was started by an override of the policy."""

    @property
    def reason(self) -> str:
        """Why it was not started; empty for what was."""


def table(listings: Sequence[Listing], console: Console | None = None) -> str:
    """One line per run: id, verdict, when it started, its command."""
    page = Page()
    if not listings:
        page.line("no run yet: veracity run -- python train.py")
        return page.show(console)
    rows: list[tuple[Span, ...]] = [tuple((word, "dim") for word in ("RUN", "VERDICT", "STARTED", "COMMAND"))]
    for listing in listings:
        rows.append(
            (
                listing.run,
                (_word(listing), VERDICT_STYLES.get(listing.verdict, "")),
                moment(listing.started_at),
                brief(" ".join(listing.command), 80) + _why(listing),
            )
        )
    page.table(rows, indent="")
    return page.show(console)


def _word(listing: Listing) -> str:
    return f"{listing.verdict}, override" if listing.override else listing.verdict


def _why(listing: Listing) -> str:
    return f"  not started: {brief(listing.reason, 200)}" if listing.reason else ""


def document(listings: Sequence[Listing]) -> str:
    """A JSON list of ``{run, started_at, command, verdict, override, reason}``."""
    rows = [
        {
            "run": listing.run,
            "started_at": listing.started_at,
            "command": list(listing.command),
            "verdict": listing.verdict,
            "override": listing.override,
            "reason": listing.reason,
        }
        for listing in listings
    ]
    return json.dumps(rows, ensure_ascii=True, indent=2) + "\n"
