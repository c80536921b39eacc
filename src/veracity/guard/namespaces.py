"""What the names of modules and classes hold, compared without a loop in Python."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FunctionType

from .declare import class_name, qualified
from .trained import function_of

_code_of = operator.attrgetter("__code__")


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a namespace and what it holds: a function (or what wraps one), or one that is built in.

    ``space`` is the ``vars`` of a module or of the class ``kind``, of which each call makes a new view;
    ``name`` is the qualified one. ``function`` is None for what is built in.
    """

    space: Mapping[str, object]
    key: str
    value: object
    function: FunctionType | None
    name: str
    kind: type | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One namespace as it was at a look."""

    places: tuple[Place, ...]
    values_of: Callable[[Mapping[str, object]], tuple[object, ...]]
    values: tuple[object, ...]
    functions: tuple[FunctionType, ...]
    codes: tuple[CodeType, ...]
    size: int

    def changed(self) -> bool:
        """Whether a name holds another value than it did, its function other code, or a class more names."""
        space = self.places[0].space
        try:
            now = self.values_of(space)
        except KeyError:
            return True
        return not (
            all(map(operator.is_, now, self.values))
            and all(map(operator.is_, map(_code_of, self.functions), self.codes))
            and (not self.size or self.size == len(space))
        )

    def given_way(self) -> Iterator[tuple[str, object, object]]:
        """Names whose value is another one since, where comparing code does not say so: ``(name, was, is)``.

        That is where either is no function, and where a class has a name that was its base's.
        """
        space, kind = self.places[0].space, self.places[0].kind
        for place in self.places:
            now = space.get(place.key)
            if now is not None and now is not place.value and None in (place.function, function_of(now)):
                yield place.name, place.value, now
        if kind is None or len(space) == self.size:
            return
        known = {place.key for place in self.places}
        for key, now in list(space.items()):
            if key not in known and callable(now):
                was = next((vars(base)[key] for base in kind.__mro__[1:] if key in vars(base)), None)
                if callable(was):
                    yield f"{_prefix(self.places[0])}.{key}", was, now


def seen(places: Iterable[Place]) -> list[Seen]:
    """What these places hold now, by namespace."""
    spaces: dict[int, list[Place]] = {}
    for place in places:
        spaces.setdefault(id(place.space), []).append(place)
    return [_of_one_space(tuple(places)) for places in spaces.values()]


def functions_of_module(name: str) -> Iterator[Place]:
    """Where the functions of a module lie: in itself, and in the classes it defines."""
    module = sys.modules.get(name)
    if module is None:
        return
    space = vars(module)
    for key, value in list(space.items()):
        # By type, never by isinstance: a deprecated name's proxy would warn when asked for its class.
        if type(value) is FunctionType:
            yield Place(space, key, value, value, f"{name}.{key}")
        elif issubclass(type(value), type) and value.__module__ == name:
            yield from functions_of_class(value, f"{name}.{key}")


def functions_of_class(kind: type, name: str = "") -> Iterator[Place]:
    """The functions that a class defines, under its qualified name or the one that is given."""
    space, prefix = vars(kind), name or qualified(kind)
    for key, member in list(space.items()):
        function = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
        if isinstance(function, FunctionType):
            yield Place(space, key, member, function, f"{prefix}.{key}", kind)


def built_in(name: str) -> Iterator[Place]:
    """The functions of a module that are built in and have no code in a file."""
    module = sys.modules.get(name)
    space = vars(module) if module is not None else {}
    for key, value in list(space.items()):
        if type(value) is BuiltinFunctionType:
            yield Place(space, key, value, None, f"{name}.{key}")


def kind_of(value: object) -> str:
    """In the place of a path, what a value is that has no code."""
    if type(value) is BuiltinFunctionType:
        return f"<built-in {value.__name__}>"
    return f"<{class_name(value)}>"


def _prefix(place: Place) -> str:
    return place.name[: -len(place.key) - 1]


def _of_one_space(places: tuple[Place, ...]) -> Seen:
    keys = [place.key for place in places]
    functions = tuple(place.function for place in places if place.function is not None)
    return Seen(
        places=places,
        # itemgetter of one key returns the bare value, so that one is asked for twice.
        values_of=operator.itemgetter(*keys, keys[0]),
        values=tuple(place.value for place in (*places, places[0])),
        functions=functions,
        codes=tuple(map(_code_of, functions)),
        size=len(places[0].space) if places[0].kind is not None else 0,
    )
