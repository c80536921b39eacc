"""Globals that a site permits in pickles."""

from __future__ import annotations

import datetime

import pytest

from veracity.core.errors import UsageError
from veracity.core.permit import in_force, permits_of

DAY = datetime.date(2030, 1, 2)
GOOD = {"global": "site.model:Net", "reason": "our model", "owner": "a team", "expires": DAY}


def test_a_permit_holds_until_its_day() -> None:
    permits = permits_of([GOOD])
    assert in_force(permits, DAY) == (("site.model", "Net"),)
    assert in_force(permits, DAY + datetime.timedelta(1)) == ()
    assert permits_of(None) == ()


@pytest.mark.parametrize(
    "value",
    [
        *(
            {},
            [1],
            [{**GOOD, "more": 1}],
            [{**GOOD, "global": "site.model.Net"}],
            [{**GOOD, "global": "a b:c"}],
        ),
        *([{**GOOD, "owner": " "}], [{**GOOD, "expires": "2030-01-02"}], [{**GOOD, "reason": "x" * 2000}]),
        *([{name: GOOD[name] for name in GOOD if name != missing}] for missing in GOOD),
    ],
)
def test_what_is_no_permit_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        permits_of(value)
