"""Globals that a site permits in pickles: which, why, who answers for it, and until when."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .entries import ConfigEntry, entries_of
from .errors import UsageError
from .picklepolicy import Key

OWN = frozenset({"global"})
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
    return tuple(map(_permit, entries_of(value, "scan.permit", OWN)))


def _permit(entry: ConfigEntry) -> Permit:
    text = entry.text("global")
    match = _GLOBAL.match(text)
    if match is None:
        raise UsageError(
            f"{entry.where} names no global: {text[:80]!r}", remedy='write global = "package.module:Class"'
        )
    return Permit(match[1], match[2], entry.text("reason"), entry.text("owner"), entry.last_day())
