"""Findings that somebody has decided to live with: which, where, why, who answers for it, and until when."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .errors import UsageError
from .finding import Finding

KNOWN = {"rule", "path", "reason", "owner", "expires"}
MAX_IGNORES = 10_000
MAX_TEXT = 1024
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
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_IGNORES:
        raise UsageError(
            "scan.ignore is no list of tables, or too long", remedy="begin each one with [[scan.ignore]]"
        )
    return tuple(_ignore(one, number) for number, one in enumerate(value, 1))


def _ignore(value: object, number: int) -> Ignore:
    where = f"scan.ignore number {number}"
    if not isinstance(value, dict):
        raise UsageError(f"{where} is no table")
    unknown = sorted(str(name) for name in value.keys() - KNOWN)
    if unknown:
        raise UsageError(f"{where} has an unknown key {unknown[0][:80]!r}", remedy=f"it has {_named(KNOWN)}")
    rule = _text(value, "rule", where)
    if not _RULE.match(rule):
        raise UsageError(f"{where} names no rule: {rule[:80]!r}", remedy="see docs/rules for their ids")
    expires = value.get("expires")
    if not isinstance(expires, datetime.date) or isinstance(expires, datetime.datetime):
        raise UsageError(
            f"{where} says no day on which it ends", remedy="write expires = 2030-12-31, unquoted"
        )
    return Ignore(
        rule,
        _text(value, "path", where),
        _text(value, "reason", where),
        _text(value, "owner", where),
        expires,
    )


def _text(table: Mapping[str, object], name: str, where: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
        raise UsageError(f"{where} has no {name}", remedy=f"each one has {_named(KNOWN)}")
    return value.strip()


def _named(names: set[str]) -> str:
    return ", ".join(sorted(names))
