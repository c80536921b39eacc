"""Opcodes that make containers, and fill what stands on the stack."""

from __future__ import annotations

from ...core import pickleopcodes as op
from ...core.pickleprogram import (
    MAX_KEPT,
    MAX_KEPT_IN_DICT,
    Buffer,
    ByteArray,
    DictOf,
    Fill,
    Form,
    Global,
    Kind,
    ListOf,
    Octets,
    PersistentObject,
    Result,
    SetOf,
    Text,
    Unknown,
    Value,
)  # fmt: skip
from .state import Marked, Simple, State, failed

_MAX_LOOKED = 256
SCALARS = frozenset({type(None), bool, int, float, str, bytes, tuple, Text, Octets})
_PERHAPS_UNHASHABLE = int(Kind.TUPLE | Kind.CONTAINER | Kind.BYTES)
# Plain numbers: the operators of an enumeration take a microsecond.
_KINDS = {
    kind: int(name)
    for name, kinds in (
        (Kind.NONE, (type(None),)), (Kind.BOOL, (bool,)), (Kind.INT, (int,)), (Kind.FLOAT, (float,)),
        (Kind.STR, (str, Text)), (Kind.BYTES, (bytes, Octets, ByteArray)), (Kind.TUPLE, (tuple,)),
        (Kind.CONTAINER, (ListOf, DictOf, SetOf)), (Kind.GLOBAL, (Global,)), (Kind.RESULT, (Result, Unknown)),
        (Kind.PERSISTENT, (PersistentObject,)), (Kind.BUFFER, (Buffer,)),
    )
    for kind in kinds
}  # fmt: skip


def _kinds_of(items: list[Value]) -> int:
    """The union of the kinds of values."""
    kinds = 0
    for one in set(map(type, items)):
        kinds |= _KINDS[one]
    return kinds


def _empty_list(state: State, at: int, stack: list[Value]) -> int:
    stack.append(ListOf(state.base + at - 1))
    state.nodes += 1
    return at


def _empty_dict(state: State, at: int, stack: list[Value]) -> int:
    stack.append(DictOf(state.base + at - 1))
    state.nodes += 1
    return at


def _empty_set(state: State, at: int, stack: list[Value]) -> int:
    stack.append(SetOf(state.base + at - 1, frozen=False))
    state.nodes += 1
    return at


def _tuple_of(count: int) -> Simple:
    def handle(state: State, at: int, stack: list[Value]) -> int:
        if len(stack) < count:
            raise IndexError
        items = tuple(stack[-count:])
        del stack[-count:]
        stack.append(items)
        return at

    return handle


def _tuple(state: State, at: int, stack: list[Value], items: list[Value]) -> int:
    stack.append(tuple(items))
    return at


def _list(state: State, at: int, stack: list[Value], items: list[Value]) -> int:
    made = ListOf(state.base + at - 1)
    state.nodes += 1
    if items:
        _extend(state, at, Form.APPENDS, made, items)
    stack.append(made)
    return at


def _dict(state: State, at: int, stack: list[Value], items: list[Value]) -> int:
    made = DictOf(state.base + at - 1)
    state.nodes += 1
    if items:
        _set_pairs(state, at, Form.SETITEMS, made, items)
    stack.append(made)
    return at


def _frozenset(state: State, at: int, stack: list[Value], items: list[Value]) -> int:
    made = SetOf(state.base + at - 1, frozen=True)
    state.nodes += 1
    _add(state, made, items)
    stack.append(made)
    return at


def _append(state: State, at: int, stack: list[Value]) -> int:
    item = stack.pop()
    _extend(state, at, Form.APPEND, stack[-1], [item])
    return at


def _appends(state: State, at: int, stack: list[Value], items: list[Value]) -> int:
    target = stack[-1]
    if items:
        _extend(state, at, Form.APPENDS, target, items)
    return at


def _additems(state: State, at: int, stack: list[Value], items: list[Value]) -> int:
    target = stack[-1]
    if items:
        if isinstance(target, SetOf) and target.frozen:
            raise failed("ADDITEMS on a frozenset")
        if isinstance(target, SetOf):
            _add(state, target, items)
        if state.record or not isinstance(target, SetOf):
            _write_down(state, at, Form.ADDITEMS, target, items)
    return at


def _setitem(state: State, at: int, stack: list[Value]) -> int:
    value, key = stack.pop(), stack.pop()
    _set_pairs(state, at, Form.SETITEM, stack[-1], [key, value])
    return at


def _setitems(state: State, at: int, stack: list[Value], items: list[Value]) -> int:
    target = stack[-1]
    if items:
        _set_pairs(state, at, Form.SETITEMS, target, items)
    return at


def _extend(state: State, at: int, form: Form, target: Value, items: list[Value]) -> None:
    if isinstance(target, ListOf):
        target.kinds |= _kinds_of(items)
        _keep(state, target, items)
    if state.record or not isinstance(target, ListOf):
        _write_down(state, at, form, target, items)


def _set_pairs(state: State, at: int, form: Form, target: Value, items: list[Value]) -> None:
    if len(items) % 2:
        raise failed(f"{form.value} has a key without a value")
    if isinstance(target, DictOf):
        keys = items[::2]
        if _kinds_of(keys) & _PERHAPS_UNHASHABLE:
            _need_hashable(keys)
        target.kinds |= _kinds_of(items[1::2])
        _keep(state, target, items)
    elif isinstance(target, ListOf):
        # An assignment to an index of a list: what it replaces is not looked for.
        target.kinds |= _kinds_of(items[1::2])
        _keep(state, target, items[1::2])
    if state.record or not isinstance(target, DictOf):
        _write_down(state, at, form, target, items)


def _add(state: State, target: SetOf, items: list[Value]) -> None:
    kinds = _kinds_of(items)
    if kinds & _PERHAPS_UNHASHABLE:
        _need_hashable(items)
    target.kinds |= kinds
    _keep(state, target, items)


def _keep(state: State, target: ListOf | DictOf | SetOf, items: list[Value]) -> None:
    """Add children to a node, as many as it keeps."""
    most = MAX_KEPT_IN_DICT if type(target) is DictOf else MAX_KEPT
    room = (state.size if state.record else most) - len(target.items)
    if len(items) <= room:
        target.items += items
        state.kept += len(items)
    else:
        target.items += items[:room]
        target.more += len(items) - room
        state.kept += room


def _write_down(state: State, at: int, form: Form, target: Value, items: list[Value]) -> None:
    if type(target) in SCALARS:
        raise failed(f"{form.value} on something that holds no items")
    kept = tuple(items if state.record else items[:MAX_KEPT])
    more = len(items) - len(kept)
    state.operations.append(Fill(state.base + at - 1, form, target, kept, more, _kinds_of(items)))


def _need_hashable(keys: list[Value]) -> None:
    looked = 0
    waiting = list(keys)
    while waiting and looked < _MAX_LOOKED:
        one = waiting.pop()
        looked += 1
        if type(one) is tuple:
            waiting += one
        elif type(one) in (ListOf, DictOf, ByteArray) or (type(one) is SetOf and not one.frozen):
            raise failed("a key or an element of a set cannot be hashed")


SIMPLE: dict[int, Simple] = {
    op.EMPTY_LIST: _empty_list, op.EMPTY_DICT: _empty_dict, op.EMPTY_SET: _empty_set,
    op.TUPLE1: _tuple_of(1), op.TUPLE2: _tuple_of(2), op.TUPLE3: _tuple_of(3),
    op.APPEND: _append, op.SETITEM: _setitem,
}  # fmt: skip
MARKED: dict[int, Marked] = {
    op.TUPLE: _tuple, op.LIST: _list, op.DICT: _dict, op.FROZENSET: _frozenset,
    op.APPENDS: _appends, op.ADDITEMS: _additems, op.SETITEMS: _setitems,
}  # fmt: skip
