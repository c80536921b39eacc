"""What binds a name in the text of a module, read from its syntax tree: its own code, or another module."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..effects import MAX_TEXT

MAX_STATEMENTS = 100_000
MAX_DEPTH = 20


@dataclass(slots=True)
class Bindings:
    """``own``: names that the text binds by itself. ``imported``: name → (module, name there) as absolute.

    ``stars``: modules of which all names are imported. ``unread``: why the text could not be read.
    """

    own: set[str] = field(default_factory=set)
    imported: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    unread: str = ""

    def source(self, name: str) -> tuple[str, str] | None:
        """Where ``name`` comes from when this text has it from one other place and nothing else."""
        found = self.imported.get(name, [])
        return found[0] if len(set(found)) == 1 and name not in self.own else None


def bindings_of(data: bytes, module: str, *, package: bool) -> Bindings:
    """What the text of ``module`` binds at its top level, in branches and loops too, not in functions."""
    if len(data) > MAX_TEXT:
        return Bindings(unread=f"it is longer than {MAX_TEXT:,} bytes")
    found = Bindings()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the text is written
            tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Bindings(unread=f"it cannot be parsed: {type(error).__name__}")
    here = module if package else module.rpartition(".")[0]
    for number, statement in enumerate(_statements(tree.body, 0)):
        if number >= MAX_STATEMENTS:
            found.unread = f"it has more than {MAX_STATEMENTS:,} statements"
            break
        _bind(statement, here, found)
    return found


def _statements(body: list[ast.stmt], depth: int) -> Iterator[ast.stmt]:
    for one in body:
        yield one
        if depth < MAX_DEPTH and not isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for name in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(one, name, []), depth + 1)
            for handler in getattr(one, "handlers", []):
                yield from _statements(handler.body, depth + 1)


def _bind(one: ast.stmt, here: str, found: Bindings) -> None:
    if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        found.own.add(one.name)
    elif isinstance(one, ast.ImportFrom):
        source = _absolute(one, here)
        for alias in one.names:
            if alias.name == "*":
                found.stars.append(source)
            else:
                found.imported.setdefault(alias.asname or alias.name, []).append((source, alias.name))
    elif isinstance(one, ast.Import):
        found.own |= {alias.asname or alias.name.partition(".")[0] for alias in one.names}
    else:
        targets: list[ast.expr] = list(getattr(one, "targets", []))
        targets += [target] if isinstance(target := getattr(one, "target", None), ast.expr) else []
        for each in targets:
            found.own |= {node.id for node in ast.walk(each) if isinstance(node, ast.Name)}


def _absolute(one: ast.ImportFrom, here: str) -> str:
    """The module that is imported from; what leads out of the package is no module."""
    if not one.level:
        return one.module or ""
    parts = here.split(".") if here else []
    if one.level - 1 > len(parts):
        return ""
    base = parts[: len(parts) - (one.level - 1)]
    return ".".join([*base, *([one.module] if one.module else [])])
