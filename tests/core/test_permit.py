"""Globals that a site permits in pickles."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import UsageError
from veracity.core.permit import Definer, Permit, bound_keys, in_force, permits_of
from veracity.core.picklepolicy import NO_PERMITS, SitePermits

DAY = datetime.date(2030, 1, 2)
NET = ("site.model", "Net")
GOOD = {"global": "site.model:Net", "reason": "our model", "owner": "a team", "expires": DAY}


def test_a_permit_holds_until_its_day() -> None:
    permits = permits_of([GOOD])
    assert in_force(permits, DAY) == SitePermits(free=(NET,))
    assert in_force(permits, DAY + datetime.timedelta(1)) == NO_PERMITS
    assert permits_of(None) == ()


def test_a_bound_permit_holds_for_its_file_alone() -> None:
    permits = permits_of([{**GOOD, "sha256": "A" * 64}])
    assert bound_keys(permits, DAY) == (NET,)
    assert bound_keys(permits, DAY + datetime.timedelta(1)) == ()
    assert in_force(permits, DAY, {NET: Definer("/x.py", "a" * 64)}) == SitePermits(bound=(NET,))
    ((_, why),) = in_force(permits, DAY, {NET: Definer("/x.py", "b" * 64)}).refused
    assert "a" * 64 in why
    assert f"/x.py with SHA-256 {'b' * 64}" in why
    ((_, why),) = in_force(permits, DAY, {NET: Definer("/x.py", "a" * 64, "it is in doubt")}).refused
    assert "it is in doubt" in why
    ((_, why),) = in_force(permits, DAY, {}).refused
    assert "nobody looked" in why


def test_without_an_environment_a_bound_permit_permits_nothing_and_says_what_to_do() -> None:
    ((key, why),) = in_force(permits_of([{**GOOD, "sha256": "a" * 64}]), DAY).refused
    assert key == NET
    assert "--env PYTHON" in why


def test_of_two_versions_one_is_enough_and_a_free_permit_outweighs_both() -> None:
    two = [{**GOOD, "sha256": "a" * 64}, {**GOOD, "sha256": "b" * 64}]
    found = {NET: Definer("/x.py", "b" * 64)}
    assert in_force(permits_of(two), DAY, found) == SitePermits(bound=(NET,))
    assert in_force(permits_of([*two, GOOD]), DAY) == SitePermits(free=(NET,))


DIGESTS = st.sampled_from(["", *(letter * 64 for letter in "abc")])
PERMITS = st.builds(
    Permit, st.sampled_from(["m", "n"]), st.just("C"), st.just("r"), st.just("o"),
    st.sampled_from([DAY, DAY - datetime.timedelta(1)]), DIGESTS,
)  # fmt: skip


@given(
    st.lists(PERMITS, max_size=8),
    st.none()
    | st.dictionaries(st.sampled_from([("m", "C"), ("n", "C")]), st.builds(Definer, st.just("/f"), DIGESTS)),
)
def test_nothing_is_permitted_by_a_digest_that_nobody_saw(
    permits: list[Permit], definers: dict[tuple[str, str], Definer] | None
) -> None:
    said = in_force(permits, DAY, definers)
    told = [*said.free, *said.bound, *(key for key, _ in said.refused)]
    valid = {one.key for one in permits if one.expires >= DAY}
    assert sorted(told) == sorted(valid)  # each exactly once
    for key in said.bound:
        assert definers is not None
        assert any(one.key == key and one.sha256 == definers[key].sha256 for one in permits)
    assert all(any(one.key == key and not one.sha256 for one in permits) for key in said.free)


@pytest.mark.parametrize(
    "value",
    [
        *(
            {},
            [1],
            [{**GOOD, "more": 1}],
            [{**GOOD, "global": "site.model.Net"}],
            [{**GOOD, "global": "a b:c"}],
            [{**GOOD, "sha256": "a" * 63}],
            [{**GOOD, "sha256": ""}],
            [{**GOOD, "sha256": 1}],
        ),
        *([{**GOOD, "owner": " "}], [{**GOOD, "expires": "2030-01-02"}], [{**GOOD, "reason": "x" * 2000}]),
        *([{name: GOOD[name] for name in GOOD if name != missing}] for missing in GOOD),
    ],
)
def test_what_is_no_permit_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        permits_of(value)
