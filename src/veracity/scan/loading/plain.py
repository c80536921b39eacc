"""Makers of the standard library's data: containers, times, numbers, paths, names.

Each checks what it is given before anything is made of it, and calls nothing that the file brought. States as
the classes' own ``__reduce_ex__`` writes them (CPython 3.8 to 3.14).
"""

from __future__ import annotations

import argparse
import datetime
import decimal
import fractions
import pathlib
import types
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence

from .build import Makers, UnfitError
from .opaque import Named, Opaque

MAX_TEXT = 4096
_FACTORIES: dict[str, Callable[[], object]] = {
    "list": list,
    "dict": dict,
    "set": set,
    "int": int,
    "float": float,
    "str": str,
    "tuple": tuple,
    "bool": bool,
}
_BUILTINS = ("builtins", "__builtin__")


def makers() -> Makers:
    """The table."""
    table = Makers()
    table.calls.update(_collections())
    table.calls.update(_numbers())
    table.calls.update(_times())
    table.calls.update({("pathlib", name): _path for name in _PATHS})
    table.calls["pathlib._local", "PosixPath"] = _path
    table.calls["_codecs", "encode"] = _encoded
    for module in ("copyreg", "copy_reg"):
        table.calls[module, "_reconstructor"] = _reconstructed
    for module in _BUILTINS:
        table.calls.update({(module, name): make for name, make in _PLAIN.items()})
    table.states["uuid", "UUID"] = _uuid
    table.states["argparse", "Namespace"] = _namespace
    table.states["types", "SimpleNamespace"] = _simple_namespace
    table.changes[OrderedDict] = _attributes
    return table


def _only(given: Sequence[object], *kinds: type | tuple[type, ...]) -> None:
    """Raise UnfitError unless there are as many arguments as kinds, each of its own; a bool is no int."""
    if len(given) != len(kinds):
        raise UnfitError
    for one, kind in zip(given, kinds, strict=True):
        if not isinstance(one, kind) or (isinstance(one, bool) and kind is int):
            raise UnfitError


# --- containers ----------------------------------------------------------------------------------------


def _collections() -> dict[tuple[str, str], Callable[[Sequence[object]], object]]:
    return {
        ("collections", "OrderedDict"): _ordered,
        ("collections", "defaultdict"): _defaultdict,
        ("collections", "Counter"): _counter,
        ("collections", "deque"): _deque,
    }


def _ordered(given: Sequence[object]) -> object:
    if not given:
        return OrderedDict()
    _only(given, (list, dict))
    return OrderedDict(_pairs(given[0]))


def _pairs(value: object) -> list[tuple[object, object]]:
    """Pairs of a dict, or of a list of two-element lists and tuples, as protocol 0 and 1 write them."""
    if isinstance(value, dict):
        return list(value.items())
    pairs: list[tuple[object, object]] = []
    for one in value if isinstance(value, list) else [None]:
        if not isinstance(one, (list, tuple)) or len(one) != 2 or not _is_scalar(one[0]):
            raise UnfitError
        pairs.append((one[0], one[1]))
    return pairs


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (str, bytes, int, float))


def _defaultdict(given: Sequence[object]) -> object:
    if not given or len(given) > 2:
        raise UnfitError
    made: defaultdict[object, object] = defaultdict(_factory(given[0]))
    if len(given) == 2:
        _only(given[1:], dict)
        made.update(_pairs(given[1]))
    return made


def _factory(value: object) -> Callable[[], object] | None:
    if value is None:
        return None
    if isinstance(value, Named) and value.module in _BUILTINS and value.name in _FACTORIES:
        return _FACTORIES[value.name]
    raise UnfitError


def _counter(given: Sequence[object]) -> object:
    if not given:
        return Counter()
    _only(given, dict)
    made: Counter[object] = Counter()
    for key, count in _pairs(given[0]):
        made[key] = count if isinstance(count, int) else 0
    return made


def _deque(given: Sequence[object]) -> object:
    if not given:
        return deque()
    if len(given) > 2 or not isinstance(given[0], (list, tuple)):
        raise UnfitError
    most = given[1] if len(given) == 2 else None
    if most is not None and (not isinstance(most, int) or most < 0):
        raise UnfitError
    return deque(given[0], most)


def _attributes(target: object, state: object) -> object:
    """What torch hangs on a state dict: ``_metadata``. Names that Python itself uses are refused."""
    if not isinstance(target, OrderedDict) or not isinstance(state, dict):
        raise UnfitError
    for name, value in state.items():
        if not isinstance(name, str) or name.startswith("__") or hasattr(OrderedDict, name):
            raise UnfitError
        vars(target)[name] = value
    return target


def _hashable(given: Sequence[object]) -> list[object]:
    _only(given, (list, tuple))
    items = given[0]
    if not isinstance(items, (list, tuple)) or not all(_is_scalar(one) for one in items):
        raise UnfitError
    return list(items)


def _set(given: Sequence[object]) -> object:
    return set(_hashable(given)) if given else set()


def _frozenset(given: Sequence[object]) -> object:
    return frozenset(_hashable(given)) if given else frozenset()


def _reconstructed(given: Sequence[object]) -> object:
    """``copyreg._reconstructor(class, object, None)``: how protocols 0 and 1 begin an object of a class."""
    if len(given) != 3 or not isinstance(given[0], Named) or given[2] is not None:
        raise UnfitError
    base = given[1]
    if not isinstance(base, Named) or base.module not in _BUILTINS or base.name != "object":
        raise UnfitError
    return Opaque(given[0].module, given[0].name)


def _bytearray(given: Sequence[object]) -> object:
    if not given:
        return bytearray()
    if len(given) == 2:
        _only(given, str, str)
        return bytearray(_latin(given))
    _only(given, (bytes, bytearray))
    return bytearray(_bytes(given[0]))


def _bytes(value: object) -> bytes:
    if not isinstance(value, (bytes, bytearray)):
        raise UnfitError
    return bytes(value)


def _encoded(given: Sequence[object]) -> object:
    """``_codecs.encode(text, 'latin1')``: how protocols 0 to 2 write bytes."""
    _only(given, str, str)
    return _latin(given)


def _latin(given: Sequence[object]) -> bytes:
    text, encoding = given
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnfitError
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise UnfitError from error


def _slice(given: Sequence[object]) -> object:
    if len(given) != 3 or not all(one is None or isinstance(one, int) for one in given):
        raise UnfitError
    return slice(*given)


def _range(given: Sequence[object]) -> object:
    numbers = [one for one in given if isinstance(one, int)]
    if not 1 <= len(given) <= 3 or len(numbers) != len(given) or (len(given) == 3 and not numbers[2]):
        raise UnfitError
    return range(*numbers)


_PLAIN: dict[str, Callable[[Sequence[object]], object]] = {
    "set": _set,
    "frozenset": _frozenset,
    "bytearray": _bytearray,
    "slice": _slice,
    "range": _range,
    "xrange": _range,
    "complex": lambda given: _complex(given),
    "bytes": lambda given: _bytes(given[0]) if given else b"",
}


# --- numbers, times, paths, names ------------------------------------------------------------------------


def _complex(given: Sequence[object]) -> object:
    _only(given, (int, float), (int, float))
    real, imaginary = given
    if not isinstance(real, (int, float)) or not isinstance(imaginary, (int, float)):
        raise UnfitError
    return complex(real, imaginary)


def _numbers() -> dict[tuple[str, str], Callable[[Sequence[object]], object]]:
    return {
        ("decimal", "Decimal"): lambda given: decimal.Decimal(_short(given)),
        ("fractions", "Fraction"): _fraction,
    }


def _short(given: Sequence[object]) -> str:
    _only(given, str)
    text = given[0]
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise UnfitError
    return text


def _fraction(given: Sequence[object]) -> object:
    try:
        if len(given) == 2 and all(isinstance(one, int) for one in given):
            return fractions.Fraction(int(str(given[0])), int(str(given[1])))
        return fractions.Fraction(_short(given))
    except (ValueError, ZeroDivisionError) as error:
        raise UnfitError from error


def _times() -> dict[tuple[str, str], Callable[[Sequence[object]], object]]:
    return {
        ("datetime", "datetime"): lambda given: _from_state(datetime.datetime, 10, given),
        ("datetime", "time"): lambda given: _from_state(datetime.time, 6, given),
        ("datetime", "date"): lambda given: _from_state(datetime.date, 4, given),
        ("datetime", "timedelta"): _timedelta,
        ("datetime", "timezone"): _timezone,
    }


def _from_state(kind: Callable[..., object], length: int, given: Sequence[object]) -> object:
    """A time from the bytes that its own ``__reduce__`` writes, and perhaps its zone."""
    if not given or len(given) > 2 or not isinstance(given[0], bytes) or len(given[0]) != length:
        raise UnfitError
    if len(given) == 2 and not isinstance(given[1], datetime.timezone):
        raise UnfitError
    try:
        return kind(*given)
    except (ValueError, TypeError) as error:
        raise UnfitError from error


def _timedelta(given: Sequence[object]) -> object:
    _only(given, int, int, int)
    try:
        days, seconds, micros = (int(str(one)) for one in given)
        return datetime.timedelta(days, seconds, micros)
    except (OverflowError, ValueError) as error:
        raise UnfitError from error


def _timezone(given: Sequence[object]) -> object:
    if not given or not isinstance(given[0], datetime.timedelta):
        raise UnfitError
    try:
        return datetime.timezone(given[0], _short(given[1:])) if given[1:] else datetime.timezone(given[0])
    except ValueError as error:
        raise UnfitError from error


_PATHS = ("PosixPath", "Path", "PurePosixPath", "PurePath", "WindowsPath", "PureWindowsPath")


def _path(given: Sequence[object]) -> object:
    """A path without a file system behind it, so that nobody opens by it what a file has named."""
    if not all(isinstance(one, str) and len(one) <= MAX_TEXT for one in given):
        raise UnfitError
    return pathlib.PurePosixPath(*[str(one) for one in given])


def _named(state: object) -> Mapping[str, object]:
    if not isinstance(state, dict):
        raise UnfitError
    if not all(isinstance(name, str) and not name.startswith("__") for name in state):
        raise UnfitError
    return state


def _uuid(target: Opaque, state: object) -> object:
    value = _named(state).get("int")
    if target.arguments or not isinstance(value, int) or not 0 <= value < 1 << 128:
        raise UnfitError
    return uuid.UUID(int=value)


def _namespace(target: Opaque, state: object) -> object:
    if target.arguments:
        raise UnfitError
    made = argparse.Namespace()
    vars(made).update(_named(state))
    return made


def _simple_namespace(target: Opaque, state: object) -> object:
    if target.arguments:
        raise UnfitError
    made = types.SimpleNamespace()
    vars(made).update(_named(state))
    return made
