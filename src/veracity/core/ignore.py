"""Findings that somebody has decided to live with: which, where, why, who answers for it, and until when."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .entries import ConfigEntry, entries_of
from .errors import UsageError
from .finding import Finding

OWN = frozenset({"rule", "path"})
_RULE = re.compile(r"[a-z]+(-[a-z]+)+\Z")


@dataclass(frozen=True, slots=True)
class Ignore:
    """One decision. ``path``: a pattern of :mod:`fnmatch` over the path as it is reported, or its last part.

    ``expires``: the last day on which it holds.
    """

    rule: str
    path: str
    reason: str
    owner: str
    expires: datetime.date

    def covers(self, finding: Finding, path: str, today: datetime.date) -> bool:
        """Whether it sets this finding aside today."""
        return (
            finding.rule == self.rule
            and today <= self.expires
            and (fnmatchcase(path, self.path) or fnmatchcase(path, f"*/{self.path}"))
        )


def ignores_of(value: object) -> tuple[Ignore, ...]:
    """What ``[[scan.ignore]]`` says; raises UsageError for an entry that lacks one of its keys."""
    return tuple(map(_ignore, entries_of(value, "scan.ignore", OWN)))


def _ignore(entry: ConfigEntry) -> Ignore:
    rule = entry.text("rule")
    if not _RULE.match(rule):
        raise UsageError(f"{entry.where} names no rule: {rule[:80]!r}", remedy="see docs/rules for their ids")
    return Ignore(rule, entry.text("path"), entry.text("reason"), entry.text("owner"), entry.last_day())
