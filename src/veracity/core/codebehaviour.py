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
from dataclasses import dataclass, field
from types import CodeType
from typing import NamedTuple

from . import codeobject
from .errors import EvidenceError
from .instructions import LOADS, STORES, DiffersError, Program, Step, is_branch, named_by

MAX_DEPTH = 200
MAX_STACK = 100_000
_OPTIMIZED = 0x1  # CO_OPTIMIZED: set on functions, not on class and module bodies

_JUMPS = frozenset({"JUMP_FORWARD", "JUMP_ABSOLUTE", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"})
_NOTHING = frozenset({"NOP", "NOT_TAKEN"})
_RETURN_CONST = dis.opmap.get("RETURN_CONST", -1)  # returns a constant that is never on the stack
_ROTATIONS = {"ROT_TWO": 2, "ROT_THREE": 3, "ROT_FOUR": 4}
_ENDS = frozenset({"RETURN_VALUE", "RAISE_VARARGS", "RERAISE"})
_TESTS = {"truth": "truth", "none": "none", "JUMP_IF_TRUE_OR_POP": "truth", "JUMP_IF_FALSE_OR_POP": "truth"}
Term = tuple[object, ...]
"""What stands in a place of the stack or in a variable: a constant, or what was there at the last effect."""
_GENERATORS = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR
_UNBOUND: Term = ("unbound",)
_NULL: Term = ("null",)


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
        self._one, self._other = Program(one), Program(other)
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

    def _advance(self, program: Program, state: _State) -> Step | None:
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

    def _require_same_state(self, step: Step, left: _State, right: _State) -> None:
        if step.name == "RETURN_VALUE":
            # Nobody sees any more what else there was.
            left.stack, right.stack = left.stack[-1:], right.stack[-1:]
            left.variables, right.variables = {}, {}
        if len(left.stack) != len(right.stack):
            raise DiffersError(f"{self._name}: {_said(step)} with another stack")
        if step.name == "STORE_NAME" and step.operand == ("__static_attributes__", 0):
            # Releases of 3.13 write this tuple of names in different orders.
            left.stack, right.stack = _sorted(left.stack, self._one), _sorted(right.stack, self._other)
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
            return  # of "_, x, _ = a, b, c" releases of 3.11 leave one value or the other in a variable
        raise DiffersError(f"{self._name}: another value in {name}")

    def _same(self, one: Term, other: Term) -> bool:
        if one[0] == other[0] == "code":
            mine, others = one[1], other[1]
            if isinstance(mine, CodeType) and isinstance(others, CodeType):
                self._within.append((mine, others))
                return True
        return one == other

    def _follow(self, mine: Step, others: Step, left: _State, right: _State) -> None:
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
        if not is_branch(mine.opcode):
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
        "co_firstlineno",  # by it a function's source is found: what compiles that again would find another
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


def _kind(step: Step) -> str:
    """What an effect is, whichever way a jump goes."""
    if not is_branch(step.opcode):
        return step.name
    name = step.name.replace("_FORWARD", "").replace("_BACKWARD", "")
    if name in ("POP_JUMP_IF_TRUE", "POP_JUMP_IF_FALSE"):
        return "truth"
    return "none" if name in ("POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE") else name


def _branches(program: Program, step: Step, state: _State) -> list[tuple[int, int]]:
    """Where a branch goes when its test holds and when not, and how the stack has changed then."""
    jumps = (program.target(step), dis.stack_effect(step.opcode, step.argument, jump=True))
    stays = (state.position + 1, dis.stack_effect(step.opcode, step.argument, jump=False))
    return [stays, jumps] if step.name.endswith(("IF_FALSE", "IF_NOT_NONE")) else [jumps, stays]


def _known(step: Step, state: _State) -> bool | None:
    """How a test comes out that was just made of the same value; compilers leave such a one out or not."""
    known, test = state.known, _TESTS.get(_kind(step))
    if known is None or test != known.test or not state.stack or state.stack[-1] not in known.terms:
        return None
    return known.outcome


def _found(step: Step, state: _State, depth: int, *, holds: bool) -> Known | None:
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


def _effects(program: Program) -> set[object]:
    """What a code works with and does, in no order."""
    found: set[object] = set()
    for step in program.steps:
        if step.name in LOADS or step.name in STORES or step.name == "STORE_FAST_LOAD_FAST":
            found.update(("variable", name) for name in named_by(step))
        elif step.name in _JUMPS | _NOTHING | {"POP_TOP", "SWAP", "COPY", "DUP_TOP"}:
            continue
        else:
            found.add(_TESTS.get(_kind(step)) or (_kind(step), step.operand))
    return found


def _moves(step: Step, state: _State, handler: tuple[int, int, bool] | None) -> bool:
    """Do what ``step`` says when that only moves values about; whether it did."""
    stack, name = state.stack, step.name
    count = _ROTATIONS.get(name, step.argument or 0)
    if name in _NOTHING:
        return True
    if name in LOADS:
        for variable in named_by(step):
            _load(variable, state, handler)
    elif name in STORES:
        for variable in named_by(step):
            _store(variable, state)
    elif name == "STORE_FAST_LOAD_FAST":
        first, second = named_by(step)
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


def _constant(step: Step) -> Term:
    if isinstance(step.value, CodeType):
        return ("code", step.value)
    return ("constant", step.operand)


def _sorted(terms: list[Term], program: Program) -> list[Term]:
    """The last term, a constant tuple of names, in order."""
    for names in program.code.co_consts if terms else ():
        if type(names) is tuple and terms[-1] == ("constant", codeobject.constant(names)):
            in_order = codeobject.constant(tuple(sorted(names, key=repr)))
            return [*terms[:-1], ("constant", in_order)]
    return terms


def _said(step: Step) -> str:
    return f"{step.name} {step.value}"[:120] if step.argument is not None else step.name
