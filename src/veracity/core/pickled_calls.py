"""Which globals a pickle calls, beside those that it only names, by following its stack without running it.

An honest file may name any function (``defaultdict(len)`` holds one), and calls those that rebuild data.

**What it is for.** The guard asks it about a file that was just loaded and named a function that rebuilds
no data. That is within the training process, where the machine of ``observe/pickle/`` is not: the guard's
archive has ``core`` alone, and every process of a job would import it. So this walk is small. It knows
opcodes and their arguments by the machine's tables, and of the stack only what leads a name to a call.

**What it does not tell.** Arguments and states; calls of what is no global by name (extensions, what another
call returned, what a persistent id stands for); pickles within the bytes of a pickle. Frames are passed over.
The bytes of an array of joblib are no opcodes: they end it. Where the unpickler fails for what an object is,
the walk goes on, and so may tell a call that is never made. Of a stream that the machine follows to STOP, and
that has nothing of these, both tell the same calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from . import pickleopcodes as op
from .picklearguments import index, quoted

MAX_OPERATIONS = 2_000_000
MAX_PICKLES = 16
MAX_NAME = 1 << 13
"""Bytes of a text that may be a name; longer ones are stepped over, as all other payloads are."""
MAX_GLOBAL = 1 << 20
_BLOCK = 1 << 16
_LARGEST = 1 << 48
"""Bytes of a payload that some file might have."""
Name: TypeAlias = "tuple[str, str]"
_Value: TypeAlias = "Name | str | None"
"""A global, a text, or anything else."""

_TEXTS: Mapping[int, Callable[[bytes], str]] = {
    **dict.fromkeys(
        (op.SHORT_BINUNICODE, op.BINUNICODE, op.BINUNICODE8), lambda raw: raw.decode("utf-8", "surrogatepass")
    ),
    **dict.fromkeys((op.SHORT_BINSTRING, op.BINSTRING), lambda raw: raw.decode("latin-1")),
    op.STRING: lambda raw: quoted(raw).decode("latin-1"),
    op.UNICODE: lambda raw: raw.decode("raw_unicode_escape"),
}
_OTHERS = frozenset(
    (
        *(op.NONE, op.NEWTRUE, op.NEWFALSE, op.INT, op.BININT, op.BININT1, op.BININT2, op.LONG, op.LONG1),
        *(op.LONG4, op.FLOAT, op.BINFLOAT, op.SHORT_BINBYTES, op.BINBYTES, op.BINBYTES8, op.BYTEARRAY8),
        *(op.EMPTY_TUPLE, op.EMPTY_LIST, op.EMPTY_DICT, op.EMPTY_SET, op.PERSID, op.NEXT_BUFFER),
        *(op.EXT1, op.EXT2, op.EXT4),
    )
)
"""What pushes a value that is neither a global by name nor a text."""
_TAKEN = {
    **dict.fromkeys((op.TUPLE1, op.BINPERSID), 1),
    **dict.fromkeys((op.TUPLE2, op.REDUCE, op.NEWOBJ, op.STACK_GLOBAL), 2),
    **dict.fromkeys((op.TUPLE3, op.NEWOBJ_EX), 3),
}
"""How many values an opcode takes that leaves one; the first of them is what is called."""
_CALLS = frozenset((op.REDUCE, op.NEWOBJ, op.NEWOBJ_EX))
_PUT = {op.APPEND: 1, op.BUILD: 1, op.SETITEM: 2}
"""How many values an opcode puts into the one below them."""
_COLLECTED = frozenset((op.TUPLE, op.LIST, op.DICT, op.FROZENSET, op.OBJ, op.INST))
"""What leaves one value for all above the mark."""
_POURED = frozenset((op.APPENDS, op.SETITEMS, op.ADDITEMS))
"""What puts all above the mark into the value below it."""
_REMEMBER = frozenset((op.PUT, op.BINPUT, op.LONG_BINPUT, op.MEMOIZE))
_RECALL = frozenset((op.GET, op.BINGET, op.LONG_BINGET))


class Stream(Protocol):
    """A binary file, as far as it is needed."""

    def read(self, size: int, /) -> bytes:
        """The next ``size`` bytes, fewer at the end."""
        ...

    def readline(self, size: int, /) -> bytes:
        """The rest of the line with its newline, ``size`` bytes at most."""
        ...

    def seek(self, offset: int, whence: int, /) -> int:
        """Go ``offset`` bytes on, with 1 for ``whence``."""
        ...


def calls_in(stream: Stream) -> set[Name]:
    """The globals that the pickles at the beginning of ``stream`` call.

    Names are as they are written there. What is no pickle ends it, so the calls before that are known.
    """
    walk = _Walk(stream)
    try:
        for _ in range(MAX_PICKLES):
            walk.follow()
    except (ValueError, LookupError, EOFError):
        pass  # how an unpickler would end, too: nothing behind it is loaded
    return walk.called


class _Walk:
    def __init__(self, stream: Stream) -> None:
        self.called: set[Name] = set()
        self._stream = stream
        self._left = MAX_OPERATIONS
        self._stack: list[_Value] = []
        self._below: list[list[_Value]] = []
        self._memo: dict[int, _Value] = {}

    def follow(self) -> None:
        """One pickle; raises EOFError, LookupError or ValueError when it does not come to STOP."""
        self._stack, self._below, self._memo = [], [], {}
        while (code := self._read(1)[0]) != op.STOP:
            self._left -= 1
            if self._left < 0:
                raise EOFError
            self._take(code)

    def _take(self, code: int) -> None:
        stack = self._stack
        if code in _TEXTS:
            stack.append(self._text(code))
        elif code == op.GLOBAL:
            stack.append(self._named("utf-8"))
        elif code in _RECALL:
            stack.append(self._memo[self._number(code)])
        elif code in _REMEMBER:
            self._memo[len(self._memo) if code == op.MEMOIZE else self._number(code)] = stack[-1]
        elif code in _OTHERS:
            self._pass(code)
            stack.append(None)
        elif code in _TAKEN:
            self._make(code)
        elif code in _PUT:
            if len(stack) <= _PUT[code]:
                raise IndexError
            del stack[-_PUT[code] :]
        elif code == op.DUP:
            stack.append(stack[-1])
        elif code == op.READONLY_BUFFER:
            stack[-1] = None
        elif code in (op.PROTO, op.FRAME):
            self._pass(code)
        else:
            self._at_mark(code)

    def _make(self, code: int) -> None:
        count = _TAKEN[code]
        if len(self._stack) < count:
            raise IndexError
        taken = self._stack[-count:]
        del self._stack[-count:]
        made: _Value = None
        if code in _CALLS:
            self._call(taken[0])
        elif code == op.STACK_GLOBAL:
            module, name = taken
            made = (module, name) if isinstance(module, str) and isinstance(name, str) else None
        self._stack.append(made)

    def _at_mark(self, code: int) -> None:
        if code == op.MARK:
            self._below.append(self._stack)
            self._stack = []
        elif code == op.POP and self._stack:
            self._stack.pop()
        elif code in (op.POP, op.POP_MARK):
            self._stack = self._below.pop()
        elif code in _COLLECTED:
            items, self._stack = self._stack, self._below.pop()
            if code in (op.OBJ, op.INST):
                self._call(items[0] if code == op.OBJ else self._named("ascii"))
            self._stack.append(None)
        elif code in _POURED:
            self._stack = self._below.pop()
            if not self._stack:
                raise IndexError
        else:
            raise ValueError(f"byte {code:#04x} is no opcode")

    def _call(self, what: _Value) -> None:
        if isinstance(what, tuple):
            self.called.add(what)

    # --- arguments -------------------------------------------------------------------------------

    def _text(self, code: int) -> str | None:
        """The text that an opcode pushes; None when it is longer than any name."""
        if code in op.LINES:
            raw = self._line(MAX_NAME)
        else:
            length = self._count(code)
            if length > MAX_NAME:
                self._skip(length)
                return None
            raw = self._read(length)
        return None if raw is None else _TEXTS[code](raw)

    def _named(self, encoding: str) -> Name:
        module, name = self._line(MAX_GLOBAL), self._line(MAX_GLOBAL)
        if not module or not name:
            raise ValueError("the name of a global is empty, or too long")
        return module.decode(encoding), name.decode(encoding)

    def _number(self, code: int) -> int:
        """A place in the memo."""
        if code not in op.LINES:
            return int.from_bytes(self._read(op.FIXED[code]), "little")
        line = self._line(MAX_NAME)
        number = -1 if line is None else index(line)
        if number < 0:
            raise ValueError("that is no place in the memo")
        return number

    def _pass(self, code: int) -> None:
        """Go past an argument that does not matter."""
        if code in op.FIXED:
            raw = self._read(op.FIXED[code])
            if code == op.PROTO and raw[0] > op.HIGHEST_PROTOCOL:
                raise ValueError(f"there is no protocol {raw[0]}")
        elif code in op.COUNTED:
            self._skip(self._count(code))
        elif code in op.LINES:
            self._line(0)

    def _count(self, code: int) -> int:
        return int.from_bytes(self._read(op.COUNTED[code]), "little")

    def _read(self, size: int) -> bytes:
        raw = self._stream.read(size)
        if len(raw) < size:
            raise EOFError
        return raw

    def _skip(self, size: int) -> None:
        """Go on without reading: payloads may be larger than memory."""
        if size > _LARGEST:
            raise EOFError
        self._stream.seek(size, 1)

    def _line(self, most: int) -> bytes | None:
        """A line without its newline; None when it has more than ``most`` bytes."""
        line = self._stream.readline(most + 1)
        if line.endswith(b"\n"):
            return line[:-1]
        while line:
            line = self._stream.readline(_BLOCK)
            if line.endswith(b"\n"):
                return None
        raise EOFError
