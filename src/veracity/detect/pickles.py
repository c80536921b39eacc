"""What is wrong with a pickle's program under a policy: judged once, told by several rules.

Every import has to be of a permitted global, every call of a permitted shape, every state and every item
put into an object that the stream itself made. What is not known to be permitted is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ..core.pickled import SENTENCES, Danger, danger_of
from ..core.picklepolicy import Entry, Key, PicklePolicy, called, made_by, makes_bare_instance
from ..core.pickleprogram import (
    Build,
    ByteArray,
    Call,
    DictOf,
    End,
    Fill,
    Global,
    Import,
    ListOf,
    Operation,
    Persistent,
    PersistentObject,
    PickleProgram,
    Result,
    SetOf,
    Value,
)
from ..core.quantity import quantity
from ..core.rule import Confidence, Severity
from .pickled_values import leaked, reaches_beyond, redirecting, shown

EXECUTES, UNKNOWN, SHAPE, ALTERS = "executes", "unknown-global", "shape-differs", "alters-shared"
MALFORMED, LIMIT, AMBIGUOUS = "malformed", "limit", "ambiguous"
MAX_JUDGED = 64
MAX_NAME = 200
_GRAVE = (Danger.RUNS, Danger.CONNECTS, Danger.WRITES, Danger.ALTERS, Danger.CARRIES)


@dataclass(frozen=True, slots=True)
class Judged:
    """One thing that is wrong. ``at``: offset in the input; ``name``: the global, where there is one."""

    kind: str
    at: int
    name: str
    message: str
    severity: Severity
    confidence: Confidence
    observed: str = ""


@lru_cache(maxsize=1)
def judge(program: PickleProgram, policy: PicklePolicy | None) -> tuple[Judged, ...]:
    """All that is wrong with a program and its further readings, at most :data:`MAX_JUDGED` of each kind.

    Without a policy no global is permitted.
    """
    found: dict[tuple[str, str, str], Judged] = {}
    counts: dict[str, int] = {}
    for one in _all(program, policy):
        key = (one.kind, one.name, one.message)
        if key not in found and counts.get(one.kind, 0) < MAX_JUDGED:
            found[key] = one
            counts[one.kind] = counts.get(one.kind, 0) + 1
    return tuple(found.values())


def _all(program: PickleProgram, policy: PicklePolicy | None) -> Iterator[Judged]:
    yield from _operations(program.operations, policy)
    yield from _ending(program)
    for other in program.others:
        if other.reading == "plain":
            # Arrays' bytes taken for opcodes: nonsense, unless somebody has written them for such a reader.
            found = _operations(other.operations, policy)
            yield from (one for one in found if one.kind == EXECUTES and "?" not in one.name)
        else:
            yield from _operations(other.operations, policy)
    for inner in program.embedded:
        yield from _all(inner, policy)


def _operations(operations: tuple[Operation, ...], policy: PicklePolicy | None) -> Iterator[Judged]:
    if policy is not None:
        filled: dict[Call, list[Fill]] = {}
        for one in operations:
            if isinstance(one, Fill) and isinstance(one.target, Result):
                filled.setdefault(one.target.call, []).append(one)
        policy.filled = filled
    looked: set[int] = set()
    resolvers = False
    for one in operations:
        if isinstance(one, Import):
            entry = _permitted(one.value, policy)
            if entry is None:
                yield _import(one.value, policy)
            elif entry.resolver:
                resolvers = True
        elif policy is None:
            continue
        elif isinstance(one, Call):
            yield from _call(one, policy)
        elif isinstance(one, Build):
            yield from _build(one, policy, looked)
        elif isinstance(one, Fill):
            yield from _fill(one, policy)
        elif isinstance(one, Persistent):
            yield from _persistent(one.value, policy)
    if resolvers and policy is not None:
        yield from _stored(operations, policy)


def _permitted(value: Global, policy: PicklePolicy | None) -> Entry | None:
    if policy is None or value.computed or value.extension:
        return None
    return policy.entry((value.module, value.name))


def _import(value: Global, policy: PicklePolicy | None) -> Judged:
    name = named(value)
    if value.computed:
        message = "imports a global whose name is computed while it is loaded, so that it can be anything"
        return Judged(EXECUTES, value.at, name, message, Severity.ERROR, Confidence.HIGH)
    if value.extension:
        message = f"uses extension code {value.extension}: whatever the loading program registered as that"
        return Judged(UNKNOWN, value.at, name, message, Severity.WARNING, Confidence.MEDIUM)
    danger = danger_of(value.module, value.name) or danger_of(*value.written)
    if danger is None and any(part.startswith("__") for part in value.name.split(".")):
        danger = Danger.REACHES
    refused = policy.refused.get((value.module, value.name), "") if policy is not None else ""
    if danger is not None:
        grave = danger in _GRAVE
        severity = Severity.WARNING if danger is Danger.IDLE else Severity.ERROR
        sure = Confidence.HIGH if grave else Confidence.MEDIUM
        message = f"names {name}, which {SENTENCES[danger]}" + (f", {refused}" if refused else "")
        return Judged(EXECUTES, value.at, name, message, severity, sure)
    if refused:
        return Judged(UNKNOWN, value.at, name, f"names {name}, {refused}", Severity.WARNING, Confidence.HIGH)
    message = f"names {name}, which no policy permits"
    return Judged(UNKNOWN, value.at, name, message, Severity.WARNING, Confidence.MEDIUM)


def _call(call: Call, policy: PicklePolicy) -> Iterator[Judged]:
    key = called(call)
    if key is None:
        if not _told(call.callable):
            message = "calls an object that it computes, so that it can be anything"
            yield Judged(SHAPE, call.at, "", message, Severity.ERROR, Confidence.HIGH, shown(call.callable))
        return
    entry = policy.entry(key)
    if entry is None:
        if type(call.callable) is not Global:
            yield _unlike(call.at, key, f"calls {dotted(key)}, which no policy permits", call.arguments)
        return
    if not _accepts(entry, call):
        yield _unlike(
            call.at,
            key,
            f"calls {dotted(key)} with arguments unlike those of a file that holds data",
            call.arguments,
        )
    elif entry.relay is not None and type(call.arguments) is tuple:
        function, arguments = (call.arguments[place] for place in entry.relay)
        yield from _call(Call(call.at, call.form, function, arguments), policy)
    elif key[0] == "torch._utils" and reaches_beyond(call.arguments):
        message, value = "makes a tensor that reaches beyond its storage", shown(call.arguments)
        yield Judged(SHAPE, call.at, dotted(key), message, Severity.ERROR, Confidence.HIGH, value)
    if entry.stated is not None and type(call.arguments) is tuple and len(call.arguments) > entry.stated:
        yield from _state(call.at, key, call.arguments[entry.stated], policy)


def _accepts(entry: Entry, call: Call) -> bool:
    if call.keywords is not None and not (type(call.keywords) is DictOf and not call.keywords.items):
        return entry.role == "class" and type(call.keywords) is DictOf
    if entry.role == "class" and makes_bare_instance(call):
        return type(call.arguments) is tuple
    for accepts in entry.calls:  # noqa: SIM110 - a generator for each call takes longer than the matching
        if accepts(call.arguments):
            return True
    return False


def _build(build: Build, policy: PicklePolicy, looked: set[int]) -> Iterator[Judged]:
    target = build.target
    if type(target) is not Result:
        yield from _foreign(build.at, target, "sets the state of")
        return
    key = made_by(target)
    entry = policy.entry(key) if key is not None else None
    if key is None or entry is None:
        return  # the call, or the import, has been told
    if any(accepts(build.state) for accepts in entry.states):
        return
    if not entry.attributes:
        yield _unlike(
            build.at, key, f"gives {dotted(key)} a state unlike that of a file that holds data", build.state
        )
        return
    if id(build.state) not in looked:  # one that is used a million times is looked through once
        looked.add(id(build.state))
        yield from _state(build.at, key, build.state, policy)


def _state(at: int, key: Key, state: Value, policy: PicklePolicy) -> Iterator[Judged]:
    name = redirecting(state, policy)
    if name is not None:
        message = f"sets {name} of an object of {dotted(key)}, which changes what the object does"
        yield Judged(ALTERS, at, dotted(key), message, Severity.ERROR, Confidence.MEDIUM, shown(state))


def _fill(fill: Fill, policy: PicklePolicy) -> Iterator[Judged]:
    target = fill.target
    if type(target) is not Result:
        yield from _foreign(fill.at, target, "puts items into")
        return
    key = made_by(target)
    entry = policy.entry(key) if key is not None else None
    if key is not None and entry is not None and not entry.fillable:
        yield _unlike(
            fill.at, key, f"puts items into an object of {dotted(key)}, which holds none", fill.items
        )


def _foreign(at: int, target: Value, does: str) -> Iterator[Judged]:
    """Something is done to what the stream did not make."""
    if type(target) is Global:
        name = named(target)
        message = f"{does} {name}, which is not the file's own but shared by the whole process"
        yield Judged(ALTERS, at, name, message, Severity.ERROR, Confidence.HIGH)
    elif type(target) in (ListOf, DictOf, SetOf, ByteArray):
        if does.startswith("sets"):
            message = f"{does} a container, which has none"
            yield Judged(SHAPE, at, "", message, Severity.WARNING, Confidence.MEDIUM, shown(target))
    elif type(target) is PersistentObject:
        message = f"{does} an object that the loading program hands out"
        yield Judged(ALTERS, at, "", message, Severity.ERROR, Confidence.MEDIUM, shown(target.identifier))
    else:
        message = f"{does} something that cannot take it"
        yield Judged(SHAPE, at, "", message, Severity.WARNING, Confidence.MEDIUM, shown(target))


def _persistent(value: PersistentObject, policy: PicklePolicy) -> Iterator[Judged]:
    identifier = value.identifier
    if type(identifier) is not tuple or not identifier or type(identifier[0]) is not str:
        return
    if identifier[0] == "storage" and not policy.storage(identifier):
        message = "asks for a storage of tensors in another way than torch does"
        yield Judged(SHAPE, value.at, "", message, Severity.WARNING, Confidence.MEDIUM, shown(identifier))


def _stored(operations: tuple[Operation, ...], policy: PicklePolicy) -> Iterator[Judged]:
    """Globals that may be called but not kept."""
    for at, value in leaked(operations, policy):
        message = (
            f"keeps {named(value)}, which reaches other objects or loads a further pickle when it is called"
        )
        yield Judged(SHAPE, at, named(value), message, Severity.ERROR, Confidence.MEDIUM)


def _unlike(at: int, key: Key, message: str, value: Value) -> Judged:
    danger = danger_of(*key)
    if danger is None:
        return Judged(SHAPE, at, dotted(key), message, Severity.WARNING, Confidence.MEDIUM, shown(value))
    return Judged(SHAPE, at, dotted(key), message, Severity.ERROR, Confidence.HIGH, shown(value))


def _told(value: Value) -> bool:
    """Whether a finding about a global's import says already what is to be said of a call of it."""
    return type(value) is Global


def _ending(program: PickleProgram) -> Iterator[Judged]:
    ending = program.ending
    acted = any(type(one) in (Import, Call, Build, Fill) for one in program.operations)
    if ending.kind is End.LIMIT:
        yield Judged(
            LIMIT,
            ending.at,
            "",
            f"was not followed to its end: {ending.reason}",
            Severity.WARNING,
            Confidence.HIGH,
        )
    elif ending.kind is not End.STOP:
        after = "after it has imported or called something" if acted else "before anything is imported"
        message = f"is no whole pickle: {ending.reason}, {after}"
        yield Judged(MALFORMED, ending.at, "", message, Severity.WARNING, Confidence.HIGH)
    elif program.leftover:
        message = f"leaves {quantity(program.leftover, 'value')} behind for nobody, which no pickler does"
        yield Judged(MALFORMED, ending.at, "", message, Severity.WARNING, Confidence.MEDIUM)
    for one in program.doubts:
        if one.kind == "frame":
            message = f"is read in more than one way: {one.reason}"
            yield Judged(AMBIGUOUS, one.at, "", message, Severity.ERROR, Confidence.MEDIUM)


def named(value: Global) -> str:
    """A global as people write it."""
    if value.extension:
        return f"extension {value.extension}"
    return dotted((value.module or "?", value.name or "?"))


def dotted(key: Key) -> str:
    """A name as people write it, without what a terminal would take for a command or another letter."""
    text = ".".join(key)[:MAX_NAME]
    return text if text.isascii() and text.isprintable() else ascii(text)[1:-1]
