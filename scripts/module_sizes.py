"""Keep modules small and their names honest: the size and naming rules of ARCHITECTURE.md, checked.

A module has at most 600 lines and a function at most 60; no module is called ``utils``, ``helpers``,
``common``, ``base`` or ``manager``; an ``__init__.py`` of the package re-exports and does nothing else.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_MODULE = 600
MAX_FUNCTION = 60
MAX_INIT = 120
EMPTY_NAME = re.compile(r"(\A|_)(utils?|helpers?|common|base|managers?)(\Z|_)")
_MEASURED = ("src", "scripts", "bench", "examples", "tests")


def violations(root: Path) -> Iterator[str]:
    """What breaks the rules in the project at ``root``, as ``path:line: message`` lines, in path order."""
    for folder in _MEASURED:
        for path in sorted((root / folder).rglob("*.py")):
            where = path.relative_to(root)
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source, filename=str(where))
            yield from _names(where)
            lines = source.count("\n") + 1
            if lines > MAX_MODULE:
                yield f"{where}:1: module has {lines} lines, more than {MAX_MODULE}"
            if folder != "tests":
                yield from _functions(where, tree)
            if folder == "src" and path.name == "__init__.py":
                yield from _package(where, tree, lines)


def _names(where: Path) -> Iterator[str]:
    for part in (*where.parts[1:-1], where.stem):
        if EMPTY_NAME.search(part):
            yield f"{where}:1: the name {part!r} says nothing about what is inside"


def _functions(where: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                yield f"{where}:{node.lineno}: {node.name}() has {length} lines, more than {MAX_FUNCTION}"


def _package(where: Path, tree: ast.Module, lines: int) -> Iterator[str]:
    if lines > MAX_INIT:
        yield f"{where}:1: __init__.py has {lines} lines, more than {MAX_INIT}"
    for node in tree.body:
        if not _re_exports(node):
            yield f"{where}:{node.lineno}: __init__.py does more than re-export"


def _re_exports(node: ast.stmt) -> bool:
    """Docstring, imports, dunder assignments, and the two functions that make a re-export lazy."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if isinstance(node, ast.Assign):
        return all(isinstance(to, ast.Name) and to.id.startswith("__") for to in node.targets)
    if isinstance(node, ast.FunctionDef):
        return node.name in ("__getattr__", "__dir__")
    if isinstance(node, ast.If):
        return all(isinstance(inner, ast.Import | ast.ImportFrom) for inner in (*node.body, *node.orelse))
    return isinstance(node, ast.Import | ast.ImportFrom)


def main() -> int:
    """Print every violation; 1 when there is one."""
    found = list(violations(Path(__file__).resolve().parent.parent))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
