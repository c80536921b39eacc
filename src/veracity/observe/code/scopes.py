"""Names in a source file: scopes, what is known of a variable, and constants that are computed in the
text."""

from __future__ import annotations

import ast
import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field

from . import vocabulary as words

MAX_CONSTANT = 1 << 20
MAX_FOLD = 24
MAX_NAME = 200
MIN_LOOKS, LOOKS_PER_BYTE = 200_000, 30
"""Looks at expressions in one file: ordinary ones need less than one for each byte."""
Constant = str | bytes | int | float | bool | None
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class TooComplexError(Exception):
    """A file whose expressions would take too long to be followed."""


class Unknown:
    """What is not known when the text is read."""


UNKNOWN = Unknown()


@dataclass(frozen=True, slots=True)
class Foreign:
    """A function of a neighbour: triggers that it asks for, and those by which it chooses; what it makes of
    its first argument; whether it waits."""

    bits: int = 0
    chosen: int = 0
    how: str = ""
    waits: bool = False


@dataclass(slots=True)
class Exports:
    """What a file defines at its top: constants, variables that triggers chose, and functions."""

    constants: dict[str, Constant] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    functions: dict[str, Foreign] = field(default_factory=dict)


@dataclass(slots=True)
class Value:
    """What is known of a variable: bits of its kinds and triggers, its dotted name, its constant, its
    text."""

    bits: int = 0
    name: str = ""
    constant: Constant | Unknown = UNKNOWN
    node: ast.AST | None = None
    asked: int = 0


@dataclass(slots=True)
class CallSite:
    """A call of one of the file's own functions: from where, within which loops and conditions."""

    scope: Scope
    guards: tuple[object, ...]
    loops: tuple[Loop, ...]


@dataclass(slots=True)
class Loop:
    """A loop; ``trains`` when a step of training is made in it, ``polls`` when it goes on until a call
    says so."""

    trains: bool = False
    polls: bool = False


@dataclass(slots=True)
class Scope:
    """A module, class or function that is being read."""

    name: str
    kind: str
    parent: Scope | None = None
    node: ast.AST | None = None
    bases: str = ""
    values: dict[str, Value] = field(default_factory=dict)
    roles: set[str] = field(default_factory=set)
    steps: bool = False
    loops_train: bool = False
    parameters: frozenset[str] = frozenset()


def roles_around(scope: Scope | None) -> set[str]:
    """Roles of a function and of those that it is defined in."""
    found: set[str] = set()
    while scope is not None and scope.kind == "function":
        found |= scope.roles
        scope = scope.parent
    return found


class Names:
    """Resolves names and folds constants in one file, without executing anything."""

    def __init__(self, size: int) -> None:
        """``size`` of the file in bytes."""
        self.module = Scope("", "module")
        self.scope = self.module
        self.functions: dict[str, list[Function]] = {}
        self.attributes: dict[str, Value] = {}
        self.counters: set[str] = set()
        self._left = MIN_LOOKS + LOOKS_PER_BYTE * size
        self.stored: dict[str, int] = {}
        self.used: dict[str, set[str]] = {}
        self.foreign = Exports()

    def spend(self) -> None:
        """Count one look at an expression. Raises TooComplexError where a file asks for too many of them."""
        self._left -= 1
        if self._left < 0:
            raise TooComplexError

    def value(self, name: str) -> Value | None:
        """What is known of a variable where the reading has come to."""
        scope: Scope | None = self.scope
        while scope is not None:
            if scope.kind != "class" or scope is self.scope:
                found = scope.values.get(name)
                if found is not None:
                    return found
                if name in scope.parameters:
                    return None
            scope = scope.parent
        return None

    def dotted(self, node: ast.AST, depth: int = 0) -> str:
        """The dotted name that an expression stands for, imports followed; empty when it is none."""
        self.spend()
        if depth > MAX_FOLD:
            return ""
        if isinstance(node, ast.Name):
            known = self.value(node.id)
            return known.name if known is not None and known.name else node.id
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value, depth + 1)
            if not owner:
                return ""
            full = f"{owner}.{node.attr}"
            known = self.attributes.get(full) if owner in ("self", "cls") else None
            return (known.name if known is not None and known.name else full)[:MAX_NAME]
        if isinstance(node, ast.Call):
            return self._called(node, depth)
        if isinstance(node, ast.Subscript):
            return self._item(node, depth)
        if isinstance(node, ast.NamedExpr):
            return self.dotted(node.value, depth + 1)
        return ""

    def _called(self, node: ast.Call, depth: int) -> str:
        """Calls that give a thing by its name: ``getattr``, ``__import__``, ``attrgetter``, ``partial`` …"""
        function = self.dotted(node.func, depth + 1).removeprefix("builtins.")
        if function in ("getattr", "inspect.getattr_static") and len(node.args) >= 2:
            key = self.fold(node.args[1])
            owner = self.dotted(node.args[0], depth + 1)
            return f"{owner}.{key}" if owner and isinstance(key, str) else ""
        if function in ("__import__", "importlib.import_module", "importlib.__import__") and node.args:
            key = self.fold(node.args[0])
            if isinstance(key, str):
                return key if function.endswith("module") else key.partition(".")[0]
            return ""
        if function == "functools.partial" and node.args:
            return self.dotted(node.args[0], depth + 1)
        if function in ("vars", "type", "inspect.unwrap") and len(node.args) == 1:
            owner = self.dotted(node.args[0], depth + 1)
            return f"{owner}.{'__dict__' if function == 'vars' else '__class__'}" if owner else ""
        if function in ("globals", "locals") and not node.args:
            return "globals()"
        if (
            isinstance(node.func, ast.Call)
            and self.dotted(node.func.func, depth + 1) == "operator.attrgetter"
        ):
            key = self.fold(node.func.args[0]) if node.func.args else UNKNOWN
            owner = self.dotted(node.args[0], depth + 1) if node.args else ""
            return f"{owner}.{key}" if owner and isinstance(key, str) else ""
        if function == "psutil.Process":
            return "psutil.Process"
        if function in ("pathlib.Path", "Path", "threading.Event", "threading.Condition", "torch.Generator"):
            return f"{function}()"
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "__getitem__") and node.args:
            owner = function.rpartition(".")[0]
            key = self.fold(node.args[0])
            if owner.endswith("__dict__") and isinstance(key, str):
                return f"{owner.removesuffix('.__dict__')}.{key}"
            if owner == "sys.modules" and isinstance(key, str):
                return key
        return ""

    def _item(self, node: ast.Subscript, depth: int) -> str:
        owner = self.dotted(node.value, depth + 1)
        key = self.fold(node.slice)
        if isinstance(key, str):
            if owner == "sys.modules":
                return key
            if owner == "globals()":
                return self.dotted(ast.Name(key, ast.Load()), depth + 1)
            if owner.endswith(".__dict__"):
                return f"{owner.removesuffix('.__dict__')}.{key}"
            if owner == "__builtins__":
                return key
        return ""

    def fold(self, node: ast.AST | None, depth: int = 0) -> Constant | Unknown:
        """The constant that an expression is, as far as the text tells; UNKNOWN otherwise."""
        if node is None or depth > MAX_FOLD:
            return UNKNOWN
        if isinstance(node, ast.Constant):
            value = node.value
            return value if isinstance(value, (str, bytes, int, float)) or value is None else UNKNOWN
        if isinstance(node, ast.Name):
            known = self.value(node.id) if self.stored.get(node.id, 0) < 2 else None
            if known is not None and known.name in self.foreign.constants:
                return self.foreign.constants[known.name]
            return known.constant if known is not None else UNKNOWN
        if isinstance(node, ast.Attribute):
            full = self.dotted(node)
            if full in self.foreign.constants:
                return self.foreign.constants[full]
            known = self.attributes.get(full) if self.stored.get(node.attr, 0) < 2 else None
            return known.constant if known is not None else UNKNOWN
        if isinstance(node, ast.BinOp):
            return _computed(node.op, self.fold(node.left, depth + 1), self.fold(node.right, depth + 1))
        if isinstance(node, ast.UnaryOp):
            inner = self.fold(node.operand, depth + 1)
            if isinstance(inner, (int, float)):
                if isinstance(node.op, ast.USub):
                    return -inner
                return inner if isinstance(node.op, ast.UAdd) else UNKNOWN
            return UNKNOWN
        if isinstance(node, ast.JoinedStr):
            return self._joined(node, depth)
        if isinstance(node, ast.Call):
            return self._folded_call(node, depth)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            inner = self.fold(node.value, depth + 1)
            if isinstance(inner, (str, bytes)) and self.fold(node.slice.step) == -1:
                return inner[::-1]
        return UNKNOWN

    def _joined(self, node: ast.JoinedStr, depth: int) -> str | Unknown:
        parts = []
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            value = self.fold(inner, depth + 1)
            if not isinstance(value, (str, int)):
                return UNKNOWN
            parts.append(str(value))
        return "".join(parts)[:MAX_CONSTANT]

    def _folded_call(self, node: ast.Call, depth: int) -> Constant | Unknown:
        first = node.args[0] if node.args else None
        if isinstance(node.func, ast.Attribute):
            method = node.func.attr
            if method == "join" and isinstance(first, (ast.List, ast.Tuple)):
                glue = self.fold(node.func.value, depth + 1)
                parts = [self.fold(one, depth + 1) for one in first.elts[:1000]]
                if isinstance(glue, str) and all(isinstance(one, str) for one in parts):
                    return glue.join(str(one) for one in parts)[:MAX_CONSTANT]
            if method in ("decode", "encode", "strip", "lower", "upper") and not isinstance(first, ast.Call):
                inner = self.fold(node.func.value, depth + 1)
                if isinstance(inner, bytes) and method == "decode":
                    return inner.decode("utf-8", "replace")
                if isinstance(inner, str) and method == "encode":
                    return inner.encode(errors="replace")
                if isinstance(inner, str) and method != "decode":
                    return {"strip": inner.strip(), "lower": inner.lower(), "upper": inner.upper()}[method]
        name = self.dotted(node.func)
        if name in ("chr", "builtins.chr"):
            code = self.fold(first, depth + 1)
            return chr(code) if isinstance(code, int) and 0 <= code < 0x110000 else UNKNOWN
        if name in ("bytes", "bytearray") and isinstance(first, (ast.List, ast.Tuple)):
            codes = [self.fold(one, depth + 1) for one in first.elts[:65536]]
            numbers = [one for one in codes if isinstance(one, int) and 0 <= one < 256]
            return bytes(numbers) if len(numbers) == len(codes) else UNKNOWN
        if name in ("float", "int", "str", "bytes", "builtins.float", "builtins.int") and len(node.args) == 1:
            inner = self.fold(first, depth + 1)
            if isinstance(inner, (int, float)) and name.endswith(("float", "int")):
                return inner
            if isinstance(inner, str) and name.endswith("float"):
                return _number(inner)
            return inner if isinstance(inner, str) and name == "str" else UNKNOWN
        if name in _DECODE:
            inner = self.fold(first, depth + 1)
            if isinstance(inner, (str, bytes)):
                return _decoded(name, inner)
        return UNKNOWN


def _number(text: str) -> float | Unknown:
    try:
        return float(text[:64])
    except ValueError:
        return UNKNOWN


_DECODE = {
    "base64.b64decode": base64.b64decode, "base64.urlsafe_b64decode": base64.urlsafe_b64decode,
    "base64.b32decode": base64.b32decode, "base64.b16decode": base64.b16decode,
    "base64.b85decode": base64.b85decode, "binascii.unhexlify": binascii.unhexlify,
    "bytes.fromhex": binascii.unhexlify, "base64.standard_b64decode": base64.standard_b64decode,
}  # fmt: skip


def _decoded(name: str, data: str | bytes) -> bytes | Unknown:
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    if len(raw) > MAX_CONSTANT:
        return UNKNOWN
    try:
        return bytes(_DECODE[name](raw))
    except (ValueError, binascii.Error):
        return UNKNOWN


def _computed(
    operation: ast.operator, left: Constant | Unknown, right: Constant | Unknown
) -> Constant | Unknown:
    """Sums of texts and simple arithmetic; nothing that could grow without bound."""
    if isinstance(operation, ast.Add):
        if isinstance(left, str) and isinstance(right, str):
            return (left + right)[:MAX_CONSTANT]
        if isinstance(left, bytes) and isinstance(right, bytes):
            return (left + right)[:MAX_CONSTANT]
    if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
        return UNKNOWN
    if max(abs(left), abs(right)) > 1e30:
        return UNKNOWN
    try:
        if isinstance(operation, ast.Pow):
            return float(left) ** float(right) if 0 < left < 1e6 and abs(right) < 1e3 else UNKNOWN
        if isinstance(operation, ast.Add):
            return left + right
        if isinstance(operation, ast.Sub):
            return left - right
        if isinstance(operation, ast.Mult):
            return left * right
        if isinstance(operation, ast.Div):
            return left / right
    except (OverflowError, ZeroDivisionError):
        return UNKNOWN
    return UNKNOWN


def parts_of(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all in it, but for what says nothing: whether a name is read or set."""
    pending = [node]
    while pending:
        one = pending.pop()
        yield one
        for name in one._fields:
            value = getattr(one, name, None)
            if isinstance(value, list):
                pending += [part for part in value if isinstance(part, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                pending.append(value)


def is_written(node: ast.AST) -> bool:
    """Whether an expression consists of numbers that stand in the text."""
    if isinstance(node, ast.UnaryOp):
        return is_written(node.operand)
    if isinstance(node, ast.BinOp):
        return is_written(node.left) and is_written(node.right)
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return bool(node.elts) and all(is_written(one) for one in node.elts)
    if not isinstance(node, ast.Constant):
        return False
    return isinstance(node.value, (int, float)) or (isinstance(node.value, str) and node.value.isdigit())


def call_name(names: Names, node: ast.Call) -> str:
    """The dotted name of what is called, or of what a constant dictionary has under a key."""
    found = names.dotted(node.func).removeprefix("__builtins__.")
    if found or not isinstance(node.func, ast.Subscript):
        return found
    held = node.func.value
    if isinstance(held, ast.Name):
        known = names.value(held.id)
        held = known.node if known is not None and isinstance(known.node, ast.expr) else held
    parts: list[ast.expr] = []
    if isinstance(held, ast.Dict):
        parts = held.values
    elif isinstance(held, (ast.List, ast.Tuple)):
        parts = held.elts
    resolved = [names.dotted(one) for one in parts[:16]]
    return next((one for one in resolved if one in words.CALLS), "")
