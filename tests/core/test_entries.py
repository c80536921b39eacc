"""Entries that somebody answers for: a reason, an owner and a last day, or an error that says where."""

from __future__ import annotations

import datetime

import pytest

from veracity.core.entries import entries_of
from veracity.core.errors import UsageError

OWN = frozenset({"rule"})


def test_an_entry_says_what_stands_in_it() -> None:
    day = datetime.date(2030, 1, 2)
    (entry,) = entries_of([{"rule": " x ", "reason": "r", "owner": "o", "expires": day}], "scan.ignore", OWN)

    assert (entry.text("rule"), entry.text("owner"), entry.last_day()) == ("x", "o", day)
    assert list(entries_of(None, "scan.ignore", OWN)) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("x", "no list of tables"),
        ([{}] * 10_001, "too long"),
        (["x"], "number 1 is no table"),
        ([{}, {"other": 1}], "number 2 has an unknown key 'other'"),
    ],
)
def test_what_is_no_list_of_such_tables_is_an_error(value: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        list(entries_of(value, "scan.ignore", OWN))


@pytest.mark.parametrize("day", [None, "2030-01-02", datetime.datetime(2030, 1, 2)])  # noqa: DTZ001
def test_a_last_day_is_a_day(day: object) -> None:
    (entry,) = entries_of([{"rule": "", "expires": day}], "scan.ignore", OWN)

    with pytest.raises(UsageError, match="no day"):
        entry.last_day()
    with pytest.raises(UsageError, match="has no rule"):
        entry.text("rule")
