"""The instructions of a code object, read so that two of them can be walked side by side.

What no compiler writes is refused: an exception table in another spelling, a jump into an instruction, two
variables of one name. It could be other than it looks.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

from . import codeobject

LOADS = frozenset(
    {"LOAD_FAST", "LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"}
)
STORES = frozenset({"STORE_FAST", "STORE_FAST_STORE_FAST"})
# Names are found by the operand without these bits, which say something of their own.
_FLAGS = {
    "LOAD_GLOBAL": 1 if sys.version_info >= (3, 11) else 0,
    "LOAD_ATTR": 1 if sys.version_info >= (3, 12) else 0,
    "LOAD_SUPER_ATTR": 3,
}


class DiffersError(Exception):
    """The two do not do the same."""


def require_plain(code: CodeType) -> None:
    """Return when ``code``, as it was unmarshalled, holds the instructions that it shows.

    An interpreter rewrites instructions in memory into specialised ones, and shows the plain ones for them;
    a file could hold specialised ones, with what they are to find. Raises DiffersError.
    """
    pending = [code]
    while pending:
        one = pending.pop()
        held = getattr(one, "_co_code_adaptive", b"")
        if held != getattr(one.replace(co_code=one.co_code), "_co_code_adaptive", b""):
            raise DiffersError(f"{one.co_name}: it holds instructions that no compiler writes")
        pending += [inner for inner in one.co_consts if isinstance(inner, CodeType)]


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction with its prefixes: ``at`` is where they begin, ``operand`` what it works with."""

    at: int
    opcode: int
    name: str
    argument: int | None
    value: object
    operand: object


class Program:
    """The instructions of a code object, in the form that the walk needs. Raises DiffersError for what no
    compiler writes: it could be other than it looks.
    """

    def __init__(self, code: CodeType) -> None:
        self.code = code
        try:
            listed = dis.Bytecode(code)
            self.steps = list(_merged(listed, code))
            entries = [tuple(entry) for entry in getattr(listed, "exception_entries", ())]
        except (LookupError, ValueError, TypeError, RuntimeError, OverflowError, AssertionError) as error:
            raise DiffersError(f"{code.co_name}: its instructions cannot be read: {error}") from error
        self.index: dict[object, int] = {}
        for number, step in enumerate(self.steps):
            self.index.setdefault(step.at, number)
        self.read = {name for step in self.steps if _reads(step) for name in named_by(step)}
        self._handlers = self._covered(entries)
        self._require_own_variables()

    def handler(self, position: int) -> tuple[int, int, bool] | None:
        """Index, depth and "with instruction" of the handler that covers the instruction at ``position``."""
        return self._handlers.get(position)

    def target(self, step: Step) -> int:
        """The index of what ``step`` jumps to."""
        found = self.index.get(step.value)
        if found is None:
            raise DiffersError(f"{self.code.co_name}: it jumps into an instruction")
        return found

    def _covered(self, entries: list[tuple[int, ...]]) -> dict[int, tuple[int, int, bool]]:
        found: dict[int, tuple[int, int, bool]] = {}
        if _encoded(entries) != bytes(getattr(self.code, "co_exceptiontable", b"")):
            raise DiffersError(f"{self.code.co_name}: its exception table is not as compilers write it")
        last = 0
        ends = {len(self.code.co_code): len(self.steps)}
        for start, end, target, depth, lasti in entries:
            first, after = self.index.get(start), self.index.get(end, ends.get(end))
            handler = self.index.get(target)
            if start < last or first is None or after is None or handler is None:
                raise DiffersError(f"{self.code.co_name}: its exception table is not as compilers write it")
            last = end
            found.update(dict.fromkeys(range(first, after), (handler, depth, bool(lasti))))
        return found

    def _require_own_variables(self) -> None:
        """Variables are told apart by their names, so each must have its own."""
        code, names = self.code, []
        own = getattr(code, "_varname_from_oparg", None)
        if own is None:
            both = code.co_cellvars + code.co_freevars
            unique = all(len(set(some)) == len(some) for some in (code.co_varnames, both))
        else:
            for number in range(len(code.co_varnames) + len(code.co_cellvars) + len(code.co_freevars) + 1):
                try:
                    names.append(own(number))
                except IndexError:
                    break
            unique = len(set(names)) == len(names)
        if not unique:
            raise DiffersError(f"{code.co_name}: two of its variables have one name")


def _merged(listed: dis.Bytecode, code: CodeType) -> Iterator[Step]:
    """The instructions, each with its EXTENDED_ARG prefixes."""
    at: int | None = None
    for one in listed:
        at = one.offset if at is None else at
        if one.opname == "EXTENDED_ARG":
            continue
        if one.opname == "RETURN_CONST":
            yield Step(at, one.opcode, "LOAD_CONST", one.arg, *_operand(one, code))
            yield Step(at, dis.opmap["RETURN_VALUE"], "RETURN_VALUE", None, None, None)
        else:
            yield Step(at, one.opcode, one.opname, one.arg, *_operand(one, code))
        at = None
    if at is not None:
        raise ValueError("a prefix without an instruction")


def _operand(one: dis.Instruction, code: CodeType) -> tuple[object, object]:
    """What an instruction works with: the value itself, and something that two codes can agree upon."""
    number = one.arg or 0
    if is_branch(one.opcode):
        return one.argval, None
    if one.opcode in dis.hasconst:
        value = code.co_consts[number]
        return value, None if isinstance(value, CodeType) else codeobject.constant(value)
    if one.opname == "LOAD_SMALL_INT":
        return number, codeobject.constant(number)
    if one.opcode in dis.hasname:
        return one.argval, (one.argval, number & _FLAGS.get(one.opname, 0))
    if one.opcode in dis.haslocal or one.opcode in dis.hasfree:
        return one.argval, one.argval
    return one.arg, one.arg


def _reads(step: Step) -> bool:
    return step.opcode in dis.haslocal and step.name not in STORES


def is_branch(opcode: int) -> bool:
    """Whether an instruction jumps, always or by a test."""
    return opcode in dis.hasjrel or opcode in dis.hasjabs


def named_by(step: Step) -> tuple[str, ...]:
    """The variables that a load or a store names: one, or two."""
    value = step.value
    return tuple(str(name) for name in value) if isinstance(value, tuple) else (str(value),)


def _encoded(entries: list[tuple[int, ...]]) -> bytes:
    """An exception table as the compiler writes it: numbers of six bits a byte, the first byte marked."""
    table = bytearray()
    for start, end, target, depth, lasti in entries:
        mark = 0x80
        for number in (start // 2, (end - start) // 2, target // 2, depth << 1 | lasti):
            digits = [number & 0x3F]
            while number := number >> 6:
                digits.append(number & 0x3F | 0x40)
            digits.reverse()
            digits[0] |= mark
            table += bytes(digits)
            mark = 0
    return bytes(table)
