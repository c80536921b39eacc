"""Whose cosignatures a tree head needs: C2SP tlog-policy.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <member>...
    quorum <name>|none

A line speaks only of names on lines before it, and each name is a member once: so nobody counts twice, and no
group can hold itself. Names are bytes that mean nothing elsewhere; what is no UTF-8 in them is kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ...core.errors import EvidenceError, ResourceLimitError, VerificationError
from ..keys import PublicKey
from ..tree_head import speaks_for
from .cosignature import WitnessKey

MAX_POLICY = 128 * 1024
MAX_NAMES = 64
"""Of logs, witnesses and groups, each."""
NONE = "none"
_ALLOWED = re.compile(rb"[\t\n\x20-\x7e\x80-\xff]*\Z")
_BLANK = re.compile(r"[ \t]+")
_WORD = re.compile(r"[^\x00-\x20\x7f]+\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,3}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log whose heads count. A key named ``n`` speaks for the log ``n`` and, with us, all logs ``n/…``."""

    key: PublicKey
    url: str = ""


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness under the name it has in the policy."""

    name: str
    key: WitnessKey
    url: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Members of which ``needed`` must have seen a head for the group to have seen it."""

    name: str
    needed: int
    members: tuple[str, ...]


@dataclass(slots=True)
class _Names:
    """What the lines so far have defined."""

    known: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)

    def define(self, name: str) -> None:
        if name in self.known or name == NONE:
            raise EvidenceError(f"the name {_shown(name)} is taken")
        self.known.add(name)

    def use(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.known:
                raise EvidenceError(f"no line before this one defines {_shown(name)}")
            if name in self.members:
                raise EvidenceError(f"{_shown(name)} is a member twice: it would count twice")
            self.members.add(name)


@dataclass(frozen=True, slots=True)
class Policy:
    """A witness policy. ``quorum``: the witness or group that must have seen a head; ``none``: nobody must.

    Raises EvidenceError when it is none that could be written down.
    """

    quorum: str
    witnesses: tuple[PolicyWitness, ...] = ()
    groups: tuple[Group, ...] = ()
    logs: tuple[PolicyLog, ...] = ()

    def __post_init__(self) -> None:
        names = _Names()
        for kind, found in (("logs", self.logs), ("witnesses", self.witnesses), ("groups", self.groups)):
            if len(found) > MAX_NAMES:
                raise ResourceLimitError(f"a witness policy has at most {MAX_NAMES} {kind}, not {len(found)}")
        words = [one.name for one in self.witnesses] + [one.name for one in self.groups]
        words += [
            url for url in [*(one.url for one in self.witnesses), *(one.url for one in self.logs)] if url
        ]
        if not all(map(_WORD.match, words)):
            raise EvidenceError("names and addresses in a witness policy have no blanks")
        _check_different([one.key for one in self.logs])
        _check_different([one.key.public for one in self.witnesses])
        for witness in self.witnesses:
            names.define(witness.name)
        for group in self.groups:
            _add_group(names, group)
        if self.quorum != NONE and self.quorum not in names.known:
            raise EvidenceError(f"no line before the quorum's defines {_shown(self.quorum)}")

    @classmethod
    def requiring(cls, keys: Sequence[WitnessKey], urls: Sequence[str] = ()) -> Policy:
        """The policy that wants to see each of these witnesses; of none when there is none."""
        named = tuple(
            PolicyWitness(f"w{number}", key, urls[number - 1] if urls else "")
            for number, key in enumerate(keys, 1)
        )
        if not named:
            return cls(NONE)
        return cls(
            "all-witnesses", named, (Group("all-witnesses", len(named), tuple(w.name for w in named)),)
        )

    @classmethod
    def parse(cls, data: bytes) -> Policy:
        """Read one; raises EvidenceError, with the line, for what the specification does not allow."""
        if len(data) > MAX_POLICY:
            raise ResourceLimitError(f"a witness policy of {len(data)} bytes is too long")
        if not _ALLOWED.match(data):
            raise EvidenceError("a witness policy has no control characters but tabs and newlines")
        *lines, rest = data.decode("utf-8", "surrogateescape").split("\n")
        if rest:
            raise EvidenceError("the last line of a witness policy does not end: is it all there?")
        reading = _Reading()
        for number, line in enumerate(lines, 1):
            words = _BLANK.split(line.strip(" \t"))
            if words[0] and not words[0].startswith("#"):
                try:
                    reading.take(words)
                except (EvidenceError, VerificationError) as error:
                    raise EvidenceError(f"line {number} of the witness policy: {error}") from error
        if reading.quorum is None:
            raise EvidenceError("a witness policy has one line that says the quorum")
        return cls(reading.quorum, tuple(reading.witnesses), tuple(reading.groups), tuple(reading.logs))

    def encode(self) -> bytes:
        """The same policy as a file."""
        lines = [["log", one.key.vkey, one.url] for one in self.logs]
        lines += [["witness", one.name, one.key.vkey, one.url] for one in self.witnesses]
        lines += [["group", one.name, str(one.needed), *one.members] for one in self.groups]
        lines.append(["quorum", self.quorum])
        text = "".join(" ".join(word for word in line if word) + "\n" for line in lines)
        return text.encode("utf-8", "surrogateescape")

    def without_addresses(self) -> Policy:
        """The same policy, not saying where anybody is reached."""
        return replace(
            self,
            witnesses=tuple(replace(one, url="") for one in self.witnesses),
            logs=tuple(replace(one, url="") for one in self.logs),
        )

    def is_reached(self, seen_by: Collection[str]) -> bool:
        """Whether witnesses of these names are enough."""
        reached = {NONE, *(one.name for one in self.witnesses if one.name in seen_by)}
        for group in self.groups:
            if len(reached.intersection(group.members)) >= group.needed:
                reached.add(group.name)
        return self.quorum in reached

    def check_log(self, key: PublicKey, origin: str) -> None:
        """Raise VerificationError when the policy names logs and ``origin`` with ``key`` is none of them."""
        known = [one.key for one in self.logs if one.key.raw == key.raw]
        if self.logs and not any(speaks_for(one.name, origin) for one in known):
            raise VerificationError(
                f"the witness policy is not about the log {origin} of {key.name}",
                remedy="verify with a policy that names this log's key, or no log",
            )


class _Reading:
    """A policy as far as it was read."""

    def __init__(self) -> None:
        self.logs: list[PolicyLog] = []
        self.witnesses: list[PolicyWitness] = []
        self.groups: list[Group] = []
        self.quorum: str | None = None
        self._names = _Names()

    def take(self, words: list[str]) -> None:
        """Take in the words of one line."""
        kind, *rest = words
        if kind == "log" and len(rest) in (1, 2):
            self.logs.append(PolicyLog(PublicKey.parse(rest[0]), *rest[1:]))
        elif kind == "witness" and len(rest) in (2, 3):
            self._names.define(rest[0])
            self.witnesses.append(PolicyWitness(rest[0], WitnessKey.parse(rest[1]), *rest[2:]))
        elif kind == "group" and len(rest) > 2:
            members = tuple(rest[2:])
            needed = {"any": 1, "all": len(members)}.get(rest[1])
            if needed is None:
                if not _NUMBER.match(rest[1]):
                    raise EvidenceError(f"not `all`, `any` or a number: {_shown(rest[1])}")
                needed = int(rest[1])
            group = Group(rest[0], needed, members)
            _add_group(self._names, group)
            self.groups.append(group)
        elif kind == "quorum" and len(rest) == 1 and self.quorum is None:
            if rest[0] != NONE and rest[0] not in self._names.known:
                raise EvidenceError(f"no line before this one defines {_shown(rest[0])}")
            self.quorum = rest[0]
        elif kind == "quorum" and len(rest) == 1:
            raise EvidenceError("there is a quorum already")
        else:
            raise EvidenceError(f"not a line of one: {_shown(' '.join(words))}")


def _add_group(names: _Names, group: Group) -> None:
    if not 1 <= group.needed <= len(group.members):
        raise EvidenceError(f"of a group of {len(group.members)}, {group.needed} cannot be needed")
    names.use(group.members)
    names.define(group.name)


def _check_different(keys: Sequence[PublicKey]) -> None:
    """One key under two names would count twice."""
    seen: set[bytes] = set()
    for key in keys:
        if key.raw in seen:
            raise EvidenceError(f"the witness policy has the key of {key.name} twice")
        seen.add(key.raw)


def _shown(text: str) -> str:
    return ascii(text[:80])
