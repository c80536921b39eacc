"""Which globals a pickle may name, and how it may use them: default deny.

The policy is a document (``observe/pickle/policy.json`` and what a site adds to it), of which this is the
meaning. A global that is in none of its sections is not permitted. One that is there may be named; what
else depends on where:

- ``types``: may be named as a type (``dtype``, the class of an array); ``named``: be named and nothing else
- ``functions``: may be stored, to be called by the program later (an activation, a metric)
- ``enums``: as a type, and be called with one value
- ``classes``: as a type, be made without ``__init__`` (NEWOBJ, ``copyreg._reconstructor``), have a state set
  and items put in
- ``calls``: be called with arguments of one of the shapes listed (:mod:`pickleshape`)

``states`` says which state the result of a call may be given, ``fills`` whose results items may be put into.
``relays`` are called with a global and its arguments, which they call; of ``stated`` one argument becomes a
state. ``resolvers`` may only be called, never stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .errors import EvidenceError
from .pickleprogram import Call, DictOf, Fill, Form, Global, PersistentObject, Result, Value
from .pickleshape import Matcher, matcher_of

VERSION = 1
Key = tuple[str, str]
_SECTIONS = ("types", "functions", "enums", "classes", "named")
_ROLES = {"types": "type", "functions": "function", "enums": "enum", "classes": "class", "named": "named"}
_TABLES = {*_SECTIONS, "calls", "states", "fills", "relays", "stated", "resolvers", "groups"}
_INDIRECT = frozenset(
    {("copyreg", "_reconstructor"), ("copyreg", "__newobj__"), ("copyreg", "__newobj_ex__")}
)
_ENUM_VALUE = "(int|str|tuple|none|float|bool)"


@dataclass(frozen=True, slots=True)
class SitePermits:
    """What a site says of globals beside the packaged policy.

    ``free``: permitted whatever defines them, as classes that hold data. ``bound``: permitted since the file
    that defines them is the one that was read, as the packaged policy has them, else as such classes.
    ``refused``: not permitted, even where the packaged policy has them, with a clause that says why.
    """

    free: tuple[Key, ...] = ()
    bound: tuple[Key, ...] = ()
    refused: tuple[tuple[Key, str], ...] = ()


NO_PERMITS = SitePermits()


@dataclass(frozen=True, slots=True)
class Entry:
    """What the policy says of one global: its role, the shapes of its calls and of its results' states."""

    role: str
    calls: tuple[Matcher, ...] = ()
    states: tuple[Matcher, ...] = ()
    attributes: bool = False
    fillable: bool = False
    relay: tuple[int, int] | None = None
    resolver: bool = False
    stated: int | None = None


@dataclass(slots=True, eq=False)
class PicklePolicy:
    """A policy, of which entries are made when they are asked for. Pure but for that it remembers them.

    ``document`` is a document of the form above, checked by :func:`policy_of`. ``free``, ``bound`` and
    ``refused`` are what a site says beside it (:class:`SitePermits`). ``filled`` is set for each program
    that is judged: the calls into whose results it puts something.
    """

    document: Mapping[str, Mapping[str, object]]
    patterns: tuple[tuple[re.Pattern[str], re.Pattern[str], str, tuple[str, ...]], ...]
    groups: Mapping[str, frozenset[Key]]
    free: frozenset[Key] = frozenset()
    bound: frozenset[Key] = frozenset()
    refused: Mapping[Key, str] = field(default_factory=dict)
    filled: Mapping[Call, Sequence[Fill]] = field(default_factory=dict)
    _entries: dict[Key, Entry | None] = field(default_factory=dict)
    _storage: Matcher | None = None

    def entry(self, key: Key) -> Entry | None:
        """What is permitted of a global; None when it is not."""
        try:
            return self._entries[key]
        except KeyError:
            made = self._entries[key] = self._make(key)
            return made

    def role(self, value: Global) -> str:
        """The role of a global, empty when it is not permitted."""
        entry = self.entry((value.module, value.name))
        return entry.role if entry is not None else ""

    def in_group(self, value: Value, group: str) -> bool:
        """Whether a value is the result of a call of one of a group's globals."""
        return type(value) is Result and made_by(value) in self.groups.get(group, ())

    def holds_numbers(self, value: Value) -> bool:
        """Whether a value is an array, a tensor or a storage."""
        return any(self.in_group(value, group) for group in ("array", "tensor", "storage"))

    def stays_empty(self, value: Value) -> bool:
        """Whether a value is an OrderedDict (or a dict of the stream's own) that nothing is put into."""
        if type(value) is DictOf:
            return not value.items
        return (
            type(value) is Result
            and value.call not in self.filled
            and called(value.call) == ("collections", "OrderedDict")
            and value.call.arguments == ()
        )

    def storage(self, identifier: Value) -> bool:
        """Whether a persistent id asks for a storage as torch does."""
        if self._storage is None:
            self._storage = matcher_of("(='storage', type, str|int, str|none, int, any?)", self)
        return self._storage(identifier)

    def _make(self, key: Key) -> Entry | None:
        if key in self.refused:
            return None
        if key in self.free:
            return self._of_site()
        entry = self._packaged(key)
        return self._of_site() if entry is None and key in self.bound else entry

    def _of_site(self) -> Entry:
        return Entry("class", (matcher_of("(any*)", self),), (), True, True)

    def _packaged(self, key: Key) -> Entry | None:
        module, name = key
        role = next((_ROLES[one] for one in _SECTIONS if self._has(one, key)), "")
        calls = _shapes(self.document["calls"], key)
        if not role and not calls:
            for where, what, named, several in self.patterns:
                if where.fullmatch(module) and what.fullmatch(name):
                    role, calls = named, list(several)
                    break
        if not role and not calls:
            return None
        shapes = [*calls, *([_ENUM_VALUE] if role == "enum" else [])]
        states = _shapes(self.document["states"], key)
        relay = self.document["relays"].get(module)
        places = relay.get(name) if isinstance(relay, dict) else None
        return Entry(
            role or "call",
            tuple(matcher_of(one, self) for one in shapes),
            tuple(matcher_of(one, self) for one in states if one != "attributes"),
            attributes=role == "class" or "attributes" in states,
            fillable=role == "class" or self._has("fills", key),
            relay=(places[0], places[1]) if isinstance(places, list) else None,
            resolver=self._has("resolvers", key),
            stated=self._place(key),
        )

    def _place(self, key: Key) -> int | None:
        table = self.document["stated"].get(key[0])
        place = table.get(key[1]) if isinstance(table, dict) else None
        return place if isinstance(place, int) else None

    def _has(self, section: str, key: Key) -> bool:
        names = self.document[section].get(key[0])
        return isinstance(names, str) and key[1] in names.split()


def called(call: Call) -> Key | None:
    """The global that a call calls: itself, a legacy torch file's class, or a method of a class."""
    callable_ = call.callable
    if type(callable_) is Global:
        return None if callable_.computed or callable_.extension else (callable_.module, callable_.name)
    if type(callable_) is PersistentObject:
        return _persistent_class(callable_)
    if type(callable_) is Result:
        inner = callable_.call
        arguments = inner.arguments
        if (
            type(inner.callable) is Global
            and (inner.callable.module, inner.callable.name) == ("builtins", "getattr")
            and type(arguments) is tuple
            and len(arguments) == 2
            and type(arguments[0]) is Global
            and type(arguments[1]) is str
        ):
            return arguments[0].module, f"{arguments[0].name}.{arguments[1]}"
    return None


def made_by(value: Result) -> Key | None:
    """Whose instance a result is, or of which function; ``_reconstructor`` makes its argument's."""
    call = value.call
    key = called(call)
    if key in _INDIRECT and type(call.arguments) is tuple and call.arguments:
        first = call.arguments[0]
        return (first.module, first.name) if type(first) is Global else None
    return key


def _persistent_class(value: PersistentObject) -> Key | None:
    # torch's legacy files hold classes of modules as ("module", class, source file, source).
    identifier = value.identifier
    if type(identifier) is tuple and len(identifier) == 4 and type(identifier[1]) is Global:
        first = identifier[0]
        if type(first) is str and first == "module":
            return identifier[1].module, identifier[1].name
    return None


def makes_bare_instance(call: Call) -> bool:
    """Whether a call makes an instance of a class without ``__init__``."""
    return call.form in (Form.NEWOBJ, Form.NEWOBJ_EX) or (
        call.form in (Form.OBJ, Form.INST) and not call.arguments
    )


def policy_of(document: object, site: SitePermits = NO_PERMITS, *, checked: bool = False) -> PicklePolicy:
    """The policy that a document describes. Raises EvidenceError when it describes none.

    ``checked``: it is known that every shape in it is one, so none is looked at before it is asked for.
    """
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise EvidenceError("this is no policy for pickles of a version that is known")
    missing = sorted(_TABLES - {name for name, table in document.items() if isinstance(table, dict)})
    unknown = sorted(document.keys() - _TABLES - {"version", "patterns"})
    if missing or unknown:
        raise EvidenceError(
            f"a policy for pickles lacks or does not know the section {(missing or unknown)[0]!r}"
        )
    try:
        patterns = tuple(
            (re.compile(module), re.compile(name), role, tuple(shapes))
            for module, name, role, *shapes in document["patterns"]
        )
        groups = {
            name: frozenset(_key(one) for one in members) for name, members in document["groups"].items()
        }
        policy = PicklePolicy(
            document, patterns, groups, frozenset(site.free), frozenset(site.bound), dict(site.refused)
        )
        if not checked:
            _check_shapes(document, policy)
    except (ValueError, KeyError, TypeError, AttributeError, re.error) as error:
        raise EvidenceError(f"a policy for pickles has an entry that is none: {str(error)[:200]}") from error
    return policy


def _check_shapes(document: dict[str, dict[str, dict[str, list[str]]]], policy: PicklePolicy) -> None:
    for shape in (one for _, _, _, several in policy.patterns for one in several):
        matcher_of(shape, policy)
    for section in ("calls", "states"):
        for names in document[section].values():
            for shapes in names.values():
                for shape in shapes:
                    if shape != "attributes":
                        matcher_of(shape, policy)


def _key(text: str) -> Key:
    module, _, name = text.partition(":")
    return module, name


def _shapes(table: Mapping[str, object], key: Key) -> list[str]:
    names = table.get(key[0])
    shapes = names.get(key[1]) if isinstance(names, dict) else None
    return [one for one in shapes if isinstance(one, str)] if isinstance(shapes, list) else []
