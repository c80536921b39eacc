"""The stack machine of CPython's C unpickler (``Modules/_pickle.c``), with values in place of objects.

Each opcode has the semantics that the C code gives it, so it does what that does before it fails: a stream
that breaks has its operations up to the break. Where an object that cannot be known decides whether the
unpickler fails, the machine notes a :class:`Doubt` and goes on, so that nothing hides behind an error that
may never be raised. ``pickle.py`` (which joblib and others build on) differs from the C code in errors
alone; what only one of the two refuses is followed, too.

The stack is cut at each MARK as ``pickle.py`` does it: what is above the last mark is a list of its own, and
those below wait in ``below``. An underflow is then simply an IndexError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from ...core import pickleopcodes as op
from ...core.pickleprogram import MAX_SHORT, End, Ending, PickleProgram, Value
from .embedded import IN_A_ROW, embedded_in
from .handlers import MARKED, SIMPLE
from .scalars import decoded
from .source import Memory, Readable, Spliced
from .state import USUAL, Limits, State, Stopped, truncated

_CONSTANTS = {op.NONE: None, op.NEWTRUE: True, op.NEWFALSE: False, op.EMPTY_TUPLE: ()}
_index4 = struct.Struct("<I").unpack_from
_double = struct.Struct(">d").unpack_from
_MAX_HOLES = 8
MAX_DEPTH = 4
# What an opcode leaves of a frame, the C unpickler skips when it reads a file, but not before these payloads.
_READ_THROUGH = frozenset({op.SHORT_BINBYTES, op.BINBYTES, op.BINBYTES8, op.BYTEARRAY8})


def follow(state: State) -> Ending:
    """Follow opcodes until the program ends, and say how."""
    ending = _follow(state)
    if ending.kind is not End.STOP and state.frame_end >= 0 and state.here - state.base < len(state.data):
        _leave_frame(state, _end_of_opcode(state))
    return ending


def _follow(state: State) -> Ending:
    try:
        while not state.ended:
            _stretch(state, state.look())
            if 0 <= state.frame_end <= state.at:
                _leave_frame(state, state.at)
    except Stopped as stopped:
        return Ending(stopped.kind, state.here, stopped.reason)
    except KeyError:
        return Ending(End.ERROR, state.here, "an index of the memo holds nothing")
    except UnicodeDecodeError:
        return Ending(End.ERROR, state.here, "a str is not UTF-8")
    except (IndexError, struct.error):
        # The loop reads short arguments without looking whether they are there.
        if state.here + _needed(state) > state.size:
            return Ending(End.TRUNCATED, state.here, truncated().reason)
        return Ending(End.ERROR, state.here, "an opcode needs more on the stack than there is")
    return Ending(End.STOP, state.here)


def _needed(state: State) -> int:
    """Bytes of the current opcode with the part of its argument that has a fixed length."""
    code = state.data[state.here - state.base]
    return 1 + op.FIXED.get(code, 0) + op.COUNTED.get(code, 0)


def _stretch(state: State, edge: int) -> None:
    """Follow opcodes up to the place ``edge`` of the window. The commonest have lines here, for speed."""
    data, below, memo, stack = state.data, state.below, state.memo, state.stack
    push, simple, marked, length = stack.append, SIMPLE, MARKED, len(data)
    start = at = here = state.at - state.base
    try:
        while at < edge:
            here = at
            code = data[at]
            at += 1
            if code == 0x4B:  # BININT1
                push(data[at])
                at += 1
            elif code == 0x68:  # BINGET
                push(memo[data[at]])
                at += 1
            elif code == 0x71:  # BINPUT
                memo[data[at]] = stack[-1]
                at += 1
            elif code == 0x94:  # MEMOIZE
                memo[len(memo)] = stack[-1]
            elif code == 0x8C:  # SHORT_BINUNICODE
                end = at + 1 + data[at]
                if end > length:
                    raise truncated()
                push(str(data[at + 1 : end], "utf-8", "surrogatepass"))
                at = end
            elif code == 0x58 and (end := at + 4 + _index4(data, at)[0]) <= min(length, at + MAX_SHORT):
                push(decoded(data[at + 4 : end]))  # BINUNICODE, when it is short
                at = end
            elif code == 0x47:  # BINFLOAT
                push(_double(data, at)[0])
                at += 8
            elif code == 0x28:  # MARK
                below.append(stack)
                stack = []
                push = stack.append
            elif code == 0x74:  # TUPLE
                items, stack = stack, below.pop()
                push = stack.append
                push(tuple(items))
            elif (handle := simple[code]) is not None:
                at = handle(state, at, stack)
            elif code in _CONSTANTS:
                push(_CONSTANTS[code])
            elif code in marked:
                items, stack = stack, below.pop()
                push = stack.append
                at = marked[code](state, at, stack, items)
            elif code == 0x30 and stack:  # POP of a value
                stack.pop()
            elif code == 0x30 or code == 0x31:  # POP of a mark, POP_MARK
                stack = below.pop()
                push = stack.append
            else:  # FRAME and STOP
                at = _frame(state, at) if code == 0x95 else _stop(state, at, stack)
                break
    finally:
        state.stack, state.here, state.at = stack, state.base + here, state.base + at
        state.walked += min(at, length) - start


def _stop(state: State, at: int, stack: list[Value]) -> int:
    state.result = stack.pop()
    state.leftover = len(stack) + sum(map(len, state.below)) + len(state.below)
    state.ended = True
    return at


def _frame(state: State, at: int) -> int:
    """A frame begins. The C unpickler makes sure that it is all there; old versions do nothing else."""
    raw = state.data[at : at + 8]
    after = at + 8
    first, end = state.base + after, state.base + after + int.from_bytes(raw, "little")
    if len(raw) < 8 or end > state.size + sum(dict(state.holes).values()):
        raise truncated()
    outer, skipped = state.frame_end, dict(state.holes).get(state.frame_end, 0)
    if outer >= first and end <= outer + skipped:
        _straddled(state, outer, "a frame begins in another")
        return after  # the C unpickler has the outer one in its buffer and reads on in it
    if outer >= 0 and not skipped:
        _straddled(state, first if first <= outer else state.base + at, "a frame begins in another")
    # What is left of a frame that was reached out of is not there in this reading.
    state.frame_end = min([end, *(hole for hole, _ in state.holes if first < hole < end)])
    return after


def _leave_frame(state: State, end: int) -> None:
    """The last opcode, which takes the bytes up to ``end``, has come to the end of the frame, or beyond."""
    if end > state.frame_end and state.frame_end not in dict(state.holes):
        _straddled(state, _reading_from(state), "an opcode reaches out of its frame")
    state.frame_end = -1


def _end_of_opcode(state: State) -> int:
    """Where the current opcode's argument ends, as its bytes have it; for one that has failed."""
    at = state.here - state.base + 1
    code = state.data[at - 1]
    at += op.FIXED.get(code, 0)
    width = op.COUNTED.get(code, 0)
    at += width + int.from_bytes(state.data[at : at + width], "little")
    for _ in range(op.LINES.get(code, 0)):
        newline = state.data.find(b"\n", at)
        at = newline + 1 if newline >= 0 else len(state.data)
    return state.base + at


def _straddled(state: State, where: int, reason: str) -> None:
    state.doubt(
        state.here - state.base, "frame", f"{reason}, and versions of CPython differ in what they read"
    )
    if state.straddle is None and where < state.frame_end:
        state.straddle = (where, state.frame_end - where)


def _reading_from(state: State) -> int:
    """Where the last opcode began to read what goes beyond the frame; its end when nothing is skipped."""
    place = state.here - state.base
    code, at, end = state.data[place], state.here + 1, state.frame_end
    width = op.FIXED.get(code, 0) + op.COUNTED.get(code, 0)
    if at + width > end or code in op.FIXED:
        return at
    if code in op.COUNTED:
        return end if code in _READ_THROUGH else at + width
    if op.LINES.get(code) == 2 and (newline := state.data.find(b"\n", place + 1)) >= 0:
        second = state.base + newline + 1
        return second if second < end else at
    return at


def _program(state: State, ending: Ending, reading: str = "memory") -> PickleProgram:
    consumed = min(state.at, state.size) if state.ended else state.here
    return PickleProgram(
        state.start, consumed - state.start, state.announced, tuple(state.operations), ending, state.result,
        state.leftover, reading, tuple(state.doubts),
    )  # fmt: skip


def walk(
    source: Readable | bytes | bytearray | memoryview,
    start: int = 0,
    *,
    limits: Limits = USUAL,
    record_values: bool = False,
) -> PickleProgram:
    """The program of the pickle that begins at offset ``start``; any bytes give one.

    ``record_values``: keep all children of containers, and write down each time they are filled, for who
    makes data of them. Raises what ``source.read`` raises.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        source = Memory(source)
    return _walk(source, start, limits, record=record_values, depth=MAX_DEPTH)


def _walk(source: Readable, start: int, limits: Limits, *, record: bool, depth: int) -> PickleProgram:
    state = State(source, start, limits, record=record)
    ending = follow(state)
    program = _program(state, ending, "joblib" if state.arrays else "memory")
    others: list[PickleProgram] = []
    if state.arrays:
        plain = State(source, start, limits, record=record, arrays=False)
        others.append(_program(plain, follow(plain), "plain"))
    if state.straddle is not None:
        others += _streamed(source, state, limits, record=record)
    embedded = _embedded(program, source, limits, depth)
    if others or embedded:
        program = replace(program, others=tuple(others), embedded=embedded)
    return program


def _embedded(
    program: PickleProgram, source: Readable, limits: Limits, depth: int
) -> tuple[PickleProgram, ...]:
    """The programs in bytes that calls load again, each with those in its own bytes."""
    found: list[PickleProgram] = []
    for inner in embedded_in(program, source):
        if inner is None or depth == 0:
            reason = "too deep in one another" if depth == 0 else "in too many or in too long texts"
            ending = Ending(End.LIMIT, 0, f"pickles lie {reason} to follow them all")
            found.append(PickleProgram(0, 0, 0, (), ending))
            break
        start = 0
        for _ in range(IN_A_ROW):
            one = _walk(inner, start, limits, record=False, depth=depth - 1)
            found.append(one)
            start += one.consumed
            if one.ending.kind is not End.STOP or start >= inner.size:
                break
    return tuple(found)


def _streamed(source: Readable, first: State, limits: Limits, *, record: bool) -> Iterator[PickleProgram]:
    """The reading of those versions that skip what an opcode leaves of a frame that it reaches out of."""
    state, ending = first, Ending(End.STOP, first.here)
    holes: tuple[tuple[int, int], ...] = ()
    while state.straddle is not None and len(holes) < _MAX_HOLES:
        holes = tuple(sorted((*holes, state.straddle)))
        state = State(Spliced(source, holes), first.start, limits, record=record)
        state.holes = holes
        ending = follow(state)
    if state.straddle is not None:
        ending = Ending(End.LIMIT, state.here, f"more than {_MAX_HOLES} opcodes reach out of their frames")
    yield _program(state, ending, "stream")


def walk_all(
    source: Readable | bytes | bytearray | memoryview,
    start: int = 0,
    *,
    limits: Limits = USUAL,
    record_values: bool = False,
    most: int = 64,
) -> Iterator[PickleProgram]:
    """Programs that stand one after the other, as in torch's legacy files.

    The last one is the first that does not end in STOP, or whose end is the input's; at most ``most``.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        source = Memory(source)
    for _ in range(most):
        program = walk(source, start, limits=limits, record_values=record_values)
        yield program
        start += program.consumed
        if program.ending.kind is not End.STOP or start >= source.size:
            return
