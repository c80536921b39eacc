"""Opcodes with effects outside of the stack: imports, calls, state, persistent objects, buffers."""

from __future__ import annotations

import _compat_pickle

from ...core import pickleopcodes as op
from ...core.pickleprogram import (
    Buffer,
    Build,
    ByteArray,
    Call,
    DictOf,
    Form,
    Global,
    Import,
    ListOf,
    Octets,
    Persistent,
    PersistentObject,
    Result,
    SetOf,
    TakeBuffer,
    Text,
    Unknown,
    Value,
)  # fmt: skip
from .containers import SCALARS
from .joblib import after_array, is_dtype, is_wrapper
from .scalars import MAX_LINE, decoded, long_text
from .state import Marked, Simple, State, failed, truncated

_MAX_NAME = 1 << 20
_MAX_TEXT_NAME = 1 << 13
_NOT_CALLABLE = SCALARS | {ByteArray, ListOf, DictOf, SetOf, Buffer}
_REDUCE = Form.REDUCE
_NOT_UNPACKED = frozenset({type(None), bool, int, float})


def _call(
    state: State, at: int, form: Form, callable_: Value, arguments: Value, keywords: Value = None
) -> Result:
    if type(callable_) in _NOT_CALLABLE:
        raise failed(f"{form.value} of something that cannot be called")
    if type(arguments) is not tuple and _is_scripted(callable_):
        arguments = (arguments,)
    elif type(arguments) is not tuple:
        if type(arguments) in _NOT_UNPACKED:
            raise failed(f"{form.value} with arguments that are no tuple")
        state.doubt(at - 1, "error", "the arguments of a call are no tuple, which the C unpickler refuses")
    call = Call(state.base + at - 1, form, callable_, arguments, keywords)
    state.operations.append(call)
    return Result(call)


def _is_scripted(callable_: Value) -> bool:
    """Whether it is a class of TorchScript: its own unpickler takes an enumeration's value as it stands.

    Python's fails before, at the import, since there is no such module.
    """
    return type(callable_) is Global and callable_.module.partition(".")[0] == "__torch__"


def _reduce(state: State, at: int, stack: list[Value]) -> int:
    arguments, callable_ = stack.pop(), stack.pop()
    if type(callable_) is Global and type(arguments) is tuple:  # the usual case, in its own lines for speed
        call = Call(state.base + at - 1, _REDUCE, callable_, arguments)
        state.operations.append(call)
        stack.append(Result(call))
    else:
        stack.append(_call(state, at, _REDUCE, callable_, arguments))
    return at


def _newobj(state: State, at: int, stack: list[Value]) -> int:
    arguments, callable_ = stack.pop(), stack.pop()
    stack.append(_call(state, at, Form.NEWOBJ, callable_, arguments))
    return at


def _newobj_ex(state: State, at: int, stack: list[Value]) -> int:
    keywords, arguments, callable_ = stack.pop(), stack.pop(), stack.pop()
    if type(keywords) in SCALARS:
        raise failed("NEWOBJ_EX has keywords that are no dict")
    stack.append(_call(state, at, Form.NEWOBJ_EX, callable_, arguments, keywords))
    return at


def _obj(state: State, at: int, stack: list[Value], items: list[Value]) -> int:
    stack.append(_call(state, at, Form.OBJ, items[0], tuple(items[1:])))
    return at


def _inst(state: State, at: int, stack: list[Value], items: list[Value]) -> int:
    value, after = _named(state, at, "ascii")
    stack.append(_call(state, at, Form.INST, value, tuple(items)))
    return after


def _global(state: State, at: int, stack: list[Value]) -> int:
    value, after = _named(state, at, "utf-8")
    stack.append(value)
    return after


def _named(state: State, at: int, encoding: str) -> tuple[Global, int]:
    names: list[str] = []
    after = at
    for _ in range(2):
        line, after = state.line(after, _MAX_NAME)
        if not line:
            raise failed(
                "the name of a global is empty" if line == b"" else "the name of a global is too long"
            )
        try:
            names.append(line.decode(encoding))
        except UnicodeDecodeError as error:
            raise failed(f"the name of a global is not {encoding.upper()}") from error
    return _imported(state, at, *names), after


def _stack_global(state: State, at: int, stack: list[Value]) -> int:
    name, module = stack.pop(), stack.pop()
    names = [_known_text(state, one) for one in (module, name)]
    if names[0] is None or names[1] is None:
        if any(type(one) not in (str, Text, Result, PersistentObject, Unknown) for one in (module, name)):
            raise failed("STACK_GLOBAL with something that is no str")
        value = Global(state.base + at - 1, names[0] or "", names[1] or "", ("", ""), computed=True)
        state.operations.append(Import(value.at, value))
    else:
        value = _imported(state, at, names[0], names[1])
    stack.append(value)
    return at


def _known_text(state: State, value: Value) -> str | None:
    """What a str says; None when that cannot be known, or when it is longer than any name."""
    if type(value) is str:
        return value
    if type(value) is Text and value.length <= _MAX_TEXT_NAME:
        raw = state.source.read(value.at, value.length)
        if value.encoding == "utf-8":
            return decoded(raw)
        return raw.decode("latin-1" if value.encoding == "8-bit" else "raw_unicode_escape", "replace")
    return None


def _imported(state: State, at: int, module: str, name: str) -> Global:
    written = (module, name)
    if state.protocol < 3:
        if written in _compat_pickle.NAME_MAPPING:
            module, name = _compat_pickle.NAME_MAPPING[written]
        else:
            module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    value = Global(state.base + at - 1, module, name, written, dotted=state.protocol >= 4)
    state.operations.append(Import(value.at, value))
    return value


def _extension(width: int) -> Simple:
    def handle(state: State, at: int, stack: list[Value]) -> int:
        raw = state.data[at : at + width]
        if len(raw) < width:
            raise truncated()
        code = int.from_bytes(raw, "little", signed=width == 4)
        if code <= 0:
            raise failed("the code of an extension is not positive")
        value = Global(state.base + at - 1, "", "", ("", ""), code)
        state.operations.append(Import(value.at, value))
        stack.append(value)
        return at + width

    return handle


def _persid(state: State, at: int, stack: list[Value]) -> int:
    line, after = state.line(at, MAX_LINE)
    if line is None:
        identifier: Value = long_text(state, at, after - 1 - at, "8-bit")
    elif line.isascii():
        identifier = line.decode("ascii")
    else:
        raise failed("a persistent id is not ASCII")
    _persistent(state, at, stack, identifier)
    return after


def _binpersid(state: State, at: int, stack: list[Value]) -> int:
    _persistent(state, at, stack, stack.pop())
    return at


def _persistent(state: State, at: int, stack: list[Value], identifier: Value) -> None:
    value = PersistentObject(state.base + at - 1, identifier)
    state.operations.append(Persistent(value.at, value))
    stack.append(value)


def _build(state: State, at: int, stack: list[Value]) -> int:
    change = stack.pop()
    state.operations.append(Build(state.base + at - 1, stack[-1], change))
    if type(stack[-1]) is Result and is_dtype(stack[-1]):
        state.dtypes[stack[-1].call] = change
    if state.skips_arrays and type(stack[-1]) is Result and is_wrapper(stack[-1]):
        return after_array(state, at, change)
    return at


def _next_buffer(state: State, at: int, stack: list[Value]) -> int:
    value = Buffer(state.buffers, readonly=False)
    state.buffers += 1
    state.operations.append(TakeBuffer(state.base + at - 1, value))
    stack.append(value)
    return at


def _readonly_buffer(state: State, at: int, stack: list[Value]) -> int:
    value = stack[-1]
    if type(value) is Buffer:
        value = stack[-1] = Buffer(value.index, readonly=True)
    elif type(value) in SCALARS - {bytes, Octets} or type(value) in (ListOf, DictOf, SetOf, Global):
        raise failed("READONLY_BUFFER on something that is no buffer")
    state.operations.append(TakeBuffer(state.base + at - 1, value))
    return at


SIMPLE: dict[int, Simple] = {
    op.REDUCE: _reduce, op.NEWOBJ: _newobj, op.NEWOBJ_EX: _newobj_ex, op.BUILD: _build,
    op.GLOBAL: _global, op.STACK_GLOBAL: _stack_global,
    op.EXT1: _extension(1), op.EXT2: _extension(2), op.EXT4: _extension(4),
    op.PERSID: _persid, op.BINPERSID: _binpersid,
    op.NEXT_BUFFER: _next_buffer, op.READONLY_BUFFER: _readonly_buffer,
}  # fmt: skip
MARKED: dict[int, Marked] = {op.OBJ: _obj, op.INST: _inst}
