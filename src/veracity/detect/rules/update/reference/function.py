"""Reference functions for optimizers that are not torch's: how one is written, and that it is no more.

A reference file is Python to look at, and is read, never run. For each optimizer class it holds a function of
the class' bare name (or of any name, with ``optimizer: module.Class`` as a line of its docstring), which says
for one element what a step makes of it::

    def Lion(param, grad, exp_avg=0.0, *, lr, betas, weight_decay=0.0):
        direction = sign(betas[0] * exp_avg + (1 - betas[0]) * grad)
        return {
            "param": param * (1 - lr * weight_decay) - lr * direction,
            "exp_avg": betas[1] * exp_avg + (1 - betas[1]) * grad,
        }

Positional parameters are values before the step: ``param``, ``grad``, then states under the optimizer's own
keys, each with the number that it begins with, if that is one. Keyword-only parameters are entries of the
parameter group as they are when ``step`` is called; ``step`` is the tensor's own step count after this step.
The subset is that small so that whoever approves such a file can see all that it can do, and so that each
operation has a known rounding (``evaluation.py``).
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NoReturn, TypeAlias

from .....core.errors import UsageError

MAX_TEXT = 32 << 10
MAX_NODES = 2000
MAX_DEPTH = 40
MAX_FUNCTIONS = 64
MAX_EXPONENT = 64
MAX_NUMBER = 1e30
COUNT = "step"
FUNCTIONS = {
    "sqrt": (1, 1),
    "abs": (1, 1),
    "sign": (1, 1),
    "exp": (1, 1),
    "log": (1, 1),
    "min": (2, 8),
    "max": (2, 8),
}
"""What may be called, with the least and the largest number of arguments."""

ALLOWED = (
    "one function per optimizer class: `def Class(param, grad, state=0.0, …, *, lr, …)`; in it assignments "
    'to single names, `if` on hyper-parameters, and `return {"param": …, "state": …}`; in these + - * / **, '
    "`a if x < y else b`, hyper[0], and sqrt, abs, sign, min, max, exp, log"
)  # fmt: skip

Default: TypeAlias = "None | bool | float | list[None | bool | int | float | str]"
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


@dataclass(frozen=True, slots=True)
class Reference:
    """One function: ``name`` of the class it is for, with its module if ``full``, and where it stands.

    ``states`` are in the order of its parameters; ``begins`` holds what they begin with where that is known.
    ``defaults`` are those of hyper-parameters; ``counted``: it takes the tensor's step count.
    """

    name: str
    full: bool
    path: str
    line: int
    states: tuple[str, ...]
    begins: dict[str, float]
    hypers: tuple[str, ...]
    defaults: dict[str, Default]
    counted: bool
    body: tuple[ast.stmt, ...]

    def fits(self, class_name: str) -> bool:
        """Whether it is meant for the class of this full name."""
        return class_name == self.name if self.full else class_name.rpartition(".")[2] == self.name


def parse(text: str, path: str = "") -> tuple[Reference, ...]:
    """The functions of a reference file; raises UsageError, naming the line, for what is not allowed."""
    if len(text) > MAX_TEXT:
        raise UsageError(f"a reference file has at most {MAX_TEXT} characters", where=path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError as error:
        where = f"{path}:{error.lineno}" if error.lineno else path
        raise UsageError(f"this is not Python: {error.msg}", where=where, remedy=ALLOWED) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise UsageError("this is not Python that can be read", where=path, remedy=ALLOWED) from error
    found: dict[str, Reference] = {}
    budget = _Budget(path)
    for statement in _without_docstring(tree.body):
        if not isinstance(statement, ast.FunctionDef):
            refuse(path, statement, f"{_called(statement)} is not allowed beside the functions")
        reference = _Function(path, budget).read(statement)
        if reference.name in found:
            refuse(path, statement, f"there are two functions for {reference.name}")
        found[reference.name] = reference
        if len(found) > MAX_FUNCTIONS:
            refuse(path, statement, f"there are more than {MAX_FUNCTIONS} functions")
    if not found:
        raise UsageError("there is no function in the reference file", where=path, remedy=ALLOWED)
    return tuple(found.values())


def refuse(path: str, node: ast.AST, what: str) -> NoReturn:
    """Raise the UsageError that names the line."""
    line = getattr(node, "lineno", 0)
    raise UsageError(f"{what} (line {line})", where=f"{path}:{line}" if path else "", remedy=ALLOWED)


def _without_docstring(body: Sequence[ast.stmt]) -> Sequence[ast.stmt]:
    return body[1:] if _docstring(body) is not None else body


def _docstring(body: Sequence[ast.stmt]) -> str | None:
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        value = body[0].value.value
        return value if isinstance(value, str) else None
    return None


def _called(node: ast.AST) -> str:
    return {
        ast.Import: "an import", ast.ImportFrom: "an import", ast.For: "a loop", ast.While: "a loop",
        ast.Attribute: "an attribute", ast.ClassDef: "a class", ast.AugAssign: "an assignment such as +=",
        ast.Lambda: "a function in an expression", ast.FunctionDef: "a function within a function",
    }.get(type(node), type(node).__name__)  # fmt: skip


class _Budget:
    """Bounds what all functions of a file may hold together."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._left = MAX_NODES

    def spend(self, node: ast.AST, depth: int) -> None:
        """One more node, so deep."""
        self._left -= 1
        if self._left < 0:
            refuse(self._path, node, f"the file is too long: it has more than {MAX_NODES} parts")
        if depth > MAX_DEPTH:
            refuse(self._path, node, f"this is nested more than {MAX_DEPTH} deep")


class _Function:
    """Reads one function. ``_values`` are names with one value per element, ``_known`` all that are set."""

    def __init__(self, path: str, budget: _Budget) -> None:
        self._path = path
        self._budget = budget
        self._known: set[str] = set()
        self._values: set[str] = set()
        self._hypers: tuple[str, ...] = ()
        self._states: tuple[str, ...] = ()

    def read(self, node: ast.FunctionDef) -> Reference:
        """The reference; raises UsageError."""
        if node.decorator_list or node.returns is not None or getattr(node, "type_params", None):
            refuse(self._path, node, "a function has no decorators, no annotations and no type parameters")
        arguments = node.args
        if arguments.posonlyargs or arguments.vararg or arguments.kwarg:
            refuse(self._path, node, "parameters are plain names, and keyword-only ones after a *")
        names = tuple(self._parameter(one) for one in arguments.args)
        keywords = tuple(self._parameter(one) for one in arguments.kwonlyargs)
        if names[:2] != ("param", "grad"):
            refuse(self._path, node, "the first two parameters are param and grad")
        self._states, self._hypers = names[2:], keywords
        if COUNT in names:
            refuse(self._path, node, "step is keyword-only: it is no value of an element")
        self._known = {*names, *keywords}
        self._values = set(names)
        if not self._block(_without_docstring(node.body), 1):
            refuse(self._path, node, f"{node.name[:80]} does not end with a return on each way through it")
        name, full = self._meant(node)
        return Reference(
            name,
            full,
            self._path,
            node.lineno,
            self._states,
            self._beginnings(names, arguments.defaults),
            tuple(one for one in keywords if one != COUNT),
            self._defaults(keywords, arguments.kw_defaults),
            COUNT in keywords,
            tuple(_without_docstring(node.body)),
        )

    def _parameter(self, node: ast.arg) -> str:
        if node.annotation is not None:
            refuse(self._path, node, "a parameter has no annotation")
        if node.arg in FUNCTIONS:
            refuse(self._path, node, f"{node.arg} is a function")
        return node.arg

    def _meant(self, node: ast.FunctionDef) -> tuple[str, bool]:
        for line in (_docstring(node.body) or "").splitlines():
            head, colon, name = line.strip().partition("optimizer:")
            if colon and not head:
                if "." not in name.strip():
                    refuse(self._path, node, "`optimizer:` names a class with its module, module.Class")
                return name.strip(), True
        return node.name, False

    def _beginnings(self, names: Sequence[str], defaults: Sequence[ast.expr]) -> dict[str, float]:
        found = {}
        for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
            if name in ("param", "grad"):
                refuse(self._path, default, "param and grad have no default")
            found[name] = self._number(default)
        return found

    def _defaults(self, names: Sequence[str], defaults: Sequence[ast.expr | None]) -> dict[str, Default]:
        found: dict[str, Default] = {}
        for name, default in zip(names, defaults, strict=True):
            if default is None:
                continue
            if name == COUNT:
                refuse(self._path, default, "step has no default")
            if isinstance(default, ast.Constant) and isinstance(default.value, (bool, type(None))):
                found[name] = default.value
            elif isinstance(default, (ast.Tuple, ast.List)) and len(default.elts) <= 16:
                found[name] = [self._number(item) for item in default.elts]
            else:
                found[name] = self._number(default)
        return found

    def _number(self, node: ast.expr) -> float:
        negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
        inner = node.operand if isinstance(node, ast.UnaryOp) and negative else node
        if not isinstance(inner, ast.Constant):
            refuse(self._path, node, "this must be a number")
        value = number_of(inner)
        if value is None:
            refuse(self._path, node, "this must be a number that is not too large")
        return -value if negative else value

    # --- statements ------------------------------------------------------------------------------

    def _block(self, body: Sequence[ast.stmt], depth: int) -> bool:
        """Whether it returns on each way through it."""
        done = False
        for statement in body:
            self._budget.spend(statement, depth)
            if done:
                refuse(self._path, statement, "this comes after a return")
            done = self._statement(statement, depth)
        return done

    def _statement(self, node: ast.stmt, depth: int) -> bool:
        if isinstance(node, ast.Assign):
            target = node.targets[0]
            if len(node.targets) != 1 or not isinstance(target, ast.Name):
                refuse(self._path, node, "an assignment is to one name")
            if target.id in FUNCTIONS or target.id in self._hypers:
                refuse(self._path, node, f"{target.id} cannot be set")
            each = self._expression(node.value, depth + 1)
            self._known.add(target.id)
            (self._values.add if each else self._values.discard)(target.id)
            return False
        if isinstance(node, ast.Return):
            self._returned(node, depth)
            return True
        if isinstance(node, ast.If):
            return self._branches(node, depth)
        refuse(self._path, node, f"{_called(node)} is not allowed in a function")

    def _branches(self, node: ast.If, depth: int) -> bool:
        if self._condition(node.test, depth + 1):
            refuse(self._path, node, "`if` is on hyper-parameters; on values, write `a if x < y else b`")
        known, values = set(self._known), set(self._values)
        first = self._block(node.body, depth + 1)
        after = self._known, self._values
        self._known, self._values = known, values
        second = self._block(node.orelse, depth + 1)
        if not first and second:
            self._known, self._values = after
        elif not first:
            self._known, self._values = self._known & after[0], self._values | after[1]
        return first and second

    def _returned(self, node: ast.Return, depth: int) -> None:
        if not isinstance(node.value, ast.Dict):
            refuse(self._path, node, "a function returns a dict of param and states")
        seen = set()
        for key, value in zip(node.value.keys, node.value.values, strict=True):
            name = key.value if isinstance(key, ast.Constant) else None
            if not isinstance(name, str) or name not in ("param", *self._states) or name in seen:
                refuse(self._path, node, "each key is param or a state among the parameters, once, in quotes")
            seen.add(name)
            self._expression(value, depth + 2)

    # --- expressions: True where the result has one value per element ----------------------------

    def _expression(self, node: ast.expr, depth: int) -> bool:
        self._budget.spend(node, depth)
        if isinstance(node, ast.Constant):
            if number_of(node) is None:
                refuse(self._path, node, f"{str(node.value)[:40]!r} is not a number that may stand here")
            return False
        if isinstance(node, ast.Name):
            if node.id not in self._known:
                refuse(self._path, node, f"{node.id[:80]} is not set on each way to this line")
            return node.id in self._values
        if isinstance(node, ast.Subscript):
            self._subscript(node)
            return False
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return self._expression(node.operand, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, _ARITHMETIC):
            if isinstance(node.op, ast.Pow):
                self._exponent(node.right)
            return self._each(depth, node.left, node.right)
        if isinstance(node, ast.IfExp):
            return self._condition(node.test, depth + 1) | self._each(depth, node.body, node.orelse)
        if isinstance(node, ast.Call):
            return self._each(depth, *self._arguments(node))
        refuse(self._path, node, f"{_called(node)} is not allowed")

    def _each(self, depth: int, *nodes: ast.expr) -> bool:
        found = [self._expression(node, depth + 1) for node in nodes]
        return any(found)

    def _arguments(self, node: ast.Call) -> Sequence[ast.expr]:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        least, most = FUNCTIONS.get(name, (1, 0))
        if node.keywords or not least <= len(node.args) <= most:
            what = f"{name} with so many arguments" if name in FUNCTIONS else "a call of anything else"
            refuse(self._path, node, f"{what} is not allowed")
        return node.args

    def _exponent(self, node: ast.expr) -> None:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Constant) and abs(number_of(inner) or 0.0) > MAX_EXPONENT:
                refuse(self._path, node, f"an exponent is at most {MAX_EXPONENT}")
            if isinstance(inner, ast.Pow):
                refuse(self._path, node, "an exponent holds no ** of its own")

    def _subscript(self, node: ast.Subscript) -> None:
        place = node.slice
        if not (
            isinstance(node.value, ast.Name)
            and node.value.id in self._hypers
            and node.value.id != COUNT
            and isinstance(place, ast.Constant)
            and type(place.value) is int
            and 0 <= place.value < 256
        ):
            refuse(self._path, node, "an index is a number, from 0, behind the name of a hyper-parameter")

    def _condition(self, node: ast.expr, depth: int) -> bool:
        self._budget.spend(node, depth)
        if isinstance(node, ast.BoolOp):
            found = [self._condition(value, depth + 1) for value in node.values]
            return any(found)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self._condition(node.operand, depth + 1)
        if isinstance(node, ast.Compare):
            if len(node.ops) != 1:
                refuse(self._path, node, "compare two values at a time, and join with `and`")
            if isinstance(node.ops[0], (ast.Is, ast.IsNot)):
                if not is_none(node.comparators[0]) or not self._is_hyper(node.left):
                    refuse(self._path, node, "`is` only asks whether a hyper-parameter is None")
                return False
            if not isinstance(node.ops[0], _ORDER):
                refuse(self._path, node, "this comparison is not allowed")
            return self._each(depth, node.left, node.comparators[0])
        if self._is_hyper(node):
            return False
        refuse(self._path, node, "a condition is a comparison or a hyper-parameter, with not, and, or")

    def _is_hyper(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self._hypers


def number_of(node: ast.Constant) -> float | None:
    """A constant as a number that formulas may hold; None for what is none."""
    value = node.value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, int) and value.bit_length() > 128:
        return None
    return float(value) if isfinite(value) and abs(value) <= MAX_NUMBER else None


def is_none(node: ast.expr) -> bool:
    """Whether it is the constant None."""
    return isinstance(node, ast.Constant) and node.value is None
