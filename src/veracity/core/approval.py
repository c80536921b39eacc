"""Whether a seal is approved: a pure function of policy, approvals, revocations and time.

Nothing that is added makes more of an approval than its signer could give: another approval never takes one
away, a revocation and the passing of time never give one.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from .policy import SECOND, Policy, Requirement
from .quantity import quantity

TOLERANCE = 300 * SECOND
"""How far the clocks of the machines that write and read may be apart."""


@dataclass(frozen=True, slots=True)
class Approvable:
    """Of a seal, what an approval is about. ``maker``: the identity of the key that signed it.

    ``places``: the path of each part. Its name, and so who may approve it, is the maker's choice. ``found``:
    what was found in its environment when it was sealed, each as severity and sentence, worst first.
    """

    seal: str
    digest: str
    made_at: int
    maker: str
    user: str
    parts: tuple[str, ...]
    places: tuple[str, ...] = ()
    found: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody's word that parts of a seal may run. Times in ns since the epoch.

    ``number``: its place in the log. ``digest``: of the sealed document, which is what was approved; ``seal``
    is only its name. ``holds``: the signature is that of ``identity``; ``name`` is what the signer is called
    by themselves. ``said_at`` is the signer's word, ``at`` when the log took it in. ``policy``: the digest of
    the policy it was given under. ``despite``: it was given knowing what was found in the environment.
    """

    number: int
    digest: str
    seal: str
    name: str
    identity: str
    holds: bool
    parts: tuple[str, ...]
    policy: str
    said_at: int
    at: int
    expires_at: int | None
    reason: str = ""
    despite: bool = False

    @property
    def given_at(self) -> int:
        """From when on it ages: to hand an old approval in again does not make it younger."""
        return min(self.said_at, self.at)


@dataclass(frozen=True, slots=True)
class Revocation:
    """Nothing that ``identity`` approved from ``since`` on counts. ``by``: the identity that said so."""

    number: int
    name: str
    identity: str
    since: int
    at: int
    by: str
    reason: str = ""


FOUND = "what was found"
"""Stands among the parts of a seal whose environment was not what vouches for it."""


class Why(enum.Enum):
    """Why an approval counts or does not."""

    COUNTS = "counts"
    EXPIRED = "expired"
    REVOKED = "revoked"
    POLICY = "given under another policy"
    FORGED = "its signature does not hold"
    STRANGER = "nobody's key in the policy"
    OWN = "by the one who made the seal"
    EARLY = "dated before the seal"
    LATE = "dated after the log took it in"


class Word(enum.Enum):
    """How a seal stands, the best first."""

    APPROVED = "approved"
    EXPIRED = "expired"
    FALLEN = "fallen"
    NOT_APPROVED = "not approved"


@dataclass(frozen=True, slots=True)
class PartStanding:
    """How one part stands: who counts, of how many that it takes, and what is missing."""

    part: str
    word: Word
    counted: tuple[str, ...]
    needed: int
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a seal stands: as its worst part; ``judged`` has each approval of it with what it is worth."""

    word: Word
    parts: tuple[PartStanding, ...]
    judged: tuple[tuple[Approval, Why], ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for each part that is not approved."""
        return tuple(f"{one.part}: {one.reason}" for one in self.parts if one.word is not Word.APPROVED)


def _worth(
    policy: Policy,
    named: str,
    seal: Approvable,
    approval: Approval,
    revocations: Sequence[Revocation],
    now: int,
) -> Why:
    """What one approval of this seal is worth, whatever the parts; ``named``: the policy's digest."""
    holder = policy.holder_of(approval.identity)
    if not approval.holds:
        return Why.FORGED
    if holder is None:
        return Why.STRANGER
    if not policy.own and (holder.identity == seal.maker or seal.user in holder.users):
        return Why.OWN
    if approval.said_at < seal.made_at - TOLERANCE:
        return Why.EARLY
    if approval.said_at > approval.at + TOLERANCE:
        return Why.LATE
    if any(one.identity == approval.identity and approval.at >= one.since for one in revocations):
        return Why.REVOKED
    if approval.policy != named:
        return Why.POLICY
    ends = [] if policy.lifetime is None else [approval.given_at + policy.lifetime]
    ends += [] if approval.expires_at is None else [approval.expires_at]
    return Why.EXPIRED if ends and now >= min(ends) else Why.COUNTS


def standing(
    policy: Policy,
    seal: Approvable,
    approvals: Sequence[Approval],
    revocations: Sequence[Revocation],
    now: int,
) -> Standing:
    """How ``seal`` stands at ``now`` (ns since the epoch). Approvals of other seals are passed over."""
    named = str(policy.digest())
    judged = tuple(
        (one, _worth(policy, named, seal, one, revocations, now))
        for one in approvals
        if one.digest == seal.digest
    )
    parts = tuple(_part(policy, part, judged) for part in seal.parts) + _found(policy, seal, judged)
    order = list(Word)
    word = max((one.word for one in parts), key=order.index, default=Word.NOT_APPROVED)
    return Standing(word, parts, judged)


def rested_on(
    policy: Policy,
    seal: Approvable,
    approvals: Sequence[Approval],
    revocations: Sequence[Revocation],
    identity: str,
    since: int,
) -> bool:
    """Whether a part of ``seal`` ever had its approvals only with those of ``identity`` from ``since`` on.

    ``revocations`` are those before this one. Where the policy no longer knows the identity or the part,
    nobody can tell any more; then the answer is yes.
    """
    mine = [
        one
        for one in approvals
        if one.digest == seal.digest and one.identity == identity and one.holds and one.at >= since
    ]
    if mine and policy.holder_of(identity) is None:
        return True
    # Expiry is a matter of when one asks, and the policy may be another one by now.
    judged = standing(policy, seal, approvals, revocations, seal.made_at).judged
    theirs = {one.number for one in mine}
    others = [(one, why) for one, why in judged if one.number not in theirs]
    ever = {Why.COUNTS, Why.EXPIRED, Why.POLICY}
    for part in {part for one in mine for part in one.parts}:
        requirement = policy.requirement_for(part)
        if requirement is None:
            return True
        with_them = len(_able(policy, requirement, part, judged, ever))
        if with_them >= requirement.needed > len(_able(policy, requirement, part, others, ever)):
            return True
    if blocking(policy, seal):
        return bool(_knowing(policy, judged, ever)) and not _knowing(policy, others, ever)
    return False


def blocking(policy: Policy, seal: Approvable) -> list[str]:
    """What was found in the seal's environment that stands against it, by the policy, worst first."""
    return [sentence for severity, sentence in seal.found if policy.is_blocked_by(severity)]


def _found(
    policy: Policy, seal: Approvable, judged: Sequence[tuple[Approval, Why]]
) -> tuple[PartStanding, ...]:
    """How the seal stands for what was found in it: to approve is one thing, to do so knowing another."""
    found = blocking(policy, seal)
    if not found:
        return ()
    knowing = _knowing(policy, judged, {Why.COUNTS})
    if knowing:
        return (PartStanding(FOUND, Word.APPROVED, knowing, 1, ""),)
    others = f", and {len(found) - 1:,} more" if len(found) > 1 else ""
    who = f"nobody with the role {' or '.join(policy.despite)}" if policy.despite else "nobody"
    reason = f"{found[0]}{others}; {who} has approved it despite that"
    return (PartStanding(FOUND, Word.NOT_APPROVED, (), 1, reason),)


def _knowing(policy: Policy, judged: Sequence[tuple[Approval, Why]], whys: set[Why]) -> tuple[str, ...]:
    """Those who may approve despite findings and did."""
    holders = (policy.holder_of(one.identity) for one, why in judged if one.despite and why in whys)
    able = {one.name for one in holders if one is not None and not set(policy.despite).isdisjoint(one.roles)}
    return tuple(sorted(able))


def _part(policy: Policy, part: str, judged: Sequence[tuple[Approval, Why]]) -> PartStanding:
    requirement = policy.requirement_for(part)
    if requirement is None:
        return PartStanding(part, Word.NOT_APPROVED, (), 0, "the policy does not say who may approve it")
    counted = _able(policy, requirement, part, judged, {Why.COUNTS})
    needed = requirement.needed
    if len(counted) >= needed:
        return PartStanding(part, Word.APPROVED, counted, needed, "")
    missing = f"{len(counted)} of {quantity(needed, 'approval')} by {' or '.join(requirement.roles)}"
    for word, also in (
        (Word.EXPIRED, {Why.COUNTS, Why.EXPIRED}),
        (Word.FALLEN, {Why.COUNTS, Why.EXPIRED, Why.REVOKED, Why.POLICY}),
    ):
        before = _able(policy, requirement, part, judged, also)
        if len(before) >= needed:
            lost = sorted(
                {
                    f"{holder.name}'s is {why.value}"
                    for one, why in judged
                    if why in also - {Why.COUNTS}
                    and (holder := policy.holder_of(one.identity)) is not None
                    and holder.name in set(before) - set(counted)
                }
            )
            return PartStanding(part, word, counted, needed, f"{missing}; {', '.join(lost)}")
    return PartStanding(part, Word.NOT_APPROVED, counted, needed, missing)


def _able(
    policy: Policy,
    requirement: Requirement,
    part: str,
    judged: Sequence[tuple[Approval, Why]],
    whys: set[Why],
) -> tuple[str, ...]:
    """The principals, each once, who may approve this part and did, in a way that is one of these."""
    names = set()
    for one, why in judged:
        holder = policy.holder_of(one.identity)
        if why not in whys or part not in one.parts or holder is None:
            continue
        if not set(requirement.roles).isdisjoint(holder.roles):
            names.add(holder.name)
    return tuple(sorted(names))
