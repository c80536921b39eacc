"""Globals that a site permits in pickles: which, why, who answers for it, and until when."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import UsageError
from .picklepolicy import Key

KNOWN = {"global", "reason", "owner", "expires"}
MAX_PERMITS = 10_000
MAX_TEXT = 1024
_GLOBAL = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*(?:\.[^\W\d]\w*)*)\Z")


@dataclass(frozen=True, slots=True)
class Permit:
    """One decision. ``expires``: the last day on which it holds."""

    module: str
    name: str
    reason: str
    owner: str
    expires: datetime.date


def in_force(permits: Sequence[Permit], today: datetime.date) -> tuple[Key, ...]:
    """The globals that are permitted today."""
    return tuple((one.module, one.name) for one in permits if today <= one.expires)


def permits_of(value: object) -> tuple[Permit, ...]:
    """What ``[[scan.permit]]`` says; raises UsageError for an entry that lacks one of its keys."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_PERMITS:
        raise UsageError(
            "scan.permit is no list of tables, or too long", remedy="begin each one with [[scan.permit]]"
        )
    return tuple(_permit(one, number) for number, one in enumerate(value, 1))


def _permit(value: object, number: int) -> Permit:
    where = f"scan.permit number {number}"
    if not isinstance(value, dict):
        raise UsageError(f"{where} is no table")
    unknown = sorted(str(name) for name in value.keys() - KNOWN)
    if unknown:
        raise UsageError(f"{where} has an unknown key {unknown[0][:80]!r}", remedy=f"it has {_named(KNOWN)}")
    text = _text(value, "global", where)
    match = _GLOBAL.match(text)
    if match is None:
        raise UsageError(
            f"{where} names no global: {text[:80]!r}", remedy='write global = "package.module:Class"'
        )
    expires = value.get("expires")
    if not isinstance(expires, datetime.date) or isinstance(expires, datetime.datetime):
        raise UsageError(
            f"{where} says no day on which it ends", remedy="write expires = 2030-12-31, unquoted"
        )
    return Permit(match[1], match[2], _text(value, "reason", where), _text(value, "owner", where), expires)


def _text(table: Mapping[str, object], name: str, where: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
        raise UsageError(f"{where} has no {name}", remedy=f"each one has {_named(KNOWN)}")
    return value.strip()


def _named(names: set[str]) -> str:
    return ", ".join(sorted(names))
