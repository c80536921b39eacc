"""Shapes of values in a pickle: a small language in which a policy says how a global may be used.

A shape is alternatives, ``int|none``, of

========================  ==================================================================================
``none bool int float``   scalars; ``int`` takes a bool, too, ``number`` an int, a float, or a scalar of numpy
``str bytes``             also long ones, and what is made of bytes (``bytes`` of protocols 0 to 2 are calls)
``list dict set tuple``   containers of the stream's own, whatever they hold
``ints shape``            a tuple of not too many ints; of not too many elements, if it is an array's shape
``true false member``     True or 1; False or 0; a name that begins with a letter
``attribute``             a path of attributes that are data: none of Python's own, none that runs something
``octets``                bytes that stand in the stream, as they are or as a text that a call encodes
``(a, b, c?, d*)``        a tuple; ``?`` need not be there, ``*`` comes up to 256 times, both at its end
``='text'``               exactly this str
``@module:name``          exactly this global
``<group>``               the result of a call of one of the globals of a group that the policy names
``type class enum``       a global that the policy permits as a type at least; as a class; as an enumeration
``function``              a global that the policy permits as a function that is stored, or as a type
``storage hooks``         a persistent object or a group's result; None or an OrderedDict that stays empty
``any``                   anything
========================  ==================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

from .pickleprogram import (
    Buffer,
    ByteArray,
    DictOf,
    Global,
    ListOf,
    Octets,
    PersistentObject,
    Result,
    SetOf,
    Text,
    Value,
)

Matcher: TypeAlias = Callable[[Value], bool]
MAX_DIMENSIONS = 64
MAX_ELEMENTS = 1 << 40
"""An array of more is in no file, and a call that makes one takes all memory there is."""
MAX_ARGUMENTS = 256
_MEMBER = re.compile(r"[^\W\d_]\w{0,199}\Z")
_ATTRIBUTE = re.compile(r"(?!__)\w{1,200}(\.(?!__)\w{1,200}){0,20}\Z")
# What functions that run programs or text as code are called, and the table that leads to all modules.
_RUNS = re.compile(
    r"system|popen\w*|exec([lv]p?e?|file|_module)?|eval|spawn\w*|posix_spawnp?|fork(pty)?|check_(call|output)"
    r"|get(status)?output|import_module|load_module|run_(path|module|code)|runcode|runsource|modules"
    r"|builtins",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"\s*(?:(?P<mark>[(),|?*])|=(?P<text>'[^']*')|@(?P<at>[\w.]+:[\w.]+)|<(?P<group>\w+)>|(?P<word>\w+))"
)


class Roles(Protocol):
    """What a policy knows of globals."""

    def role(self, value: Global) -> str:
        """``class``, ``enum``, ``type``, ``function``, ``call``, or empty when it is not permitted."""
        ...

    def in_group(self, value: Value, group: str) -> bool:
        """Whether a value is the result of a call of one of a group's globals."""
        ...

    def stays_empty(self, value: Value) -> bool:
        """Whether a value is an OrderedDict that nothing is put into."""
        ...


def matcher_of(shape: str, roles: Roles) -> Matcher:
    """A predicate for a shape. Raises ValueError when it is none."""
    tokens = list(_tokens(shape))
    match, rest = _alternatives(tokens, 0, roles)
    if rest != len(tokens):
        raise ValueError(f"not a shape of a value: {shape!r}")
    return match


def _tokens(shape: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(shape):
        match = _TOKEN.match(shape, at)
        if match is None or match.lastgroup is None:
            raise ValueError(f"not a shape of a value: {shape!r}")
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


def _alternatives(tokens: list[tuple[str, str]], at: int, roles: Roles) -> tuple[Matcher, int]:
    found: list[Matcher] = []
    while True:
        match, at = _one(tokens, at, roles)
        found.append(match)
        if at >= len(tokens) or tokens[at] != ("mark", "|"):
            break
        at += 1
    if len(found) == 1:
        return found[0], at

    def match_any(value: Value) -> bool:
        for one in found:  # noqa: SIM110 - a generator for each value takes longer than the matching
            if one(value):
                return True
        return False

    return match_any, at


def _one(tokens: list[tuple[str, str]], at: int, roles: Roles) -> tuple[Matcher, int]:
    if at >= len(tokens):
        raise ValueError("a shape of a value ends early")
    kind, text = tokens[at]
    if (kind, text) == ("mark", "("):
        return _tuple(tokens, at + 1, roles)
    if kind == "text":
        literal = text[1:-1]
        return (lambda value: type(value) is str and value == literal), at + 1
    if kind == "at":
        module, _, name = text.partition(":")
        return (lambda value: type(value) is Global and (value.module, value.name) == (module, name)), at + 1
    if kind == "group":
        return (lambda value: roles.in_group(value, text)), at + 1
    if kind == "word" and text in _WORDS:
        return _WORDS[text], at + 1
    if kind == "word" and text in _ROLES:
        accepted = _ROLES[text]
        return (lambda value: type(value) is Global and roles.role(value) in accepted), at + 1
    if (kind, text) == ("word", "storage"):
        return (lambda value: type(value) is PersistentObject or roles.in_group(value, "storage")), at + 1
    if (kind, text) == ("word", "hooks"):
        return (lambda value: value is None or roles.stays_empty(value)), at + 1
    if (kind, text) == ("word", "number"):
        return (lambda value: type(value) in (int, float, bool) or roles.in_group(value, "scalar")), at + 1
    if (kind, text) == ("word", "bytes"):
        return (lambda value: _is_bytes(value) or roles.in_group(value, "bytes")), at + 1
    raise ValueError(f"a shape of a value does not know {text!r}")


def _tuple(tokens: list[tuple[str, str]], at: int, roles: Roles) -> tuple[Matcher, int]:
    parts: list[Matcher] = []
    needed, rest = 0, None
    while at < len(tokens) and tokens[at] != ("mark", ")"):
        match, at = _alternatives(tokens, at, roles)
        mark = tokens[at] if at < len(tokens) else ("", "")
        if mark == ("mark", "*"):
            rest, at = match, at + 1
        elif mark == ("mark", "?"):
            parts.append(match)
            at += 1
        else:
            parts.append(match)
            needed = len(parts)
        if at < len(tokens) and tokens[at] == ("mark", ","):
            at += 1
    if at >= len(tokens):
        raise ValueError("a shape of a tuple is not closed")
    return _sequence(parts, needed, rest), at + 1


def _sequence(parts: list[Matcher], needed: int, rest: Matcher | None) -> Matcher:
    most = len(parts)
    longest = most if rest is None else MAX_ARGUMENTS

    def match(value: Value) -> bool:
        if type(value) is not tuple or not needed <= len(value) <= longest:
            return False
        for part, one in zip(parts, value):  # noqa: B905 - what is optional may be missing
            if not part(one):
                return False
        return rest is None or all(map(rest, value[most:]))

    return match


def _is_bytes(value: Value) -> bool:
    return type(value) in (bytes, ByteArray, Buffer) or (type(value) is Octets and not value.integer)


def _is_int(value: Value) -> bool:
    return type(value) is int or type(value) is bool or (type(value) is Octets and value.integer)


def _is_ints(value: Value) -> bool:
    return type(value) is tuple and len(value) <= MAX_DIMENSIONS and set(map(type, value)) <= {int}


def _is_shape(value: Value) -> bool:
    if not _is_ints(value) or type(value) is not tuple:
        return False
    elements = 1
    for one in value:
        elements *= one if type(one) is int else 0
        if elements > MAX_ELEMENTS:
            return False
    return True


def _is_octets(value: Value) -> bool:
    if type(value) is Result:
        callable_, arguments = value.call.callable, value.call.arguments
        encodes = type(callable_) is Global and (callable_.module, callable_.name) == ("_codecs", "encode")
        return (
            encodes and type(arguments) is tuple and len(arguments) == 2 and type(arguments[0]) in (str, Text)
        )
    return type(value) in (bytes, ByteArray) or (type(value) is Octets and not value.integer)


def _is_attribute(value: Value) -> bool:
    if type(value) is not str or not _ATTRIBUTE.match(value):
        return False
    return not any(_RUNS.fullmatch(one) for one in value.split("."))


_WORDS: dict[str, Matcher] = {
    "none": lambda value: value is None,
    "bool": lambda value: type(value) is bool,
    "int": _is_int,
    "float": lambda value: type(value) is float,
    "str": lambda value: type(value) is str or type(value) is Text,
    "list": lambda value: type(value) is ListOf,
    "dict": lambda value: type(value) is DictOf,
    "set": lambda value: type(value) is SetOf,
    "tuple": lambda value: type(value) is tuple,
    "ints": _is_ints,
    "shape": _is_shape,
    "octets": _is_octets,
    "true": lambda value: type(value) in (bool, int) and value == 1,
    "false": lambda value: type(value) in (bool, int) and value == 0,
    "member": lambda value: type(value) is str and _MEMBER.match(value) is not None,
    "attribute": _is_attribute,
    "object": lambda value: type(value) is Result,
    "any": lambda value: True,
}
_ROLES = {
    "class": frozenset({"class"}),
    "enum": frozenset({"enum"}),
    "type": frozenset({"class", "enum", "type"}),
    "function": frozenset({"class", "enum", "type", "function"}),
}
