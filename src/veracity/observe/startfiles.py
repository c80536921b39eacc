"""Files that Python executes at its start for their names: ``*.pth``, ``sitecustomize``, ``usercustomize``.

Of a ``.pth`` file each line that begins with ``import`` and a blank is executed, every other one is a folder
(``site.addpackage``). The name decides here, since it decides for Python; a checkpoint under the same
ending is told apart by its bytes. What a line calls is read from its syntax tree, through the imports of
the text and through texts that it executes.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ..core.errors import EvidenceError
from ..core.observation import Observation, StartCode
from ..core.origin import monitor_origin
from .artifact.budget import Budget
from .artifact.input import Input
from .artifact.reading import Nested
from .effects import read_effects

# The parser of Python 3.10 can be made to end its process by a text of some hundred thousand characters.
MAX_TEXT = 1 << 20 if sys.version_info >= (3, 11) else 1 << 16
MAX_LINES = 10_000
MAX_CALLS = 100
MAX_NESTING = 3
MAX_NODES = 200_000
_IMPORTS = re.compile(rb"(^|[\n\r\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]|^\xef\xbb\xbf)import[ \t]")
_NAMES = re.compile(r"(?:.*[/\\!])?(sitecustomize|usercustomize)(?:\.py|[/\\]__init__\.py)\Z", re.DOTALL)
_COMPILED = re.compile(
    r"(?:.*[/\\!])?(?<!__pycache__/)(sitecustomize|usercustomize)(?:\.[\w-]+)*\.(?:so|pyd|pyc)\Z", re.DOTALL
)
_UNNAMED = "?"
"""What is called without a name that the text shows, or set where others look: no known tool does."""


class StartFileReader:
    """Start-up files of Python."""

    name: ClassVar[str] = "start-up file"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether Python would execute something of a file with this name at its start."""
        base = _base(whole.name)
        if _NAMES.match(whole.name) or _COMPILED.match(whole.name):
            return True
        return base.endswith(".pth") and not head.startswith(b"PK\3\4") and _executes(whole)

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """What is executed, line by line; raises EvidenceError when it is longer than is read."""
        budget.check_time(whole.name)
        if found := _COMPILED.match(whole.name):
            yield _compiled(whole.name, found[1])
            return
        if whole.size > MAX_TEXT:
            raise EvidenceError(f"is start-up code of more than {MAX_TEXT:,} bytes", where=whole.name)
        text = whole.whole(MAX_TEXT).decode("utf-8-sig", "replace")
        if found := _NAMES.match(whole.name):
            yield _code(whole.name, found[1], 1, text)
            return
        # Since 3.12 a line also ends at signs that are white inside a line to earlier versions: both are
        # read.
        lines = dict.fromkeys((*enumerate(re.split("\r\n?|\n", text), 1), *enumerate(text.splitlines(), 1)))
        executed = [one for one in lines if one[1].startswith(("import ", "import\t"))]
        for number, line in executed[:MAX_LINES]:
            yield _code(whole.name, "pth", number, line)
        if len(executed) > MAX_LINES:
            raise EvidenceError(f"executes more than {MAX_LINES:,} lines", where=whole.name)


def _executes(whole: Input) -> bool:
    """Whether a line begins like an import, before the first bytes that are no text."""
    data = whole.read(0, MAX_TEXT)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        data = data[: error.start]
    return _IMPORTS.search(data) is not None


def _base(name: str) -> str:
    return re.split(r"[/\\!]", name)[-1]


def _code(name: str, kind: str, line: int, text: str) -> StartCode:
    effects = read_effects(text)
    called = called_names(text)
    return StartCode(
        monitor_origin(time.time_ns(), source="scan"),
        name,
        kind,
        line,
        text.strip()[:4_000],
        tuple(effects.modules[:MAX_CALLS]),
        tuple(called or ()),
        effects.level,
        effects.unread if called is None else "",
    )


def _compiled(name: str, kind: str) -> StartCode:
    origin = monitor_origin(time.time_ns(), source="scan")
    return StartCode(origin, name, kind, 0, "", (), (), "", "it is compiled")


def called_names(text: str) -> list[str] | None:
    """Full names of what a text calls, in order; None when it cannot be parsed."""
    calls = _Calls()
    try:
        calls.read(ast.parse(text), 0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return calls.found[:MAX_CALLS]


@dataclass(slots=True)
class _Calls:
    found: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def read(self, tree: ast.AST, depth: int) -> None:
        nodes = [node for node, _ in zip(ast.walk(tree), range(MAX_NODES), strict=False)]
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self.names[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                value = self._full(node.value)
                if value:
                    self.names[node.targets[0].id] = value
        for node in nodes:
            if isinstance(node, ast.Call):
                self._called(node, depth)
            elif isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
                self.found.append(_UNNAMED)

    def _called(self, node: ast.Call, depth: int) -> None:
        name = self._full(node.func) or _UNNAMED
        if name not in self.found:
            self.found.append(name)
        first = node.args[0] if node.args else None
        is_text = isinstance(first, ast.Constant) and isinstance(first.value, str)
        if name in ("builtins.exec", "builtins.eval") and is_text and depth < MAX_NESTING:
            self.found.remove(name)
            self.read(ast.parse(str(getattr(first, "value", ""))), depth + 1)

    def _full(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return self.names.get(node.id, f"builtins.{node.id}" if node.id in _BUILTINS else node.id)
        if isinstance(node, ast.Attribute):
            owner = self._full(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        if isinstance(node, ast.Call) and self._full(node.func) in _IMPORTERS and node.args:
            first = node.args[0]
            return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
        return ""


_BUILTINS = frozenset(dir(builtins))
_IMPORTERS = frozenset({"builtins.__import__", "importlib.import_module"})
