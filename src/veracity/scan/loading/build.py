"""Data made of a :class:`~veracity.core.pickleprogram.PickleProgram`, by makers of our own for each name.

Nothing that a file names is imported or called. What has a maker is built by it, from arguments that it has
checked; all else becomes an :class:`~veracity.scan.loading.opaque.Opaque`, which holds what the file says of
it. The operations are followed in their order, so that each maker sees what the unpickler would have seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ...core.errors import EvidenceError
from ...core.pickleprogram import (
    Build,
    ByteArray,
    Call,
    DictOf,
    End,
    Fill,
    Global,
    ListOf,
    Octets,
    Persistent,
    PersistentObject,
    PickleProgram,
    Result,
    SetOf,
    Text,
    Value,
)
from .opaque import Named, Opaque

MAX_DEPTH = 200
"""Tuples in tuples, and the same of what a key of a dictionary is made of."""
MAX_DIGITS = 1 << 16
"""Bytes of one integer."""

Maker = Callable[[Sequence[object]], object]
"""Makes an object of checked arguments; raises :class:`UnfitError` for arguments that no honest file has."""
Finisher = Callable[[Opaque, object], object]
"""Makes an object of what was named, and of its state; raises :class:`UnfitError`."""
Name = tuple[str, str]


class UnfitError(Exception):
    """Arguments that a maker does not take. What they were meant for stays opaque."""


class Bytes(Protocol):
    """The pickle itself."""

    def read(self, at: int, length: int) -> bytes:
        """``length`` bytes from offset ``at``."""
        ...


@dataclass(slots=True)
class Makers:
    """What can be built: objects by call, objects by state, and names that stand for a value."""

    calls: dict[Name, Maker] = field(default_factory=dict)
    states: dict[Name, Finisher] = field(default_factory=dict)
    values: dict[Name, object] = field(default_factory=dict)
    changes: dict[type, Callable[[object, object], object]] = field(default_factory=dict)
    """What a state makes of an object that was built already, by its type."""

    def add(self, other: Makers) -> None:
        """All that another table can build, too."""
        self.calls.update(other.calls)
        self.states.update(other.states)
        self.values.update(other.values)
        self.changes.update(other.changes)


def build(
    program: PickleProgram, source: Bytes, makers: Makers, persistent: Callable[[object], object] | None
) -> tuple[object, list[Opaque]]:
    """The object of a program that was followed with its values recorded, and what in it is opaque.

    Raises EvidenceError for a program that breaks off, has several readings, or asks for what cannot be had.
    """
    if program.ending.kind is not End.STOP:
        raise EvidenceError(f"the pickle breaks off: {program.ending.reason}")
    if program.others or program.doubts:
        raise EvidenceError("versions of Python would read different things in this pickle")
    building = _Building(source, makers, persistent)
    for operation in program.operations:
        if isinstance(operation, Call):
            building.call(operation)
        elif isinstance(operation, Build):
            building.state(operation)
        elif isinstance(operation, Fill):
            building.fill(operation)
        elif isinstance(operation, Persistent):
            building.persist(operation.value)
    return building.value(program.result), building.opaque


class _Building:
    def __init__(self, source: Bytes, makers: Makers, persistent: Callable[[object], object] | None) -> None:
        self._source = source
        self._makers = makers
        self._persistent = persistent
        # Values are told apart by identity, which holds as long as the program that has them.
        self._made: dict[int, object] = {}
        self.opaque: list[Opaque] = []

    # --- values ----------------------------------------------------------------------------------

    def value(self, value: Value, depth: int = 0) -> object:
        """What a value of the program is at this moment."""
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        if isinstance(value, tuple):
            if depth > MAX_DEPTH:
                raise EvidenceError(f"tuples lie deeper in tuples than {MAX_DEPTH}")
            return tuple([self.value(one, depth + 1) for one in value])
        if isinstance(value, Result):
            return self._known(value.call)
        if isinstance(value, (PersistentObject, ListOf, DictOf, SetOf, ByteArray)):
            return self._container(value)
        if isinstance(value, Global):
            name = (value.module, value.name)
            known = self._makers.values.get(name, self)
            return Named(*name) if known is self else known
        if isinstance(value, Text):
            return self._text(value)
        if isinstance(value, Octets):
            return self._octets(value)
        raise EvidenceError("the pickle holds something that its file does not have")

    def _known(self, node: object) -> object:
        found = self._made.get(id(node), self)
        if found is self:
            raise EvidenceError("the pickle uses something before it was made")
        return found

    def _container(self, node: PersistentObject | ListOf | DictOf | SetOf | ByteArray) -> object:
        if id(node) in self._made:
            return self._made[id(node)]
        made: object
        if isinstance(node, ListOf):
            made = []
        elif isinstance(node, DictOf):
            made = {}
        elif isinstance(node, ByteArray):
            made = bytearray(self._source.read(node.at, node.length))
        elif isinstance(node, SetOf):
            made = frozenset(map(self._key, node.items)) if node.frozen else set()
        else:
            return self._known(node)
        self._made[id(node)] = made
        return made

    def _key(self, value: Value, depth: int = 0) -> object:
        """What can be a key or an element: what is hashed without running anything, to a bounded depth."""
        if isinstance(value, tuple):
            if depth > MAX_DEPTH:
                raise EvidenceError(f"keys lie deeper in tuples than {MAX_DEPTH}")
            return tuple([self._key(one, depth + 1) for one in value])
        made = self.value(value)
        try:
            hash(made)
        except TypeError as error:
            raise EvidenceError(f"a key of the pickle cannot be one: {str(error)[:100]}") from error
        return made

    def _text(self, value: Text) -> str:
        data = self._source.read(value.at, value.length)
        encoding = {"8-bit": "ascii", "string-escape": "unicode-escape"}.get(value.encoding, value.encoding)
        try:
            return data.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")
        except ValueError as error:
            raise EvidenceError(f"a str is not {value.encoding}") from error

    def _octets(self, value: Octets) -> object:
        if (value.integer or value.decimal) and value.length > MAX_DIGITS:
            raise EvidenceError(f"an integer has {value.length:,} bytes")
        data = self._source.read(value.at, value.length)
        if value.integer:
            return int.from_bytes(data, "little", signed=True)
        if not value.decimal:
            return data
        try:
            return int(data.strip().removesuffix(b"L") or b"0", 10)
        except ValueError as error:
            raise EvidenceError("an integer is no number, or longer than Python takes") from error

    # --- operations ------------------------------------------------------------------------------

    def persist(self, value: PersistentObject) -> None:
        """An object that the container of the pickle holds."""
        if self._persistent is None:
            raise EvidenceError("the pickle asks for objects that its container would have to hold")
        self._made[id(value)] = self._persistent(self.value(value.identifier))

    def call(self, call: Call) -> None:
        """Something would be called."""
        arguments = self.value(call.arguments)
        keywords = self.value(call.keywords)
        given = tuple(arguments) if isinstance(arguments, (tuple, list)) else (arguments,)
        words = {str(name): one for name, one in keywords.items()} if isinstance(keywords, dict) else {}
        self._made[id(call)] = self._called(call.callable, given, words)

    def _called(self, what: Value, given: Sequence[object], words: Mapping[str, object]) -> object:
        if not isinstance(what, Global):
            raise EvidenceError("the pickle calls something that it has made itself")
        maker = self._makers.calls.get((what.module, what.name))
        if maker is not None and not words:
            try:
                return self._noted(maker(given))
            except UnfitError:
                pass  # told as opaque, with the arguments that were not taken
        return self._noted(Opaque(what.module, what.name, tuple(given), dict(words)))

    def _noted(self, made: object) -> object:
        if isinstance(made, Opaque):
            self.opaque.append(made)
        return made

    def state(self, operation: Build) -> None:
        """A state would be set."""
        target, state = self.value(operation.target), self.value(operation.state)
        if not isinstance(operation.target, (Result, PersistentObject)):
            raise EvidenceError("the pickle changes something that it has not made")
        node: object = operation.target.call if isinstance(operation.target, Result) else operation.target
        if isinstance(target, Opaque):
            finisher = self._makers.states.get((target.module, target.name))
            try:
                if finisher is None:
                    raise UnfitError
                self._made[id(node)] = finisher(target, state)
                self.opaque = [one for one in self.opaque if one is not target]
            except UnfitError:
                target.state = state
            return
        change = self._makers.changes.get(type(target))
        if change is None:
            raise EvidenceError(f"the pickle sets a state of a {type(target).__name__}")
        try:
            self._made[id(node)] = change(target, state)
        except UnfitError as error:
            raise EvidenceError(
                f"the pickle sets an impossible state of a {type(target).__name__}"
            ) from error

    def fill(self, operation: Fill) -> None:
        """Items are put into something."""
        target = self.value(operation.target)
        if operation.more:
            raise EvidenceError("the pickle was followed without its values")
        paired = operation.form.value.startswith("SETITEM")
        if isinstance(target, Opaque):
            values = [self.value(one) for one in operation.items]
            target.items += zip(values[::2], values[1::2], strict=True) if paired else values
        elif paired and isinstance(target, dict):
            for key, value in _pairs(operation.items):
                target[self._key(key)] = self.value(value)
        elif not paired and isinstance(target, (list, deque)):
            target.extend([self.value(one) for one in operation.items])
        elif not paired and isinstance(target, set):
            target.update([self._key(one) for one in operation.items])
        else:
            raise EvidenceError(f"the pickle puts items into a {type(target).__name__}")


def _pairs(items: Sequence[Value]) -> Iterator[tuple[Value, Value]]:
    return zip(items[::2], items[1::2], strict=True)
