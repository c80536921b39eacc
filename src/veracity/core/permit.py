"""Globals that a site permits in pickles: which, why, who answers for it, and until when.

A permit may be bound to the digest of the file that defines the global. Then it holds in an environment
where that file is the one that somebody has read, and nowhere else.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .entries import ConfigEntry, entries_of
from .errors import UsageError
from .picklepolicy import Key, SitePermits

OWN = frozenset({"global", "sha256"})
_GLOBAL = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*(?:\.[^\W\d]\w*)*)\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_UNSEEN = (
    "whose permit holds for one file that defines it, and no environment was looked at:"
    " name the one that will load it with --env PYTHON"
)


@dataclass(frozen=True, slots=True)
class Permit:
    """One decision. ``expires``: the last day on which it holds.

    ``sha256``: of the file that has to define the global, in hexadecimal; empty when any may.
    """

    module: str
    name: str
    reason: str
    owner: str
    expires: datetime.date
    sha256: str = ""

    @property
    def key(self) -> Key:
        """The global."""
        return self.module, self.name


@dataclass(frozen=True, slots=True)
class Definer:
    """The file that defines a global in an environment: its path and SHA-256.

    ``doubt``: why that cannot be told, empty when it can.
    """

    path: str
    sha256: str
    doubt: str = ""


def in_force(
    permits: Sequence[Permit], today: datetime.date, definers: Mapping[Key, Definer] | None = None
) -> SitePermits:
    """What is permitted today.

    ``definers``: what defines the globals whose permits are bound, None when no environment was looked at. A
    global that one permit in force leaves free is free; of several that bind it, one that holds is enough.
    """
    valid = [one for one in permits if today <= one.expires]
    free = dict.fromkeys(one.key for one in valid if not one.sha256)
    bound: dict[Key, None] = {}
    refused: dict[Key, str] = {}
    for one in valid:
        if not one.sha256 or one.key in free or one.key in bound:
            continue
        why = _why_not(one, definers)
        if why:
            refused.setdefault(one.key, why)
        else:
            bound[one.key] = None
            refused.pop(one.key, None)
    return SitePermits(tuple(free), tuple(bound), tuple(refused.items()))


def bound_keys(permits: Sequence[Permit], today: datetime.date) -> tuple[Key, ...]:
    """The globals of which :func:`in_force` has to be told what defines them."""
    return tuple(dict.fromkeys(one.key for one in permits if one.sha256 and today <= one.expires))


def permits_of(value: object) -> tuple[Permit, ...]:
    """What ``[[scan.permit]]`` says; raises UsageError for an entry that lacks one of its keys."""
    return tuple(map(_permit, entries_of(value, "scan.permit", OWN)))


def _why_not(permit: Permit, definers: Mapping[Key, Definer] | None) -> str:
    """Why a bound permit does not hold; empty when it does."""
    if definers is None:
        return _UNSEEN
    found = definers.get(permit.key)
    wanted = f"whose permit holds for the file with SHA-256 {permit.sha256}"
    if found is None or found.doubt:
        doubt = "nobody looked" if found is None else found.doubt
        return f"{wanted}, and which file defines it cannot be told: {doubt}"
    if found.sha256 != permit.sha256:
        return f"{wanted}, and {found.path} with SHA-256 {found.sha256} defines it"
    return ""


def _permit(entry: ConfigEntry) -> Permit:
    text = entry.text("global")
    match = _GLOBAL.match(text)
    if match is None:
        raise UsageError(
            f"{entry.where} names no global: {text[:80]!r}", remedy='write global = "package.module:Class"'
        )
    sha256 = ""
    if "sha256" in entry.table:
        sha256 = entry.text("sha256").lower()
        if not _SHA256.match(sha256):
            raise UsageError(
                f"{entry.where} has a sha256 that is none: {sha256[:80]!r}",
                remedy="write the 64 hexadecimal digits that sha256sum prints of the file",
            )
    return Permit(match[1], match[2], entry.text("reason"), entry.text("owner"), entry.last_day(), sha256)
