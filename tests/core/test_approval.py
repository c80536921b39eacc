"""The standing of a seal: what each approval is worth, and what can never happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_policy import key_line, table
from veracity.core.approval import (
    TOLERANCE,
    Approvable,
    Approval,
    Revocation,
    Standing,
    Why,
    Word,
    blocking,
    rested_on,
    standing,
)
from veracity.core.policy import SECOND, Policy, identity_of, policy_of

DAY = 86400 * SECOND
NOW = 1_700_000_000 * SECOND
POLICY = policy_of(table())
NAMED = str(POLICY.digest())
MAKER = identity_of(key_line(0))
SEAL = Approvable("seal-1", "sha256:" + "a" * 64, NOW - DAY, MAKER, "1000", ("code",))
LEAD, SECOND_ONE = identity_of(key_line(1)), identity_of(key_line(2))


def approval(identity: str = LEAD, **more: Any) -> Approval:
    given_at = more.pop("at", NOW - 3600 * SECOND)
    fields: dict[str, Any] = {
        "number": 0,
        "digest": SEAL.digest,
        "seal": SEAL.seal,
        "name": "lead",
        "identity": identity,
        "holds": True,
        "parts": ("code",),
        "policy": NAMED,
        "said_at": given_at,
        "at": given_at,
        "expires_at": None,
        **more,
    }
    return Approval(**fields)


def revocation(identity: str = LEAD, since: int = NOW - 2 * DAY) -> Revocation:
    return Revocation(9, "lead", identity, since, NOW, SECOND_ONE)


def stands(
    *approvals: Approval, policy: Policy = POLICY, seal: Approvable = SEAL, now: int = NOW, **more: Any
) -> Standing:
    return standing(policy, seal, approvals, more.get("revocations", ()), now)


OTHER = approval(SECOND_ONE, number=1)


def test_two_persons_approve() -> None:
    assert stands().word is Word.NOT_APPROVED
    one = stands(approval())
    assert one.word is Word.NOT_APPROVED
    assert one.reasons == ("code: 1 of 2 approvals by reviewer",)
    both = stands(approval(), OTHER)
    assert both.word is Word.APPROVED
    assert both.parts[0].counted == ("lead", "second")
    assert both.reasons == ()


def test_one_person_twice_is_one_person() -> None:
    assert stands(approval(), approval(number=2, reason="again")).word is Word.NOT_APPROVED
    renamed = approval(number=1, name="second")
    assert stands(approval(), renamed).word is Word.NOT_APPROVED


# Of two approvals one is bad: what it is worth, and how the seal stands. Its clean twin is the test above.
@pytest.mark.parametrize(
    ("bad", "why", "word"),
    [
        ({"holds": False}, Why.FORGED, Word.NOT_APPROVED),
        ({"identity": identity_of(key_line(5))}, Why.STRANGER, Word.NOT_APPROVED),
        ({"policy": "sha256:" + "b" * 64}, Why.POLICY, Word.FALLEN),
        ({"said_at": SEAL.made_at - TOLERANCE - 1}, Why.EARLY, Word.NOT_APPROVED),
        ({"said_at": NOW + DAY}, Why.LATE, Word.NOT_APPROVED),
        ({"expires_at": NOW}, Why.EXPIRED, Word.EXPIRED),
        ({"expires_at": NOW + 1}, Why.COUNTS, Word.APPROVED),
        ({"parts": ("data",)}, Why.COUNTS, Word.NOT_APPROVED),
    ],
)
def test_a_bad_approval_does_not_count(bad: dict[str, Any], why: Why, word: Word) -> None:
    found = stands(approval(**bad), OTHER)
    assert (found.judged[0][1], found.word) == (why, word)


def test_an_approval_of_another_seal_is_passed_over() -> None:
    found = stands(approval(digest="sha256:" + "c" * 64), OTHER)
    assert found.word is Word.NOT_APPROVED
    assert [one for one, _ in found.judged] == [OTHER]


def test_who_made_the_seal_does_not_count() -> None:
    both = approval(), OTHER
    for own in (replace(SEAL, maker=LEAD), replace(SEAL, user="1001")):
        found = stands(*both, seal=own)
        assert (found.word, found.judged[0][1]) == (Word.NOT_APPROVED, Why.OWN)
    allowed = policy_of({**table(), "own": True})
    again = [replace(one, policy=str(allowed.digest())) for one in both]
    assert stands(*again, seal=replace(SEAL, maker=LEAD), policy=allowed).word is Word.APPROVED


def test_approvals_expire_as_the_policy_says() -> None:
    both = approval(), OTHER
    ends = both[0].at + 30 * DAY
    assert stands(*both, now=ends - 1).word is Word.APPROVED
    late = stands(*both, now=ends)
    assert late.word is Word.EXPIRED
    assert "lead's is expired" in late.reasons[0]
    # To hand an old approval in again does not make it younger.
    again = [replace(one, at=ends) for one in both]
    assert stands(*again, now=ends).word is Word.EXPIRED


def test_a_revocation_fells_what_came_after_its_time() -> None:
    both = approval(), OTHER
    before = revocation(since=both[0].at + 1)
    after = revocation(since=both[0].at)
    assert stands(*both, revocations=[before]).word is Word.APPROVED
    found = stands(*both, revocations=[after])
    assert found.word is Word.FALLEN
    assert found.reasons == ("code: 1 of 2 approvals by reviewer; lead's is revoked",)
    assert stands(*both, revocations=[revocation(identity_of(key_line(5)))]).word is Word.APPROVED
    # Signed before the key was copied, by its own word; taken in afterwards.
    dated_back = replace(both[0], said_at=both[0].at - 3600 * SECOND)
    assert stands(dated_back, OTHER, revocations=[after]).word is Word.FALLEN


def test_a_part_that_the_policy_does_not_know_is_never_approved() -> None:
    two = replace(SEAL, parts=("code", "notes"))
    found = stands(approval(parts=("code", "notes")), replace(OTHER, parts=("code", "notes")), seal=two)
    assert [one.word for one in found.parts] == [Word.APPROVED, Word.NOT_APPROVED]
    assert found.word is Word.NOT_APPROVED
    assert found.reasons == ("notes: the policy does not say who may approve it",)
    assert stands(seal=replace(SEAL, parts=())).word is Word.NOT_APPROVED


def test_what_rested_on_somebody() -> None:
    both = (approval(), OTHER)
    assert rested_on(POLICY, SEAL, both, (), LEAD, 0)
    assert not rested_on(POLICY, SEAL, both, (), LEAD, both[0].at + 1)
    assert not rested_on(POLICY, SEAL, both[:1], (), LEAD, 0), "it never was approved"
    assert not rested_on(POLICY, SEAL, both, (), MAKER, 0)
    enough = {"approve": {"code": {"roles": ["reviewer"], "needed": 1}}}
    one = policy_of({**table(), **enough})
    assert not rested_on(one, SEAL, both, (), LEAD, 0), "the other one suffices"
    assert rested_on(one, SEAL, both[:1], (), LEAD, 0)
    # Expired or under a policy that is no longer in force: it ran on it all the same.
    old = [replace(one, policy="sha256:" + "b" * 64, expires_at=NOW) for one in both]
    assert rested_on(POLICY, SEAL, old, (), LEAD, 0)
    stranger = identity_of(key_line(5))
    assert rested_on(POLICY, SEAL, (*both, approval(stranger)), (), stranger, 0)
    assert rested_on(POLICY, SEAL, [approval(parts=("gone",))], (), LEAD, 0)


identities = st.sampled_from([LEAD, SECOND_ONE, MAKER, identity_of(key_line(5))])
times = st.integers(-3, 40).map(lambda days: SEAL.made_at + days * DAY)
drawn_approvals = st.builds(
    approval,
    identities,
    holds=st.booleans(),
    parts=st.sampled_from([("code",), ("checkpoint",), ("code", "checkpoint"), ()]),
    policy=st.sampled_from([NAMED, NAMED, "sha256:" + "b" * 64]),
    said_at=times,
    at=times,
    expires_at=st.none() | times,
    digest=st.sampled_from([SEAL.digest, SEAL.digest, "sha256:" + "c" * 64]),
    number=st.integers(0, 99),
)
drawn_revocations = st.builds(revocation, identities, times)
drawn = {
    "approvals": st.lists(drawn_approvals, max_size=6),
    "revocations": st.lists(drawn_revocations, max_size=2),
    "now": times,
    "parts": st.sampled_from([("code",), ("checkpoint",), ("code", "checkpoint"), ("code", "other")]),
}


def approved(
    approvals: list[Approval], revocations: list[Revocation], now: int, parts: tuple[str, ...]
) -> bool:
    return standing(POLICY, replace(SEAL, parts=parts), approvals, revocations, now).word is Word.APPROVED


@given(**drawn, more=drawn_approvals, at=st.integers(0, 6))
def test_another_approval_never_takes_one_away(
    approvals: list[Approval],
    revocations: list[Revocation],
    now: int,
    parts: tuple[str, ...],
    more: Approval,
    at: int,
) -> None:
    if approved(approvals, revocations, now, parts):
        assert approved([*approvals[:at], more, *approvals[at:]], revocations, now, parts)


@given(**drawn, more=drawn_revocations, later=st.integers(0, 50))
def test_neither_a_revocation_nor_time_ever_gives_one(
    approvals: list[Approval],
    revocations: list[Revocation],
    now: int,
    parts: tuple[str, ...],
    more: Revocation,
    later: int,
) -> None:
    if not approved(approvals, revocations, now, parts):
        assert not approved(approvals, [*revocations, more], now, parts)
        assert not approved(approvals, revocations, now + later * DAY, parts)


@given(**drawn)
def test_a_standing_is_what_its_sound_approvals_make_it(
    approvals: list[Approval], revocations: list[Revocation], now: int, parts: tuple[str, ...]
) -> None:
    """Counted once more, in another way."""
    found = standing(POLICY, replace(SEAL, parts=parts), approvals, revocations, now)
    revoked = {
        one.identity: min(x.since for x in revocations if x.identity == one.identity) for one in revocations
    }
    for part in found.parts:
        requirement = POLICY.requirement_for(part.part)
        sound = {
            one.identity
            for one in approvals
            if one.holds
            and one.digest == SEAL.digest
            and one.policy == NAMED
            and one.identity in (LEAD, SECOND_ONE)
            and part.part in one.parts
            and SEAL.made_at - TOLERANCE <= one.said_at <= one.at + TOLERANCE
            and one.at < revoked.get(one.identity, NOW * 2)
            and now < min(one.at, one.said_at) + 30 * DAY
            and (one.expires_at is None or now < one.expires_at)
        }
        enough = requirement is not None and len(sound) >= requirement.needed
        assert (part.word is Word.APPROVED) == enough
        assert bool(part.reason) != enough
    assert found.word is max((one.word for one in found.parts), key=list(Word).index)


# --- what was found in a sealed environment -------------------------------------------------------------

FOUND_ERROR = replace(
    SEAL, found=(("error", "environment-file-altered: adamw.py"), ("warning", "w"), ("note", "n"))
)


def policy_with(**top: object) -> Policy:
    return policy_of({**table(), **top})


def given_by(policy: Policy, *identities: str, knowing: Sequence[str] = ()) -> Standing:
    approvals = [
        approval(one, number=at, policy=str(policy.digest()), despite=one in knowing)
        for at, one in enumerate(identities)
    ]
    return standing(policy, FOUND_ERROR, approvals, (), NOW)


def test_an_error_in_the_environment_stands_against_approvals_that_do_not_know_it() -> None:
    both = given_by(POLICY, LEAD, SECOND_ONE)
    assert both.word is Word.NOT_APPROVED
    assert both.reasons == (
        "what was found: environment-file-altered: adamw.py; nobody has approved it despite that",
    )


def test_who_may_approves_despite_it() -> None:
    policy = policy_with(despite=["security"])
    assert given_by(policy, LEAD, SECOND_ONE).word is Word.NOT_APPROVED
    assert given_by(policy, LEAD, SECOND_ONE, knowing=[LEAD]).word is Word.NOT_APPROVED, (
        "lead has another role"
    )
    stands = given_by(policy, LEAD, SECOND_ONE, knowing=[SECOND_ONE])
    assert (stands.word, stands.parts[-1].counted) == (Word.APPROVED, ("second",))
    assert given_by(policy, SECOND_ONE, knowing=[SECOND_ONE]).word is Word.NOT_APPROVED, (
        "two are needed all the same"
    )


def test_a_revocation_takes_the_knowing_word_away() -> None:
    policy = policy_with(despite=["security"])
    approvals = [
        approval(one, number=at, policy=str(policy.digest()), despite=one == SECOND_ONE)
        for at, one in enumerate((LEAD, SECOND_ONE))
    ]
    revoked = [revocation(SECOND_ONE)]
    assert standing(policy, FOUND_ERROR, approvals, revoked, NOW).word is not Word.APPROVED
    assert rested_on(policy, FOUND_ERROR, approvals, (), SECOND_ONE, 0)
    one = policy_of({**table(), "despite": ["security"], "approve": {"code": {"roles": ["reviewer"]}}})
    approvals = [replace(each, policy=str(one.digest())) for each in approvals]
    assert rested_on(one, FOUND_ERROR, approvals, (), SECOND_ONE, 0)
    assert not rested_on(one, FOUND_ERROR, approvals, (), LEAD, 0)


@pytest.mark.parametrize(
    ("findings", "found", "blocks"),
    [
        ("error", "warning", False),
        ("warning", "warning", True),
        ("warning", "note", False),
        ("none", "error", False),
    ],
)
def test_from_which_severity_on_findings_count(findings: str, found: str, blocks: bool) -> None:
    policy = policy_with(findings=findings)
    assert bool(blocking(policy, replace(SEAL, found=((found, "x"),)))) is blocks
