"""What a file's statements tell before they are walked: imports, functions, counters, and who uses whom."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from . import vocabulary as words
from .scopes import Names, Scope, Value


def survey(body: Iterable[ast.stmt], names: Names, module: Scope) -> None:
    """Learn imports, functions and counters before the walk: a body may use what stands below it."""
    pending: list[tuple[ast.stmt, bool]] = [(one, True) for one in body]
    counters: set[str] = set()
    while pending:
        node, outer = pending.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if outer:
                learn_import(node, module)
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.functions.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.AugAssign):
            _learn_stored(node.target, names)
            if isinstance(node.op, ast.Add) and _counts_up(node.value):
                counters.add(counted(node.target))
            continue
        elif isinstance(node, ast.Assign):
            _learn_assigned(node, names, outer)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            learn_use(node.value, names)
        inside = outer and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for field in ("body", "orelse", "finalbody"):
            for one in getattr(node, field, ()):
                pending.append((one, inside))
        for handler in getattr(node, "handlers", ()):
            pending.extend((one, inside) for one in handler.body)
        for case in getattr(node, "cases", ()):
            pending.extend((one, inside) for one in case.body)
    names.counters.update(name for name in counters if len(name) > 1)


def _counts_up(node: ast.expr) -> bool:
    """Whether something is counted: by one, or by the number of items of a batch."""
    if isinstance(node, ast.Constant):
        return node.value == 1
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Attribute) and node.value.attr == "shape"
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("len", "size", "numel")


def _learn_assigned(node: ast.Assign, names: Names, outer: bool) -> None:
    for target in node.targets:
        _learn_stored(target, names)
        if outer and isinstance(target, ast.Name) and isinstance(node.value, ast.Lambda):
            names.functions.setdefault(target.id, []).append(node.value)
        if isinstance(target, ast.Attribute) and isinstance(node.value, ast.Name):
            role = _REPLACES.get(target.attr)
            if role:
                names.used.setdefault(node.value.id, set()).add(role)
    if isinstance(node.value, ast.Call):
        learn_use(node.value, names)


def learn_decorators(node: ast.ClassDef, names: Names) -> None:
    """What a decorator of a method works upon."""
    for one in node.body:
        role = _REPLACES.get(getattr(one, "name", ""))
        for decorator in getattr(one, "decorator_list", ()) if role else ():
            name = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(name, ast.Name) and name.id in names.functions:
                names.used.setdefault(name.id, set()).add(str(role))


_REPLACES = {"forward": "forward", "__getitem__": "item", "collate_fn": "collate", "__iter__": "order"}
"""What a function becomes that is put under this name."""


def learn_use(call: ast.Call, names: Names) -> None:
    """Functions of the file that a call makes hooks, or a loader's collate function."""
    called = call.func
    method = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    roles = words.roles_of_use(method)
    if roles and (method not in words.HOOKS or words.hooks(call, method)):
        for one in [*call.args, *(word.value for word in call.keywords)]:
            name = one.func if isinstance(one, ast.Call) else one
            if (
                isinstance(one, ast.Call)
                and getattr(one.func, "attr", getattr(one.func, "id", "")) == "partial"
            ):
                name = one.args[0] if one.args else one
            found = (
                name.id
                if isinstance(name, ast.Name)
                else name.attr
                if isinstance(name, ast.Attribute)
                else ""
            )
            names.used.setdefault(found, set()).update(roles)
    for word in call.keywords:
        if word.arg in ("collate_fn", "worker_init_fn") and isinstance(word.value, ast.Name):
            given = names.used.setdefault(word.value.id, set())
            given |= {"collate"} if word.arg == "collate_fn" else {"collate", "worker"}


def _learn_stored(target: ast.expr, names: Names) -> None:
    """How often a name is assigned to: of several values none is the constant."""
    name = (
        target.attr
        if isinstance(target, ast.Attribute)
        else target.id
        if isinstance(target, ast.Name)
        else ""
    )
    names.stored[name] = names.stored.get(name, 0) + 1


def counted(target: ast.expr) -> str:
    """The name of what is counted up: a variable, an attribute, or a list that holds a number."""
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):
        return f".{target.attr}"
    if isinstance(target, ast.Subscript):
        key = target.slice.value if isinstance(target.slice, ast.Constant) else None
        return f"[{key}]" if isinstance(key, str) else counted(target.value)
    return ""


def learn_import(node: ast.stmt, scope: Scope) -> None:
    """Names that an import statement brings into a scope."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            scope.values[alias.asname or top] = Value(name=alias.name if alias.asname else top)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            full = (
                f"{module}.{alias.name}" if module and not module.endswith(".") else f"{module}{alias.name}"
            )
            scope.values[alias.asname or alias.name] = Value(name=full)
