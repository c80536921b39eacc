"""Entries of the configuration that somebody answers for: each with a reason, an owner and a last day."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .errors import UsageError

ANSWERED = frozenset({"reason", "owner", "expires"})
"""Keys that every entry has."""
MAX_ENTRIES = 10_000
MAX_TEXT = 1024


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One table of a list: ``where`` it stands, for people, and what it says."""

    where: str
    table: Mapping[str, object]
    known: frozenset[str]

    def text(self, name: str) -> str:
        """The text under ``name``; raises UsageError when there is none."""
        value = self.table.get(name)
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
            raise UsageError(f"{self.where} has no {name}", remedy=f"each one has {_named(self.known)}")
        return value.strip()

    def last_day(self) -> datetime.date:
        """The day under ``expires``; raises UsageError when there is none."""
        value = self.table.get("expires")
        if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
            raise UsageError(
                f"{self.where} says no day on which it ends", remedy="write expires = 2030-12-31, unquoted"
            )
        return value


def entries_of(value: object, name: str, own: frozenset[str]) -> Iterator[ConfigEntry]:
    """The tables of ``[[name]]``, which have the keys ``own`` beside those of every entry.

    Raises UsageError for what is no list of tables, and for a table with an unknown key.
    """
    if value is None:
        return
    if not isinstance(value, list) or len(value) > MAX_ENTRIES:
        raise UsageError(
            f"{name} is no list of tables, or too long", remedy=f"begin each one with [[{name}]]"
        )
    known = ANSWERED | own
    for number, table in enumerate(value, 1):
        where = f"{name} number {number}"
        if not isinstance(table, dict):
            raise UsageError(f"{where} is no table")
        unknown = sorted(str(key) for key in table.keys() - known)
        if unknown:
            raise UsageError(
                f"{where} has an unknown key {unknown[0][:80]!r}", remedy=f"it has {_named(known)}"
            )
        yield ConfigEntry(where, table, known)


def _named(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
