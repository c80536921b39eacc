"""The canonical digest of a code object: what would execute, whichever file it was read from.

Two code objects have one digest exactly when they behave alike: instructions, constants (with their
types; floats by their bits, sets in any order), names, flags, argument counts, exception table, first line
and line numbers are covered, recursively. The file name is left out, since a ``.pyc`` may have been compiled
at another place; column positions are left out unless asked for: ``-X no_debug_ranges`` drops them.

The same digest comes out of a live function, of an unmarshalled ``.pyc`` and of a fresh compile under the
same Python version, 3.10 or later. Only the standard library is used: this module also runs in the job.
"""

from __future__ import annotations

import hashlib
import struct
from types import CodeType

from .errors import EvidenceError, ResourceLimitError

MAX_DEPTH = 200
MAX_FUNCTIONS = 50_000
_OPTIMIZED = 0x1  # CO_OPTIMIZED: set on functions, not on class and module bodies


def digest(code: CodeType, *, columns: bool = False) -> str:
    """SHA-256 (hexadecimal) of ``code``; with ``columns`` over the raw position table, not only the lines.

    Raises EvidenceError for a constant no compiler produces, ResourceLimitError when nesting passes
    ``MAX_DEPTH``.
    """
    return _code(code, columns, 0).hex()


def functions(code: CodeType) -> dict[str, str]:
    """Qualified name → digest of every code object nested in ``code``, itself excluded.

    A name defined more than once gets ``#2``, ``#3`` … in order of definition. Raises as :func:`digest`.
    """
    return {name: digest(one) for name, one in named(code).items()}


def named(code: CodeType) -> dict[str, CodeType]:
    """The code objects themselves, by the names of :func:`functions`. Raises ResourceLimitError."""
    found: dict[str, CodeType] = {}
    _collect(code, "", found, 0)
    return found


def constant(value: object) -> bytes:
    """An encoding in which constants of different type or bits differ. Raises as :func:`digest`."""
    return _constant(value, False, 0)


def has_columns(code: CodeType) -> bool:
    """Whether ``code``, or a code object nested in it, carries column positions (Python 3.11 and later)."""
    pending = [code]
    seen = 0
    while pending:
        item = pending.pop()
        seen += 1
        if seen > MAX_FUNCTIONS:
            raise ResourceLimitError("code object nests too many code objects")
        positions = getattr(item, "co_positions", None)
        if positions is not None and any(column is not None for _, _, column, _ in positions()):
            return True
        pending += [const for const in item.co_consts if isinstance(const, CodeType)]
    return False


def _collect(code: CodeType, prefix: str, found: dict[str, CodeType], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ResourceLimitError("code object is nested too deeply")
    for const in code.co_consts:
        if not isinstance(const, CodeType):
            continue
        name = getattr(const, "co_qualname", None) or prefix + const.co_name
        base, count = name, 1
        while name in found:
            count += 1
            name = f"{base}#{count}"
        if len(found) >= MAX_FUNCTIONS:
            raise ResourceLimitError("file defines too many functions")
        found[name] = const
        inner = f"{base}.<locals>." if const.co_flags & _OPTIMIZED else f"{base}."
        _collect(const, inner, found, depth + 1)


def _code(code: CodeType, columns: bool, depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise ResourceLimitError("code object is nested too deeply")
    numbers = (
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_nlocals,
        code.co_stacksize,
        code.co_flags,
        code.co_firstlineno,
    )
    parts = [
        struct.pack("<7q", *numbers),
        code.co_name.encode("utf-8", "surrogatepass"),
        str(getattr(code, "co_qualname", "")).encode("utf-8", "surrogatepass"),
        code.co_code,
        _sequence([_constant(const, columns, depth + 1) for const in code.co_consts]),
        *(_names(names) for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)),
        bytes(getattr(code, "co_exceptiontable", b"")),
        code.co_linetable if columns else _lines(code),
    ]
    return hashlib.sha256(b"code" + _sequence(parts)).digest()


def _lines(code: CodeType) -> bytes:
    """Line numbers by instruction range, neighbours of one line merged."""
    merged: list[tuple[int, int, int]] = []
    for start, end, line in code.co_lines():
        number = -1 if line is None else line
        if merged and merged[-1][1] == start and merged[-1][2] == number:
            merged[-1] = (merged[-1][0], end, number)
        else:
            merged.append((start, end, number))
    return b"".join(struct.pack("<3q", *entry) for entry in merged)


def _names(names: tuple[str, ...]) -> bytes:
    return _sequence([name.encode("utf-8", "surrogatepass") for name in names])


def _sequence(parts: list[bytes]) -> bytes:
    """An encoding of a list of byte strings that no other list shares."""
    return struct.pack("<q", len(parts)) + b"".join(struct.pack("<q", len(part)) + part for part in parts)


def _constant(value: object, columns: bool, depth: int) -> bytes:
    """A tagged encoding in which constants of different type or bits differ."""
    if depth > MAX_DEPTH:
        raise ResourceLimitError("constant is nested too deeply")
    kind = type(value)
    if isinstance(value, CodeType):
        return b"C" + _code(value, columns, depth)
    if value is None or value is Ellipsis or kind is bool:
        return b"N" + repr(value).encode("ascii")
    if kind is int and isinstance(value, int):
        # Not decimal: its conversion is limited to 4,300 digits.
        return b"I" + (b"-" if value < 0 else b"+") + hex(value).encode("ascii")
    if kind is float and isinstance(value, float):
        return b"F" + struct.pack("<d", value)
    if kind is complex and isinstance(value, complex):
        return b"X" + struct.pack("<2d", value.real, value.imag)
    if kind is str and isinstance(value, str):
        return b"S" + value.encode("utf-8", "surrogatepass")
    if kind is bytes and isinstance(value, bytes):
        return b"B" + value
    if kind is tuple and isinstance(value, tuple):
        return b"T" + _sequence([_constant(item, columns, depth + 1) for item in value])
    if kind is frozenset and isinstance(value, frozenset):
        return b"Z" + _sequence(sorted(_constant(item, columns, depth + 1) for item in value))
    if kind is slice and isinstance(value, slice):  # a constant since Python 3.14
        ends = (value.start, value.stop, value.step)
        return b"L" + _sequence([_constant(item, columns, depth + 1) for item in ends])
    raise EvidenceError(f"code object holds a constant of type {kind.__name__}")
