"""Opcodes that push scalars, and those whose argument is text."""

from __future__ import annotations

import struct
from collections.abc import Callable

from ...core import picklearguments as text
from ...core import pickleopcodes as op
from ...core.pickleprogram import MAX_SHORT, ByteArray, Octets, Text, Value
from .state import Simple, State, failed, truncated

MAX_LINE = 1 << 16
_int4 = struct.Struct("<i").unpack_from
_int2 = struct.Struct("<H").unpack_from
_index4 = struct.Struct("<I").unpack_from
_double = struct.Struct(">d").unpack_from


def long_text(state: State, at: int, length: int, encoding: str) -> Value:
    """A str that is left where it is."""
    return Text(state.base + at, length, encoding)


def _utf8(width: int) -> Simple:
    def handle(state: State, at: int, stack: list[Value]) -> int:
        at, length = state.counted(at, width)
        if length > MAX_SHORT:
            stack.append(long_text(state, at, length, "utf-8"))
        else:
            stack.append(decoded(state.data[at : at + length]))
        return at + length

    return handle


def _binunicode(state: State, at: int, stack: list[Value]) -> int:
    start = at + 4
    end = start + _index4(state.data, at)[0]
    if end - start > MAX_SHORT or end > len(state.data):
        return _long_binunicode(state, at, stack)
    stack.append(decoded(state.data[start:end]))
    return int(end)


def decoded(raw: bytes) -> str:
    """A str from UTF-8, surrogates passed through."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise failed("a str is not UTF-8") from error


def _octets(width: int) -> Simple:
    def handle(state: State, at: int, stack: list[Value]) -> int:
        at, length = state.counted(at, width)
        stack.append(state.data[at : at + length] if length <= MAX_SHORT else Octets(state.base + at, length))
        return at + length

    return handle


def _eight_bit(width: int) -> Simple:
    def handle(state: State, at: int, stack: list[Value]) -> int:
        at, length = state.counted(at, width)
        if length > MAX_SHORT:
            stack.append(long_text(state, at, length, "8-bit"))
        else:
            stack.append(_from_ascii(state, at, state.data[at : at + length]))
        return at + length

    return handle


def _from_ascii(state: State, at: int, raw: bytes) -> str:
    if not raw.isascii():
        state.doubt(at, "error", "a str of Python 2 is not ASCII: the caller's encoding decides what it is")
    return raw.decode("latin-1")


def _bytearray(state: State, at: int, stack: list[Value]) -> int:
    at, length = state.counted(at, 8)
    stack.append(ByteArray(state.base + at, length))
    state.nodes += 1
    return at + length


def _counted_long(width: int) -> Simple:
    def handle(state: State, at: int, stack: list[Value]) -> int:
        if width == 4 and state.data[at + 3 : at + 4] > b"\x7f":
            raise failed("LONG4 has a negative length")
        at, length = state.counted(at, width)
        if length > MAX_SHORT:
            stack.append(Octets(state.base + at, length, integer=True))
        else:
            stack.append(int.from_bytes(state.data[at : at + length], "little", signed=True))
        return at + length

    return handle


def _number(read: Callable[[bytes], int | float]) -> Simple:
    def handle(state: State, at: int, stack: list[Value]) -> int:
        line, after = state.line(at, MAX_SHORT)
        if line is None:
            stack.append(Octets(state.base + at, after - 1 - at, integer=True, decimal=True))
        else:
            stack.append(_read(read, line))
        return after

    return handle


def _read(read: Callable[[bytes], int | float], line: bytes) -> int | float:
    try:
        return read(line)
    except (ValueError, OverflowError) as error:
        raise failed("a number written as text is none") from error


def _string(state: State, at: int, stack: list[Value]) -> int:
    line, after = state.line(at, MAX_SHORT)
    if line is None:
        stack.append(long_text(state, at, after - 1 - at, "string-escape"))
        return after
    try:
        stack.append(_from_ascii(state, at, text.quoted(line)))
    except ValueError as error:
        raise failed(str(error)) from error
    return after


def _unicode(state: State, at: int, stack: list[Value]) -> int:
    line, after = state.line(at, MAX_SHORT)
    if line is None:
        stack.append(long_text(state, at, after - 1 - at, "raw-unicode-escape"))
        return after
    try:
        stack.append(line.decode("raw_unicode_escape"))
    except UnicodeDecodeError as error:
        raise failed("the argument of UNICODE has an escape that is none") from error
    return after


def _index(state: State, at: int) -> tuple[int, int]:
    line, after = state.line(at, MAX_LINE)
    if line is None:
        raise failed("an index of the memo has too many digits")
    return int(_read(text.index, line)), after


def _get(state: State, at: int, stack: list[Value]) -> int:
    index, after = _index(state, at)
    stack.append(state.memo[index])
    return after


def _put(state: State, at: int, stack: list[Value]) -> int:
    index, after = _index(state, at)
    if index < 0:
        raise failed("an index of the memo is negative")
    state.memo[index] = stack[-1]
    return after


def _binint(state: State, at: int, stack: list[Value]) -> int:
    stack.append(_int4(state.data, at)[0])
    return at + 4


def _binint2(state: State, at: int, stack: list[Value]) -> int:
    stack.append(_int2(state.data, at)[0])
    return at + 2


def _binfloat(state: State, at: int, stack: list[Value]) -> int:
    stack.append(_double(state.data, at)[0])
    return at + 8


def _long_binget(state: State, at: int, stack: list[Value]) -> int:
    stack.append(state.memo[_index4(state.data, at)[0]])
    return at + 4


def _long_binput(state: State, at: int, stack: list[Value]) -> int:
    state.memo[_index4(state.data, at)[0]] = stack[-1]
    return at + 4


def _dup(state: State, at: int, stack: list[Value]) -> int:
    stack.append(stack[-1])
    return at


def _proto(state: State, at: int, stack: list[Value]) -> int:
    raw = state.data[at : at + 1]
    if not raw:
        raise truncated()
    if raw[0] > op.HIGHEST_PROTOCOL:
        raise failed(f"there is no protocol {raw[0]}")
    state.protocol = raw[0]
    state.announced = max(state.announced, raw[0])
    return at + 1


_long_binunicode = _utf8(4)

SIMPLE: dict[int, Simple] = {
    op.SHORT_BINUNICODE: _utf8(1), op.BINUNICODE: _binunicode, op.BINUNICODE8: _utf8(8), op.UNICODE: _unicode,
    op.SHORT_BINBYTES: _octets(1), op.BINBYTES: _octets(4), op.BINBYTES8: _octets(8),
    op.BYTEARRAY8: _bytearray,
    op.SHORT_BINSTRING: _eight_bit(1), op.BINSTRING: _eight_bit(4), op.STRING: _string,
    op.LONG1: _counted_long(1), op.LONG4: _counted_long(4), op.BININT: _binint, op.BININT2: _binint2,
    op.INT: _number(text.integer), op.LONG: _number(text.long_integer), op.FLOAT: _number(text.real),
    op.BINFLOAT: _binfloat, op.GET: _get, op.PUT: _put, op.LONG_BINGET: _long_binget,
    op.LONG_BINPUT: _long_binput, op.DUP: _dup, op.PROTO: _proto,
}  # fmt: skip
