"""Names that a source imports from files beside it: constants, and what a function of theirs asks or does.

Only that is taken over from a neighbour, and no fact: each file of a tree is judged by itself. What is read
is bounded in files, bytes and steps, and a neighbour that cannot be read is as if its names were unknown.
"""

from __future__ import annotations

import ast
import hashlib
import posixpath
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from . import vocabulary as words
from .scopes import Exports

MAX_NEIGHBOURS = 24
MAX_NEIGHBOUR = 1 << 18
MAX_KEPT = 256
MAX_STEPS = 2
MAX_TOTAL = 2 << 20
"""Bytes of all neighbours that are followed for one source, of their own neighbours, too."""
_UP = ("", "../", "../../", "../../../")


class Beside(Protocol):
    """A folder that a source lies in: ``place`` tells it from others."""

    @property
    def place(self) -> str:
        """Where it is."""
        ...

    def read(self, path: str, limit: int) -> bytes | None:
        """The file at ``path`` from here, of up to ``limit`` bytes; None where there is none."""
        ...


@dataclass(slots=True)
class Allowance:
    """How many bytes of neighbours may still be followed for one source."""

    left: int = MAX_TOTAL


@dataclass(frozen=True, slots=True)
class Below:
    """Another folder, by its path from a first one."""

    first: Beside
    path: str
    allowance: Allowance

    @property
    def place(self) -> str:
        """Where it is."""
        return posixpath.normpath(posixpath.join(self.first.place, self.path))

    def read(self, path: str, limit: int) -> bytes | None:
        """The file at ``path`` from here."""
        return self.first.read(posixpath.normpath(posixpath.join(self.path, path)), limit)


Exporting = Callable[[bytes, Beside, int], Exports]
_kept: dict[tuple[str, str, int], Exports] = {}


def neighbours_of(
    imports: Iterable[ast.AST], beside: Beside, exporting: Exporting, steps: int = 0
) -> Exports:
    """What a module's imports bring from beside it, by dotted name. ``exporting`` reads one neighbour."""
    found = Exports()
    if steps >= MAX_STEPS:
        return found
    looked: dict[str, Exports | None] = {}
    allowance = beside.allowance if isinstance(beside, Below) else Allowance()
    for module, level, names in _imports(imports):
        for dotted, alias in _candidates(module, level, names):
            if dotted not in looked:
                if len(looked) >= MAX_NEIGHBOURS:
                    return found
                looked[dotted] = _exports(dotted, level, beside, allowance, exporting, steps)
            exports = looked[dotted]
            if exports is not None:
                _take(found, alias, exports)
    return found


def _imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, int, list[str]]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for one in node.names:
                yield one.name, 0, []
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level, [one.name for one in node.names]


def _candidates(module: str, level: int, names: list[str]) -> Iterator[tuple[str, str]]:
    """Files that an import may read, and under which dotted name what they define is known."""
    top = module.partition(".")[0]
    if level == 0 and (top in words.LIBRARIES or top in sys.stdlib_module_names):
        return
    prefix = "." * level + module
    if module:
        yield module, prefix
    for name in names[:MAX_NEIGHBOURS]:
        inner = f"{module}.{name}" if module else name
        yield inner, f"{prefix}.{name}" if module else f"{prefix}{name}"


def _exports(
    dotted: str, level: int, beside: Beside, allowance: Allowance, exporting: Exporting, steps: int
) -> Exports | None:
    place = dotted.replace(".", "/")
    for up in _UP if level == 0 else ("../" * (level - 1),):
        for ending in (".py", "/__init__.py"):
            path = up + place + ending
            data = beside.read(path, MAX_NEIGHBOUR)
            if data is None or len(data) > MAX_NEIGHBOUR:
                continue
            there = Below(beside, posixpath.dirname(path), allowance)
            key = hashlib.sha256(data).hexdigest(), there.place, steps
            known = _kept.get(key)
            if known is None:
                allowance.left -= len(data)
                if allowance.left < 0:
                    return None
                known = exporting(data, there, steps + 1)
                if allowance.left < 0:
                    return known  # not all of it was followed: another time it may be
                if len(_kept) >= MAX_KEPT:
                    _kept.pop(next(iter(_kept)))
                _kept[key] = known
            return known
    return None


def _take(found: Exports, alias: str, exports: Exports) -> None:
    for name, constant in exports.constants.items():
        found.constants[f"{alias}.{name}"] = constant
    for name, bits in exports.asked.items():
        found.asked[f"{alias}.{name}"] = bits
    for name, function in exports.functions.items():
        found.functions[f"{alias}.{name}"] = function
