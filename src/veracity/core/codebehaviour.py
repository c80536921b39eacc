"""Whether two code objects of one version of Python do the same, though not written alike.

Releases of one version (3.11.2, 3.11.7) load each other's ``.pyc`` files, but their compilers differ in what
nobody sees while a program runs: positions, jumps to jumps, copies of the end of a block, the order in which
values are moved. So both codes are walked together (a bisimulation): between two *effects*, which are all
instructions but moves, jumps and loads of constants, the moves are followed with symbols; at each effect both
must be about to do the same thing to the same values, with the same values in all local variables, and go on
to the same handlers and branches. What passes does the same, whoever wrote it; nothing is assumed about that.

Only the standard library is used: this module also runs under the job's interpreter.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import NamedTuple

from . import codeobject
from .errors import EvidenceError

MAX_DEPTH = 200
MAX_STACK = 100_000
_OPTIMIZED = 0x1  # CO_OPTIMIZED: set on functions, not on class and module bodies

_JUMPS = frozenset({"JUMP_FORWARD", "JUMP_ABSOLUTE", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"})
_NOTHING = frozenset({"NOP", "NOT_TAKEN"})
_LOADS = frozenset(
    {"LOAD_FAST", "LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"}
)
_STORES = frozenset({"STORE_FAST", "STORE_FAST_STORE_FAST"})
_RETURN_CONST = dis.opmap.get("RETURN_CONST", -1)  # returns a constant that is never on the stack
_ROTATIONS = {"ROT_TWO": 2, "ROT_THREE": 3, "ROT_FOUR": 4}
_ENDS = frozenset({"RETURN_VALUE", "RAISE_VARARGS", "RERAISE"})
_TESTS = {"truth": "truth", "none": "none", "JUMP_IF_TRUE_OR_POP": "truth", "JUMP_IF_FALSE_OR_POP": "truth"}
# Names are found by the operand without these bits, which say something of their own.
_FLAGS = {
    "LOAD_GLOBAL": 1 if sys.version_info >= (3, 11) else 0,
    "LOAD_ATTR": 1 if sys.version_info >= (3, 12) else 0,
    "LOAD_SUPER_ATTR": 3,
}

Term = tuple[object, ...]
"""What stands in a place of the stack or in a variable: a constant, or what was there at the last effect."""
_GENERATORS = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR
_UNBOUND: Term = ("unbound",)
_NULL: Term = ("null",)


class DiffersError(Exception):
    """The two do not do the same."""


class UnsettledError(Exception):
    """They consist of the same effects, but there are too many ways through them to follow."""


def require_alike(one: CodeType, other: CodeType) -> None:
    """Return when ``one`` and ``other``, and all code within them, do the same.

    Raises DiffersError or UnsettledError with the reason, EvidenceError for a constant that no compiler
    produces.
    """
    pending = [(one, other, 0)]
    seen: set[tuple[int, int]] = set()
    while pending:
        left, right, depth = pending.pop()
        if (id(left), id(right)) in seen:
            continue
        seen.add((id(left), id(right)))
        if depth > MAX_DEPTH:
            raise EvidenceError("code object is nested too deeply")
        pending += [(a, b, depth + 1) for a, b in _Walk(left, right).run()]


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
class _Step:
    """An instruction with its prefixes: ``at`` is where they begin, ``operand`` what it works with."""

    at: int
    opcode: int
    name: str
    argument: int | None
    value: object
    operand: object


class Known(NamedTuple):
    """What a test has just found out: ``terms`` are all that it was made of."""

    test: str
    outcome: bool
    terms: frozenset[Term]


@dataclass(slots=True)
class _State:
    """Where one code stands; ``variables`` holds what was stored since the last effect, ``checked`` which
    unbound variables would have raised meanwhile, and where to."""

    position: int
    stack: list[Term]
    known: Known | None = None
    variables: dict[str, list[Term]] = field(default_factory=dict)
    checked: set[tuple[str, bool]] = field(default_factory=set)


class _Program:
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
        self.read = {name for step in self.steps if _reads(step) for name in _named(step)}
        self._handlers = self._covered(entries)
        self._require_own_variables()

    def handler(self, position: int) -> tuple[int, int, bool] | None:
        """Index, depth and "with instruction" of the handler that covers the instruction at ``position``."""
        return self._handlers.get(position)

    def target(self, step: _Step) -> int:
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


class _Pair(NamedTuple):
    """After an effect: where either code stands, and how many values are on the stack, the same in both."""

    one: int
    other: int
    depth: int
    known: Known | None = None


class _Walk:
    """Two code objects, walked together."""

    def __init__(self, one: CodeType, other: CodeType) -> None:
        self._name = str(getattr(one, "co_qualname", "") or one.co_name)
        _require_same_head(one, other, self._name)
        self._one, self._other = _Program(one), _Program(other)
        # In 3.10 a generator starts with what was sent to it on the stack; later it makes itself first.
        sent = sys.version_info < (3, 11) and bool(one.co_flags & _GENERATORS)
        self._waiting: list[_Pair] = [_Pair(0, 0, int(sent))]
        self._within: list[tuple[CodeType, CodeType]] = []
        self._deepest = 0

    def run(self) -> list[tuple[CodeType, CodeType]]:
        """The pairs of code objects that the two make functions of. Raises DiffersError or UnsettledError."""
        seen: set[_Pair] = set()
        limit = 8 * (len(self._one.steps) + len(self._other.steps)) + 1_000
        while self._waiting:
            pair = self._waiting.pop()
            if pair in seen:
                continue
            seen.add(pair)
            if len(seen) > limit:
                alike = _effects(self._one) == _effects(self._other)
                raise (UnsettledError if alike else DiffersError)(
                    f"{self._name}: it branches in too many ways"
                )
            self._segment(pair)
        # Python takes what the code says it needs of the stack, and writes beyond it without a look.
        if self._other.code.co_stacksize < self._deepest:
            raise DiffersError(f"{self._name}: it uses more of the stack than it asks for")
        return self._within

    def _segment(self, pair: _Pair) -> None:
        """Up to the next effect, and to what follows it."""
        stack: list[Term] = [("place", number) for number in range(pair.depth)]
        left, right = _State(pair.one, list(stack), pair.known), _State(pair.other, stack, pair.known)
        mine, others = self._advance(self._one, left), self._advance(self._other, right)
        if mine is None or others is None:
            if mine is not others:
                raise DiffersError(f"{self._name}: one of them does nothing for ever")
            return
        if _kind(mine) != _kind(others) or mine.operand != others.operand:
            raise DiffersError(f"{self._name}: {_said(others)} in place of {_said(mine)}")
        self._require_same_state(mine, left, right)
        self._follow(mine, others, left, right)

    def _advance(self, program: _Program, state: _State) -> _Step | None:
        """The effect that comes next; None when there is none for ever."""
        passed = 0
        while True:
            if not 0 <= state.position < len(program.steps):
                raise DiffersError(f"{self._name}: it runs beyond its end")
            step = program.steps[state.position]
            if step.name in _JUMPS:
                state.position = program.target(step)
            elif _moves(step, state, program.handler(state.position)):
                state.position += 1
            elif (outcome := _known(step, state)) is not None:
                state.position, change = _branches(program, step, state)[0 if outcome else 1]
                del state.stack[len(state.stack) + change :]
            else:
                return step
            if len(state.stack) > MAX_STACK:
                raise DiffersError(f"{self._name}: it fills the stack")
            if step.opcode != _RETURN_CONST:
                self._deepest = max(self._deepest, len(state.stack))
            passed += 1
            if passed > 2 * len(program.steps):
                return None

    def _require_same_state(self, step: _Step, left: _State, right: _State) -> None:
        if step.name == "RETURN_VALUE":
            # Nobody sees any more what else there was.
            left.stack, right.stack = left.stack[-1:], right.stack[-1:]
            left.variables, right.variables = {}, {}
        if len(left.stack) != len(right.stack):
            raise DiffersError(f"{self._name}: {_said(step)} with another stack")
        if step.name == "STORE_NAME" and step.operand == ("__static_attributes__", 0):
            # Releases of 3.13 write this tuple of names in different orders.
            left.stack, right.stack = _sorted(left.stack, self._one), _sorted(right.stack, self._other)
        if step.name == "STORE_NAME" and step.operand == ("__firstlineno__", 0):
            left.stack, right.stack = left.stack[:-1], right.stack[:-1]  # a position, as in the tables
        for one, other in zip(left.stack, right.stack, strict=True):
            if not self._same(one, other):
                raise DiffersError(f"{self._name}: {_said(step)} with another value")
        for name in left.variables.keys() | right.variables.keys():
            self._require_same_variable(name, left, right)
        if left.checked != right.checked:
            raise DiffersError(f"{self._name}: it reads other variables")

    def _require_same_variable(self, name: str, left: _State, right: _State) -> None:
        before: list[Term] = [("variable", name)]
        mine, others = left.variables.get(name, before), right.variables.get(name, before)
        if self._same(mine[-1], others[-1]):
            return
        unread = name not in self._one.read and name not in self._other.read
        if unread and sorted(map(repr, mine)) == sorted(map(repr, others)):
            return  # before 3.11.4, "_, x, _ = a, b, c" could leave either value in a variable
        raise DiffersError(f"{self._name}: another value in {name}")

    def _same(self, one: Term, other: Term) -> bool:
        if one[0] == other[0] == "code":
            mine, others = one[1], other[1]
            if isinstance(mine, CodeType) and isinstance(others, CodeType):
                self._within.append((mine, others))
                return True
        return one == other

    def _follow(self, mine: _Step, others: _Step, left: _State, right: _State) -> None:
        depth = len(left.stack)
        caught, also = self._one.handler(left.position), self._other.handler(right.position)
        if (caught is None) != (also is None) or (caught and also and caught[1:] != also[1:]):
            raise DiffersError(f"{self._name}: {_said(mine)} with another handler")
        if caught is not None and also is not None:
            self._wait(caught[0], also[0], caught[1] + caught[2] + 1)
            if caught[1] > depth:
                raise DiffersError(f"{self._name}: a handler needs more of the stack than there is")
        if mine.name in _ENDS:
            return
        if mine.opcode not in dis.hasjrel and mine.opcode not in dis.hasjabs:
            # Where a generator goes on, there is a value that was sent to it.
            change = 1 if mine.name == "RETURN_GENERATOR" else dis.stack_effect(mine.opcode, mine.argument)
            self._wait(left.position + 1, right.position + 1, depth + change)
            return
        holds = True
        ways = zip(_branches(self._one, mine, left), _branches(self._other, others, right), strict=True)
        for (first, change), (second, also_changes) in ways:
            if change != also_changes:
                raise DiffersError(f"{self._name}: {_said(mine)} with another stack")
            self._wait(first, second, depth + change, _found(mine, left, depth + change, holds=holds))
            holds = not holds

    def _wait(self, first: int, second: int, depth: int, known: Known | None = None) -> None:
        if depth < 0:
            raise DiffersError(f"{self._name}: it takes more from the stack than there is")
        self._deepest = max(self._deepest, depth)
        self._waiting.append(_Pair(first, second, depth, known))


def _require_same_head(one: CodeType, other: CodeType, name: str) -> None:
    """What a caller, ``help`` or a closure sees of a code object."""
    for what in (
        "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_flags", "co_name", "co_qualname",
        "co_freevars", "co_cellvars",
    ):  # fmt: skip
        if getattr(one, what, None) != getattr(other, what, None):
            raise DiffersError(f"{name}: another {what}")
    arguments = one.co_argcount + one.co_kwonlyargcount + bool(one.co_flags & 4) + bool(one.co_flags & 8)
    if one.co_varnames[:arguments] != other.co_varnames[:arguments]:
        raise DiffersError(f"{name}: other arguments")
    if sorted(one.co_varnames) != sorted(other.co_varnames):
        raise DiffersError(f"{name}: other variables")
    if one.co_flags & _OPTIMIZED and _documentation(one) != _documentation(other):
        raise DiffersError(f"{name}: another documentation")
    if other.co_stacksize > 4 * one.co_stacksize + 100:
        raise DiffersError(f"{name}: it asks for far more of the stack")


def _documentation(code: CodeType) -> object:
    first = code.co_consts[0] if code.co_consts else None
    return first if isinstance(first, str) else None


def _merged(listed: dis.Bytecode, code: CodeType) -> Iterator[_Step]:
    """The instructions, each with its EXTENDED_ARG prefixes."""
    at: int | None = None
    for one in listed:
        at = one.offset if at is None else at
        if one.opname == "EXTENDED_ARG":
            continue
        if one.opname == "RETURN_CONST":
            yield _Step(at, one.opcode, "LOAD_CONST", one.arg, *_operand(one, code))
            yield _Step(at, dis.opmap["RETURN_VALUE"], "RETURN_VALUE", None, None, None)
        else:
            yield _Step(at, one.opcode, one.opname, one.arg, *_operand(one, code))
        at = None
    if at is not None:
        raise ValueError("a prefix without an instruction")


def _operand(one: dis.Instruction, code: CodeType) -> tuple[object, object]:
    """What an instruction works with: the value itself, and something that two codes can agree upon."""
    number = one.arg or 0
    if _branching(one.opcode):
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


def _reads(step: _Step) -> bool:
    return step.opcode in dis.haslocal and step.name not in _STORES


def _branching(opcode: int) -> bool:
    return opcode in dis.hasjrel or opcode in dis.hasjabs


def _kind(step: _Step) -> str:
    """What an effect is, whichever way a jump goes."""
    if not _branching(step.opcode):
        return step.name
    name = step.name.replace("_FORWARD", "").replace("_BACKWARD", "")
    if name in ("POP_JUMP_IF_TRUE", "POP_JUMP_IF_FALSE"):
        return "truth"
    return "none" if name in ("POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE") else name


def _branches(program: _Program, step: _Step, state: _State) -> list[tuple[int, int]]:
    """Where a branch goes when its test holds and when not, and how the stack has changed then."""
    jumps = (program.target(step), dis.stack_effect(step.opcode, step.argument, jump=True))
    stays = (state.position + 1, dis.stack_effect(step.opcode, step.argument, jump=False))
    return [stays, jumps] if step.name.endswith(("IF_FALSE", "IF_NOT_NONE")) else [jumps, stays]


def _known(step: _Step, state: _State) -> bool | None:
    """How a test comes out that was just made of the same value; compilers leave such a one out or not."""
    known, test = state.known, _TESTS.get(_kind(step))
    if known is None or test != known.test or not state.stack or state.stack[-1] not in known.terms:
        return None
    return known.outcome


def _found(step: _Step, state: _State, depth: int, *, holds: bool) -> Known | None:
    """What a test with this outcome says of what is in ``depth`` places and in the variables afterwards."""
    test = _TESTS.get(_kind(step))
    if test is None or not state.stack or state.stack[-1][0] in ("constant", "code"):
        return None
    tested = state.stack[-1]
    terms: set[Term] = {("place", number) for number, one in enumerate(state.stack[:depth]) if one == tested}
    terms |= {("variable", name) for name, stored in state.variables.items() if stored[-1] == tested}
    if tested[0] == "variable" and tested[1] not in state.variables:
        terms.add(tested)
    return Known(test, holds, frozenset(terms)) if terms else None


def _effects(program: _Program) -> set[object]:
    """What a code works with and does, in no order."""
    found: set[object] = set()
    for step in program.steps:
        if step.name in _LOADS or step.name in _STORES or step.name == "STORE_FAST_LOAD_FAST":
            found.update(("variable", name) for name in _named(step))
        elif step.name in _JUMPS | _NOTHING | {"POP_TOP", "SWAP", "COPY", "DUP_TOP"}:
            continue
        else:
            found.add(_TESTS.get(_kind(step)) or (_kind(step), step.operand))
    return found


def _moves(step: _Step, state: _State, handler: tuple[int, int, bool] | None) -> bool:
    """Do what ``step`` says when that only moves values about; whether it did."""
    stack, name = state.stack, step.name
    count = _ROTATIONS.get(name, step.argument or 0)
    if name in _NOTHING:
        return True
    if name in _LOADS:
        for variable in _named(step):
            _load(variable, state, handler)
    elif name in _STORES:
        for variable in _named(step):
            _store(variable, state)
    elif name == "STORE_FAST_LOAD_FAST":
        first, second = _named(step)
        _store(first, state)
        _load(second, state, handler)
    elif name == "LOAD_FAST_AND_CLEAR":
        variable = str(step.value)
        stack.append(state.variables.get(variable, [("variable", variable)])[-1])
        state.variables.setdefault(variable, []).append(_UNBOUND)
    elif name in ("LOAD_CONST", "LOAD_SMALL_INT"):
        stack.append(_constant(step))
    elif name == "PUSH_NULL":
        stack.append(_NULL)
    elif name == "POP_TOP":
        _taken(stack, 1)
    elif name == "COPY":
        stack.append(_taken(list(stack), count)[0])
    elif name == "SWAP":
        top = _taken(stack, count)
        stack += [top[-1], *top[1:-1], top[0]] if count > 1 else top
    elif name in _ROTATIONS or name == "ROT_N":
        top = _taken(stack, count)
        stack += [top[-1], *top[:-1]]
    elif name in ("DUP_TOP", "DUP_TOP_TWO"):
        stack += _taken(list(stack), 1 if name == "DUP_TOP" else 2)
    else:
        return False
    return True


def _store(variable: str, state: _State) -> None:
    state.variables.setdefault(variable, []).append(_taken(state.stack, 1)[0])


def _load(variable: str, state: _State, handler: tuple[int, int, bool] | None) -> None:
    stored = state.variables.get(variable)
    term: Term = stored[-1] if stored else ("variable", variable)
    bound = stored or (state.known is not None and term in state.known.terms)
    if not bound and sys.version_info < (3, 12):
        # It raises when the variable is not bound; later versions check by instructions of their own.
        state.checked.add((variable, handler is not None))
    state.stack.append(term)


def _taken(stack: list[Term], count: int) -> list[Term]:
    """The topmost ``count`` values, taken away."""
    if not 0 < count <= len(stack):
        raise DiffersError("it takes more from the stack than there is")
    top = stack[-count:]
    del stack[-count:]
    return top


def _named(step: _Step) -> tuple[str, ...]:
    value = step.value
    return tuple(str(name) for name in value) if isinstance(value, tuple) else (str(value),)


def _constant(step: _Step) -> Term:
    if isinstance(step.value, CodeType):
        return ("code", step.value)
    return ("constant", step.operand)


def _sorted(terms: list[Term], program: _Program) -> list[Term]:
    """The last term, a constant tuple of names, in order."""
    for names in program.code.co_consts if terms else ():
        if type(names) is tuple and terms[-1] == ("constant", codeobject.constant(names)):
            in_order = codeobject.constant(tuple(sorted(map(str, names))))
            return (
                [*terms[:-1], ("constant", in_order)] if all(isinstance(one, str) for one in names) else terms
            )
    return terms


def _said(step: _Step) -> str:
    return f"{step.name} {step.value}"[:120] if step.argument is not None else step.name


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
