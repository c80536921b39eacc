from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.coverage import MAX_REASONS, Coverage


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["", "no hook", "foreign"]))))
def test_counts(units: list[tuple[bool, str]]) -> None:
    coverage = Coverage("update", "steps")
    for checked, reason in units:
        coverage.count(checked=checked, reason=reason)
    assert coverage.possible == len(units)
    assert coverage.checked == sum(checked for checked, _ in units)
    assert sum(coverage.reasons.values()) == sum(bool(reason) for _, reason in units)
    assert "" not in coverage.reasons


def test_reasons_are_bounded_and_known_ones_still_counted() -> None:
    coverage = Coverage("update", "steps")
    for number in range(10 * MAX_REASONS):
        coverage.skip(f"reason {number}")
    coverage.skip("reason 0")
    assert len(coverage.reasons) == MAX_REASONS
    assert coverage.reasons["reason 0"] == 2
    other = Coverage("update", "steps", 1, 2, {"reason 1": 5, "another": 1})
    coverage.merge(other)
    assert len(coverage.reasons) == MAX_REASONS
    assert coverage.reasons["reason 1"] == 6
    assert coverage.possible == 2


def test_a_law_that_stopped_stays_stopped() -> None:
    coverage = Coverage("update", "steps", 3, 4)
    coverage.merge(Coverage("update", "steps", 1, 1, stopped="spool cut"))
    coverage.merge(Coverage("update", "steps", 1, 1, {"late": 2}, stopped="later"))
    assert (coverage.checked, coverage.possible, coverage.stopped) == (5, 6, "spool cut")
    assert coverage.reasons == {"late": 2}


def test_odds_of_missing_what_drawn_checks_may_miss() -> None:
    part = Coverage("gradient-truth", "steps", 50, 1000, drawn_from=20)
    assert part.missed(0.1, everywhere=True) == pytest.approx(0.9**50)
    assert part.missed(0.1, everywhere=False) == pytest.approx(0.995**50)
    assert part.missed(1.0, everywhere=True) == 0.0
    assert Coverage("gradient-truth", "steps").missed(0.5, everywhere=True) == 1.0
