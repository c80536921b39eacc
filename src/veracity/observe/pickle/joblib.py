"""Where an array of joblib ends: its bytes stand among the opcodes, after the state of its wrapper is set.

``joblib.numpy_pickle`` writes for each array a ``NumpyArrayWrapper`` (shape, order, dtype) and then,
outside of any frame: when the wrapper knows of alignment, one byte with the length of a padding and the
padding; the array's bytes. An array of objects is a pickle of its own there. Its unpickler reads all that
as soon as the wrapper's BUILD is done.
"""

from __future__ import annotations

import math
import re

from ...core.pickleprogram import Call, DictOf, End, Global, Result, Value
from .state import State, Stopped, failed, truncated

_MODULES = ("joblib.numpy_pickle", "sklearn.externals.joblib.numpy_pickle")
_CODE = re.compile(r"[<>|=]?([?bBhHiIlLqQefdgFDGOSUVaMmcu])(\d*)(\[\w+\])?\Z")
_LETTERS = {
    **dict.fromkeys("?bBcu", 1), **dict.fromkeys("hHe", 2), **dict.fromkeys("iIf", 4),
    **dict.fromkeys("lLqQdFMm", 8), **dict.fromkeys("gD", 16), "G": 32,
}  # fmt: skip
_MAX_DIMENSIONS = 64


def is_wrapper(value: Result) -> bool:
    """Whether a value is joblib's wrapper of an array that follows."""
    made = value.call.callable
    arguments = value.call.arguments
    if type(made) is Global and made.name == "_reconstructor" and type(arguments) is tuple and arguments:
        made = arguments[0]
    return type(made) is Global and made.name == "NumpyArrayWrapper" and made.module in _MODULES


def is_dtype(value: Result) -> bool:
    """Whether a value is a dtype of numpy."""
    made = value.call.callable
    return type(made) is Global and (made.module, made.name) == ("numpy", "dtype")


def after_array(state: State, at: int, change: Value) -> int:
    """The place after the array that follows a wrapper whose state is ``change``."""
    state.arrays += 1
    fields = _fields(change)
    if state.frame_end > state.base + at:
        state.doubt(at - 1, "frame", "an array stands within a frame, where its reader looks for it after it")
    state.frame_end = -1
    size = _item_size(state, fields.get("dtype"))
    if size is None:
        return _objects(state, at)
    shape = fields.get("shape")
    sizes = [one for one in shape if type(one) is int and one >= 0] if type(shape) is tuple else None
    if type(shape) is not tuple or sizes is None or not len(sizes) == len(shape) <= _MAX_DIMENSIONS:
        raise failed("the shape of an array of joblib cannot be known")
    count = math.prod(sizes)
    if fields.get("numpy_array_alignment_bytes") is not None:
        padding = state.source.read(state.base + at, 1)
        if not padding:
            raise truncated()
        at += 1 + padding[0]
    if state.base + at + count * size > state.size:
        raise truncated()
    return at + count * size


def _fields(change: Value) -> dict[str, Value]:
    if type(change) is not DictOf or change.more:
        raise failed("the state of an array of joblib is no dict")
    pairs = zip(change.items[::2], change.items[1::2], strict=False)
    return {key: value for key, value in pairs if type(key) is str}


def _item_size(state: State, dtype: Value) -> int | None:
    """Bytes of one element; None for objects, which are a pickle."""
    if type(dtype) is not Result or type(dtype.call.arguments) is not tuple or not dtype.call.arguments:
        raise failed("the type of an array of joblib cannot be known")
    code = dtype.call.arguments[0]
    match = _CODE.match(code) if type(code) is str else None
    if match is None:
        raise failed("the type of an array of joblib cannot be known")
    letter, digits = match[1], match[2]
    size, holds_objects = _declared(state, dtype.call)
    if letter == "O" or holds_objects:
        return None
    if size > 0:
        return size
    count = int(digits[:9]) if digits else 0
    if letter in "SVa":
        return count
    if letter == "U":
        return 4 * count
    return count if digits else _LETTERS[letter]


def _declared(state: State, call: Call) -> tuple[int, bool]:
    """The size of an element that the state of a dtype says, and whether it has fields that hold objects."""
    declared = state.dtypes.get(call)
    if type(declared) is tuple and len(declared) >= 8:
        size, flags = declared[5], declared[7]
        if type(size) is int and type(flags) is int:
            return size, bool(flags & 1)
    return -1, False


def _objects(state: State, at: int) -> int:
    """An array of objects: a pickle with a memo of its own."""
    from .machine import follow  # the machine's handlers lead here

    if state.nesting >= 4:
        raise Stopped(End.LIMIT, "arrays of objects lie in one another too deep")
    inner = State(state.source, state.base + at, state.limits, record=state.record)
    inner.nesting = state.nesting + 1
    ending = follow(inner)
    state.operations += inner.operations
    state.doubts += inner.doubts
    state.walked += inner.walked
    if ending.kind is not End.STOP:
        raise Stopped(ending.kind, ending.reason)
    return inner.at - state.base
