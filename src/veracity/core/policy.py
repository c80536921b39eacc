"""The policy: who may approve which parts of a seal, how many of them it takes, and for how long.

A principal is a public key. The policy is named by the digest of what it says, not of how the file is
written: comments and order do not count, each number and each name does.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .canonical import Json, encode
from .digest import Digest
from .errors import UsageError
from .level import FULL, Level, level_of
from .quantity import quantity

KINDS = ("code", "environment", "checkpoint", "data", "contract")
"""What a part of a seal can be. A part that is called so is of that kind."""

ERRORS = "error"
BLOCKED: Mapping[str, tuple[str, ...]] = {ERRORS: ("error",), "warning": ("error", "warning"), "none": ()}
"""By what ``findings`` says, the severities that stand against a seal."""

KNOWN = {
    *("expires", "own", "override", "revoke", "principals", "approve"),
    *("witnesses", "findings", "despite", "level"),
}
SECOND = 10**9
_UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86400 * SECOND}
_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", re.ASCII)
_USER = re.compile(r"(0|[1-9][0-9]{0,9})\Z", re.ASCII)
MAX_PRINCIPALS = 1000
MAX_LISTED = 256
MAX_LIFETIME = 3650 * 86400 * SECOND
MAX_TEXT = 512
MAX_WITNESSES = 64 << 10


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who can sign. ``users``: numbers of the accounts that seals of theirs are made under."""

    name: str
    key: str
    roles: tuple[str, ...]
    users: tuple[str, ...]

    @property
    def identity(self) -> str:
        """The key itself: see :func:`identity_of`."""
        return identity_of(self.key)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What parts of one kind need: so many different principals with one of these roles."""

    kind: str
    parts: tuple[str, ...]
    roles: tuple[str, ...]
    needed: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What ``[policy]`` says. ``lifetime`` in ns, None: approvals do not end by themselves.

    ``own``: who made a seal may approve it. ``override``: a run may be started against the policy, recorded.
    ``revoke``: roles that may revoke others; everybody may revoke themselves. ``witnesses``: whose
    cosignatures the log of approvals needs, as lines of a C2SP tlog-policy; empty: nobody's. ``findings``:
    from which severity on what was found in a sealed environment keeps the seal from counting as approved;
    ``despite``: roles that may approve it all the same, knowingly. ``level``: how closely what is sealed is
    looked at before a run starts.
    """

    principals: tuple[Principal, ...]
    requirements: tuple[Requirement, ...]
    lifetime: int | None
    own: bool
    override: bool
    revoke: tuple[str, ...]
    witnesses: str = ""
    findings: str = ERRORS
    despite: tuple[str, ...] = ()
    level: Level = FULL

    def document(self) -> dict[str, Json]:
        """What the policy says, in its one form."""
        return {
            "principals": [
                {"name": one.name, "key": one.key, "roles": _sorted(one.roles), "users": _sorted(one.users)}
                for one in sorted(self.principals, key=lambda one: one.name)
            ],
            "approve": [
                {
                    "kind": one.kind,
                    "parts": _sorted(one.parts),
                    "roles": _sorted(one.roles),
                    "needed": one.needed,
                }
                for one in sorted(self.requirements, key=lambda one: one.kind)
            ],
            "lifetime": self.lifetime,
            "own": self.own,
            "override": self.override,
            "revoke": _sorted(self.revoke),
            # So that who leaves the witnesses out makes all approvals fall that were given under them.
            **({"witnesses": _without_addresses(self.witnesses)} if self.witnesses else {}),
            **({"findings": self.findings} if self.findings != ERRORS else {}),
            **({"despite": _sorted(self.despite)} if self.despite else {}),
            # Left out where it is the usual one, so that policies are called what they always were.
            **({"level": str(self.level)} if self.level != FULL else {}),
        }

    def digest(self) -> Digest:
        """What approvals name the policy by."""
        return Digest.of(encode(self.document()))

    def requirement_for(self, part: str) -> Requirement | None:
        """What a part of a seal needs; None when the policy does not speak of it: nobody can approve it."""
        for one in self.requirements:
            if part == one.kind or part in one.parts:
                return one
        return None

    def is_blocked_by(self, severity: str) -> bool:
        """Whether a finding of this severity in a sealed environment stands against the seal."""
        return severity in BLOCKED[self.findings]

    def holder_of(self, identity: str) -> Principal | None:
        """Whose key it is."""
        return next((one for one in self.principals if one.identity == identity), None)


def identity_of(key: str) -> str:
    """Of a ``name+id+base64`` line the last part: the key, whatever it is called."""
    return key.strip().split("+", 2)[-1]


def duration_of(text: object, what: str = "a duration") -> int:
    """``90s``, ``45m``, ``12h``, ``30d`` in ns; raises UsageError for anything else."""
    match = _DURATION.match(text) if isinstance(text, str) else None
    length = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < length <= MAX_LIFETIME:
        raise UsageError(
            f"{what} is no length of time: {_shown(text)}",
            remedy='write it like "30d", "12h" or "45m", of at most 3650 days',
        )
    return length


def policy_of(value: object) -> Policy:
    """The policy that a ``[policy]`` table says.

    Raises UsageError for unknown keys, names that occur twice, roles that nobody has, and numbers of
    approvers that cannot be had.
    """
    table = _table(value, "policy", KNOWN)
    principals = tuple(
        _principal(name, one) for name, one in _tables(table.get("principals"), "policy.principals")
    )
    requirements = tuple(
        _requirement(kind, one) for kind, one in _tables(table.get("approve"), "policy.approve")
    )
    if not principals or not requirements:
        missing = "principals" if not principals else "approve"
        raise UsageError(f"the policy has no [policy.{missing}.…]: nobody could approve anything")
    lifetime = table.get("expires")
    policy = Policy(
        principals,
        requirements,
        None if lifetime is None else duration_of(lifetime, "policy.expires"),
        _flag(table, "own", usual=False),
        _flag(table, "override", usual=True),
        _words(table.get("revoke", []), "policy.revoke", _NAME),
        _witnesses(table.get("witnesses", "")),
        _findings(table.get("findings", ERRORS)),
        _words(table.get("despite", []), "policy.despite", _NAME),
        level_of(table["level"]) if "level" in table else FULL,
    )
    _check(policy)
    return policy


def policy_from(document: Json) -> Policy:
    """The policy whose :meth:`Policy.document` this is; raises UsageError when it is none."""
    if not isinstance(document, dict):
        raise UsageError("not the document of a policy")
    lists = {name: document.get(name) for name in ("principals", "approve", "witnesses")}
    rows = {name: one if isinstance(one, list) else [] for name, one in lists.items()}
    known = {name: value for name, value in document.items() if name not in (*lists, "lifetime")}
    table: dict[str, object] = {**known, "principals": {}, "approve": {}}
    for name, key in (("principals", "name"), ("approve", "kind")):
        told = [dict(one) for one in rows[name] if isinstance(one, dict)]
        table[name] = {str(one.pop(key, "")): one for one in told}
    table["witnesses"] = "\n".join(map(str, rows["witnesses"]))
    lifetime = document.get("lifetime")
    policy = replace(policy_of(table), lifetime=lifetime if isinstance(lifetime, int) else None)
    if policy.document() != document:
        raise UsageError("not the document of a policy")
    return policy


def _check(policy: Policy) -> None:
    """What each table may say by itself, but all of them together may not."""
    keys = [one.identity for one in policy.principals]
    users = [user for one in policy.principals for user in one.users]
    parts = [part for one in policy.requirements for part in {one.kind, *one.parts}]
    for what, names in (("key", keys), ("user", users), ("part", parts)):
        twice = next((name for name, times in Counter(names).items() if times > 1), None)
        if twice is not None:
            raise UsageError(f"the policy says the {what} {twice[:80]!r} of two: it has to be one's alone")
    held = {role for one in policy.principals for role in one.roles}
    named = [*policy.revoke, *policy.despite, *(role for one in policy.requirements for role in one.roles)]
    nobodys = next((role for role in named if role not in held), None)
    if nobodys is not None:
        raise UsageError(f"nobody in the policy has the role {nobodys!r}")
    for one in policy.requirements:
        able = sum(not set(one.roles).isdisjoint(principal.roles) for principal in policy.principals)
        if able < one.needed:
            raise UsageError(
                f"policy.approve.{one.kind} needs {quantity(one.needed, 'approver')}, and {able} could "
                "approve it"
            )


def _principal(name: str, value: object) -> Principal:
    where = f"policy.principals.{name}"
    if not _NAME.match(name):
        raise UsageError(f"not a name for a principal: {_shown(name)}")
    table = _table(value, where, {"key", "roles", "users"})
    key = table.get("key")
    if not isinstance(key, str) or len(key) > MAX_TEXT or not _is_key(key.strip()):
        raise UsageError(f"{where}.key is no line of a public key: {_shown(key)}")
    roles = _words(table.get("roles"), f"{where}.roles", _NAME)
    return Principal(name, key.strip(), roles, _words(table.get("users", []), f"{where}.users", _USER))


def _requirement(kind: str, value: object) -> Requirement:
    where = f"policy.approve.{kind}"
    if kind not in KINDS:
        raise UsageError(
            f"a policy knows no kind of part {_shown(kind)}",
            remedy=f"kinds are {', '.join(KINDS)}; name parts with parts = [...]",
        )
    table = _table(value, where, {"parts", "roles", "needed"})
    needed = table.get("needed", 1)
    if not isinstance(needed, int) or isinstance(needed, bool) or not 1 <= needed <= MAX_LISTED:
        raise UsageError(f"{where}.needed is no number of approvers: {_shown(needed)}")
    roles = _words(table.get("roles"), f"{where}.roles", _NAME)
    if not roles:
        raise UsageError(f"{where}.roles names no role: nobody could approve it")
    return Requirement(kind, _words(table.get("parts", []), f"{where}.parts", None), roles, needed)


def _is_key(text: str) -> bool:
    """Whether a line looks like a key; whether it is a good one is asked where keys are known."""
    pieces = text.split("+", 2)
    try:
        raw = base64.b64decode(pieces[-1], validate=True)
    except (binascii.Error, ValueError):
        return False
    # One spelling only: another one would be another identity with the same key.
    return len(pieces) == 3 and len(raw) == 33 and base64.b64encode(raw).decode("ascii") == pieces[-1]


def _table(value: object, where: str, known: set[str]) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise UsageError(f"[{where}] is no table")
    unknown = sorted(str(name) for name in value.keys() - known)
    if unknown:
        raise UsageError(
            f"[{where}] has an unknown key {_shown(unknown[0])}", remedy=f"it has {', '.join(sorted(known))}"
        )
    return value


def _tables(value: object, where: str) -> Sequence[tuple[str, object]]:
    if value is None:
        return ()
    if not isinstance(value, dict) or len(value) > MAX_PRINCIPALS:
        raise UsageError(f"[{where}] is no table, or too long")
    return list(value.items())


def _words(value: object, where: str, form: re.Pattern[str] | None) -> tuple[str, ...]:
    words = value if isinstance(value, list) else [None]
    found = tuple(word for word in words if isinstance(word, str) and 0 < len(word) <= MAX_TEXT)
    good = len(found) == len(words) <= MAX_LISTED and len(set(found)) == len(found)
    if not good or (form is not None and not all(map(form.match, found))):
        raise UsageError(f"{where} is no list of different names: {_shown(value)}")
    return found


def _witnesses(value: object) -> str:
    """Lines of a witness policy; whether it is one is asked where witnesses are known."""
    if not isinstance(value, str) or len(value) > MAX_WITNESSES:
        raise UsageError(f"policy.witnesses is no text of a witness policy: {_shown(value)}")
    return value if not value or value.endswith("\n") else f"{value}\n"


def _findings(value: object) -> str:
    if not isinstance(value, str) or value not in BLOCKED:
        raise UsageError(
            f"policy.findings says from what severity on findings count: not {_shown(value)}",
            remedy=f"it is one of {', '.join(BLOCKED)}",
        )
    return value


def _without_addresses(witnesses: str) -> list[Json]:
    """The lines without comments, and without where a witness is reached, which may change."""
    kept = {"witness": 3, "log": 2}
    lines = [line.split() for line in witnesses.splitlines()]
    return [" ".join(words[: kept.get(words[0])]) for words in lines if words and words[0][0] != "#"]


def _flag(table: Mapping[str, object], name: str, *, usual: bool) -> bool:
    value = table.get(name, usual)
    if not isinstance(value, bool):
        raise UsageError(f"policy.{name} is true or false, not {_shown(value)}")
    return value


def _sorted(words: Sequence[str]) -> list[Json]:
    return [*sorted(words)]


def _shown(value: object) -> str:
    return repr(value)[:80]
