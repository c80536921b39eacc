"""Approvals and revocations: signed statements in an append-only log beside the seals.

Each is an in-toto Statement in a DSSE envelope, signed by whoever gives it. The log is a ledger of the home's
own key; its entries hold the envelopes and when they were taken in. So nobody can write in another's name,
and what was taken in cannot be taken out without the log's signed head saying so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..core.approval import TOLERANCE, Approvable, Approval, Revocation, blocking
from ..core.canonical import Json
from ..core.digest import Digest
from ..core.errors import EvidenceError, UsageError, VerificationError
from ..core.policy import Policy, Principal, identity_of
from ..core.quantity import quantity
from ..ledger.entry import Entry
from ..ledger.keys import KEY_NAME, PublicKey, SigningKey
from ..ledger.merkle import leaf_hash, tree_root
from ..ledger.reader import Reader
from ..ledger.store import Ledger
from ..ledger.tree_head import TreeHead
from .fields import number_of, text_of
from .paths import Seal
from .sign import sign_statement, statement, unverified_statement, verify_envelope

APPROVAL_TYPE = "https://veracity.example/approval/v1"
REVOCATION_TYPE = "https://veracity.example/revocation/v1"
ORIGIN = f"{KEY_NAME}/approvals"
"""What logs were called before witnesses saw them; a witnessed one has its key's number in its name."""
SCHEMA = 1
MAX_ENTRIES = 1_000_000
MAX_REASON = 1000
MAX_ENVELOPE = 60_000
_KINDS = {"approval": APPROVAL_TYPE, "revocation": REVOCATION_TYPE}


@dataclass(frozen=True, slots=True)
class Log:
    """What the log holds. ``newest``: the time of its last entry, 0 without any; ``leaves``: their hashes.

    ``head``: its signed tree head, None while there is no log.
    """

    approvals: tuple[Approval, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    size: int = 0
    root: str = ""
    newest: int = 0
    leaves: Sequence[bytes] = ()
    head: TreeHead | None = None

    def check_continues(self, size: int, root: str, where: str) -> None:
        """Raise VerificationError unless the log continues the one of ``size`` entries seen by ``where``."""
        if size and (size > self.size or tree_root(self.leaves[:size]).hex() != root):
            raise VerificationError(
                f"{where} saw a log of approvals of {quantity(size, 'entry')} that this one does not "
                "continue",
                remedy="entries were taken out or exchanged by somebody with the home's key: find out who",
            )

    def check_clock(self, now: int) -> None:
        """Raise VerificationError when ``now`` is before what was recorded: an expiry could be undone so."""
        if now < self.newest - TOLERANCE:
            raise VerificationError(
                "the clock was set back: the log of approvals has an entry of a later time than now",
                remedy="set the clock right; until then nobody can say which approvals have expired",
            )


def origin_of(key: PublicKey) -> str:
    """What the log of a home with this key is called: keys of all homes have one name, logs must not."""
    return f"{ORIGIN}/{key.key_id.hex()}"


def log_folder(home: Path) -> Path:
    """Where the log is."""
    return home / "seals" / "approvals"


def approvable(seal: Seal, signer: PublicKey) -> Approvable:
    """Of a seal whose signature by ``signer`` was checked, what an approval is about."""
    parts = tuple(part.name for part in seal.parts)
    places = tuple(part.path for part in seal.parts)
    maker = identity_of(signer.vkey)
    found = _found_in(seal.examined)
    return Approvable(seal.seal, seal.digest, seal.made_at, maker, seal.user, parts, places, found)


def _found_in(examined: Mapping[str, Json] | None) -> tuple[tuple[str, str], ...]:
    """What was found in an environment when it was sealed, each as severity and sentence."""
    found = None if examined is None else examined.get("findings")
    kept = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return tuple((str(one.get("severity")), f"{one.get('rule')}: {one.get('message')}") for one in kept)


def sign_approval(
    key: SigningKey,
    principal: Principal,
    policy: Policy,
    seal: Approvable,
    parts: Sequence[str],
    *,
    at: int,
    expires_at: int | None = None,
    reason: str = "",
    despite: bool = False,
) -> bytes:
    """The envelope of an approval. Raises UsageError where it could count for nothing.

    ``key`` has to be the principal's. Times in ns since the epoch. ``despite``: it is given knowing what was
    found in the environment.
    """
    _check_reason(reason)
    if not policy.own and (principal.identity == seal.maker or seal.user in principal.users):
        raise UsageError(
            f"{principal.name} made this seal, and the policy wants others to approve it",
            remedy="ask somebody else, or say own = true in the policy",
        )
    for part in parts:
        requirement = policy.requirement_for(part)
        if part not in seal.parts:
            raise UsageError(f"the seal has no part {part[:80]!r}", remedy=f"it has {', '.join(seal.parts)}")
        if requirement is None or set(requirement.roles).isdisjoint(principal.roles):
            raise UsageError(f"the policy does not let {principal.name} approve {part!r}")
    if despite:
        _check_despite(principal, policy, seal)
    elif not parts:
        raise UsageError(f"the policy lets {principal.name} approve no part of this seal")
    if policy.lifetime is not None and expires_at is not None and expires_at > at + policy.lifetime:
        raise UsageError("the policy does not let approvals count for so long", remedy="see policy.expires")
    predicate: dict[str, Json] = {
        "schema": SCHEMA,
        "seal": seal.seal,
        "parts": [*sorted(set(parts))],
        "policy": str(policy.digest()),
        "principal": principal.name,
        "key": principal.key,
        "at": at,
        "expires_at": expires_at,
        "reason": reason,
        **({"despite": True} if despite else {}),
    }
    return sign_statement(statement(seal.seal, Digest.parse(seal.digest), predicate, APPROVAL_TYPE), key)


def _check_despite(principal: Principal, policy: Policy, seal: Approvable) -> None:
    if set(policy.despite).isdisjoint(principal.roles):
        raise UsageError(
            f"the policy does not let {principal.name} approve despite findings",
            remedy="policy.despite has the roles that may"
            if policy.despite
            else "policy.despite names no role",
        )
    if not blocking(policy, seal):
        raise UsageError(
            "nothing was found in this seal that stands against it", remedy="approve it as it is"
        )


def sign_revocation(
    key: SigningKey, by: Principal, policy: Policy, whom: Principal, *, since: int, at: int, reason: str = ""
) -> bytes:
    """The envelope of a revocation. Raises UsageError when the policy does not let ``by`` do it."""
    _check_reason(reason)
    if by.identity != whom.identity and set(policy.revoke).isdisjoint(by.roles):
        raise UsageError(
            f"the policy does not let {by.name} revoke others",
            remedy="policy.revoke has the roles that may" if policy.revoke else "policy.revoke names no role",
        )
    predicate: dict[str, Json] = {
        "schema": SCHEMA,
        "principal": whom.name,
        "revoked": whom.key,
        "since": since,
        "key": by.key,
        "at": at,
        "reason": reason,
    }
    # The subject of an in-toto statement has a digest: that of the key that is revoked.
    digest = Digest.of(whom.identity.encode("ascii"))
    return sign_statement(statement(whom.name, digest, predicate, REVOCATION_TYPE), key)


def add_to_log(home: Path, key: SigningKey, kind: str, envelope: bytes, now: int) -> int:
    """Append the envelope of an ``approval`` or ``revocation``; its place in the log.

    Raises VerificationError when its signature does not hold or the clock was set back, EvidenceError when it
    is no such statement or the log cannot be written, UsageError while somebody else writes.
    """
    folder = log_folder(home)
    if not os.path.lexists(folder / "journal"):
        Ledger.create(folder, origin_of(key.verifier), key).close()
    with Ledger.open(folder, key) as ledger:
        log = read_log(home, key.verifier)
        log.check_clock(now)
        body: dict[str, Json] = {
            "at": max(now, log.newest),
            "envelope": envelope.decode("ascii", errors="replace"),
        }
        found = _taken(log.size, Entry(kind, body))
        if isinstance(found, Approval) and not found.holds:
            raise VerificationError("the approval's signature does not hold: it is not taken in")
        ledger.append(Entry(kind, body).encode())
        ledger.commit(publish=True)
    return log.size


def read_log(home: Path, key: PublicKey) -> Log:
    """All that the log holds, each entry and each signature checked; a home without one has approved nothing.

    Raises VerificationError when the log is not what ``key`` signed, its times run backwards, or a
    revocation's signature does not hold; EvidenceError when it cannot be read.
    """
    folder = log_folder(home)
    if not os.path.lexists(folder):
        return Log()
    with Reader(folder) as reader:
        if reader.tree_head.origin not in (ORIGIN, origin_of(key)):
            raise VerificationError("the log of approvals is another log", where=str(folder))
        if reader.size > MAX_ENTRIES:
            raise EvidenceError(f"the log of approvals has more than {MAX_ENTRIES:,} entries")
        reader.verify_tree(key)
        return log_of(list(reader.entries()), reader.tree_head)


def log_of(entries: Sequence[bytes], head: TreeHead) -> Log:
    """The log with these entries, over which ``head`` is; raises as :func:`read_log` does."""
    found = [_taken(number, Entry.decode(data)) for number, data in enumerate(entries)]
    for before, after in pairwise(found):
        if after.at < before.at:
            raise VerificationError(
                f"entry {after.number} of the log of approvals is before the one it follows"
            )
    return Log(
        tuple(one for one in found if isinstance(one, Approval)),
        tuple(one for one in found if isinstance(one, Revocation)),
        head.size,
        head.root.hex(),
        found[-1].at if found else 0,
        tuple(map(leaf_hash, entries)),
        head,
    )


def read_approval(envelope: bytes, at: int) -> Approval:
    """An approval that came as a file; raises EvidenceError when it is none, VerificationError if forged."""
    body: dict[str, Json] = {"at": at, "envelope": envelope.decode("ascii", errors="replace").strip()}
    found = _taken(0, Entry("approval", body))
    if not isinstance(found, Approval) or not found.holds:
        raise VerificationError("the approval's signature does not hold")
    return found


def _taken(number: int, entry: Entry) -> Approval | Revocation:
    kind = _KINDS.get(entry.kind)
    text = entry.body.get("envelope")
    if kind is None or not isinstance(text, str):
        raise EvidenceError(f"entry {number} of the log of approvals is neither approval nor revocation")
    at = _number(entry.body, "at")
    envelope = text.encode("utf-8")
    value = unverified_statement(envelope, kind)
    said = value["predicate"]
    if not isinstance(said, dict) or said.get("schema") != SCHEMA:
        raise EvidenceError(f"entry {number} of the log of approvals is of another schema")
    key = _text(said, "key")
    holds = _holds(envelope, key, kind)
    if kind == APPROVAL_TYPE:
        return _approval(number, at, value, said, holds=holds)
    if not holds:
        raise VerificationError(f"the signature of revocation {number} does not hold")
    revoked = _text(said, "revoked")
    return Revocation(
        number,
        _text(said, "principal"),
        identity_of(revoked),
        _number(said, "since"),
        at,
        identity_of(key),
        _text(said, "reason"),
    )


def _approval(
    number: int, at: int, value: Mapping[str, Json], said: Mapping[str, Json], *, holds: bool
) -> Approval:
    parts, expires = said.get("parts"), said.get("expires_at")
    seal = _text(said, "seal")
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise EvidenceError(f"approval {number} has no parts")
    return Approval(
        number,
        _subject(value, seal),
        seal,
        _text(said, "principal"),
        identity_of(_text(said, "key")),
        holds,
        tuple(map(str, parts)),
        _text(said, "policy"),
        _number(said, "at"),
        at,
        None if expires is None else _number(said, "expires_at"),
        _text(said, "reason"),
        said.get("despite") is True,
    )


def _subject(value: Mapping[str, Json], seal: str) -> str:
    """The digest of the one seal that an approval is of."""
    subjects = value.get("subject")
    one = subjects[0] if isinstance(subjects, list) and len(subjects) == 1 else None
    digests = one.get("digest") if isinstance(one, dict) and one.get("name") == seal else None
    sha256 = digests.get("sha256") if isinstance(digests, dict) and len(digests) == 1 else None
    if not isinstance(sha256, str):
        raise EvidenceError("an approval does not name one seal")
    return str(Digest("sha256", sha256))


def _holds(envelope: bytes, key: str, kind: str) -> bool:
    try:
        verify_envelope(envelope, PublicKey.parse(key), kind)
    except VerificationError:
        return False
    return True


def _check_reason(reason: str) -> None:
    if len(reason) > MAX_REASON:
        raise UsageError(f"a reason has at most {MAX_REASON} characters")


def _text(value: Mapping[str, Json], name: str) -> str:
    return text_of(value, name, of="an approval or revocation")


def _number(value: Mapping[str, Json], name: str) -> int:
    return number_of(value, name, of="an approval or revocation")
