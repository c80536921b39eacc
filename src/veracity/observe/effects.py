"""What the text of a piece of start-up code would do, read from its syntax tree; nothing is executed.

Levels of effect, weakest first:

``imports``   imports or calls torch, numpy or random (a seed set for all programs, a backend chosen)
``hooks``     puts itself into the import system, so that it can alter any module later
``targets``   does so and names torch, numpy or random in its text
``replaces``  assigns to something inside torch, numpy or random
``hides``     executes text that it decodes first (base64, zlib, marshal …), so that it cannot be read

A reading of text can be evaded by whoever writes the text; that is why code without an owner is reported
whatever it seems to do, and its effect only decides how loudly.

Beside the strongest effect, what a text sets in modules (``targets``) is listed, of whatever module.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

LEVELS = ("", "imports", "hooks", "targets", "replaces", "hides")
TRAINING = frozenset({"torch", "numpy", "random"})
# The parser of Python 3.10 can be made to end its process by a text of some hundred thousand characters.
MAX_TEXT = 1 << 20 if sys.version_info >= (3, 11) else 1 << 16
MAX_NODES = 200_000
MAX_LINES = 12
MAX_NESTING = 3
MAX_TARGETS = 1_000

_HOOKS = ("sys.meta_path", "sys.path_hooks", "builtins.__import__", "sys.path_importer_cache")
_IMPORTERS = frozenset(
    {"__import__", "builtins.__import__", "importlib.import_module", "importlib.__import__"}
)
_DECODERS = frozenset(
    {
        *("base64.b64decode", "base64.b85decode", "base64.b32decode", "base64.b16decode", "base64.a85decode"),
        *("base64.decodebytes", "base64.urlsafe_b64decode", "base64.standard_b64decode"),
        *("zlib.decompress", "gzip.decompress", "bz2.decompress", "lzma.decompress"),
        *("marshal.loads", "codecs.decode", "binascii.unhexlify", "binascii.a2b_base64", "bytes.fromhex"),
    }
)
# Names that old programs expect in numpy, and a load made unsafe again: odd, widespread, and reported as
# imports. Builtins put in the place of numpy's removed aliases compute nothing.
_INNOCENT_TARGETS = frozenset({"torch.load"})
_BUILTIN_VALUES = frozenset({"bool", "int", "float", "complex", "object", "str", "bytes", "None"})


_SETTERS = frozenset(
    {
        *("setattr", "builtins.setattr", "delattr", "builtins.delattr", "object.__setattr__"),
        *("type.__setattr__", "object.__delattr__", "type.__delattr__"),
    }
)
# Not append and extend: what comes behind all others stands before none of them.
_PATH_MOVES = frozenset({"insert", "remove", "pop", "clear", "reverse", "sort", "__setitem__", "__delitem__"})
_MODULES_SETTERS = frozenset({"setdefault", "update", "pop", "__setitem__", "__delitem__"})


@dataclass(frozen=True, slots=True)
class Target:
    """Something in a module that a text sets, or the module in ``sys.modules``.

    ``name``: with the module, ``?`` in the place of what is computed. ``plain``: it becomes a constant or a
    builtin type, which computes nothing. ``text``: the line.
    """

    name: str
    line: int
    text: str
    plain: bool


@dataclass(slots=True)
class Effects:
    """``level``: the strongest effect; ``lines``: ``<line>: <text>`` of what has it; ``modules``: imported.

    ``targets``: what it sets in modules that it imports. ``unread`` says why a text could not be read, empty
    when it was.
    """

    level: str = ""
    lines: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    unread: str = ""
    targets: list[Target] = field(default_factory=list)


def read_effects(text: str) -> Effects:
    """The effects of executing ``text``; of one that cannot be parsed only that it cannot."""
    if len(text) > MAX_TEXT:
        return Effects(unread=f"it is longer than {MAX_TEXT} characters")
    reader = _Reader(text.splitlines())
    try:
        reader.read(ast.parse(text), 0)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Effects(unread=f"it cannot be parsed: {type(error).__name__}")
    return reader.finish()


class _Reader:
    """Walks one text (and constant texts that it executes)."""

    def __init__(self, lines: list[str]) -> None:
        self._source = lines
        self._names: dict[str, str] = {}
        self._found: list[tuple[str, int]] = []
        self._modules: dict[str, None] = {}
        self._executes: list[int] = []
        self._decodes = False
        self._named = False
        self._targets: list[tuple[str, int, bool]] = []
        self._reached: set[str] = set()

    def read(self, tree: ast.AST, depth: int) -> None:
        """Take one tree in."""
        nodes = []
        for node in ast.walk(tree):
            nodes.append(node)
            if len(nodes) >= MAX_NODES:
                break
        # Names first: a function's body may use what is imported below it.
        for node in nodes:
            self._learn(node)
        for node in nodes:
            self._judge(node, depth)

    def finish(self) -> Effects:
        """What was found, once everything is read."""
        if self._executes and self._decodes:
            self._found += [("hides", line) for line in self._executes]
        if self._named and any(level == "hooks" for level, _ in self._found):
            self._found = [("targets" if level == "hooks" else level, line) for level, line in self._found]
        if any(name.partition(".")[0] in TRAINING for name in self._modules):
            self._found.append(("imports", 0))
        level = max((level for level, _ in self._found), key=LEVELS.index, default="")
        numbers = dict.fromkeys(line for found, line in self._found if found == level and line > 0)
        lines = [f"{number}: {self._text(number)}" for number in sorted(numbers)[:MAX_LINES]]
        return Effects(level, lines, list(self._modules), targets=self._set_in_modules())

    def _set_in_modules(self) -> list[Target]:
        """Targets below a module that the text has: names of its own variables are no modules."""
        tops = self._reached | {name.partition(".")[0] for name in self._modules}
        there = [one for one in self._targets if one[0].partition(".")[0] in tops]
        return [
            Target(name[:400], line, self._text(line), plain) for name, line, plain in there[:MAX_TARGETS]
        ]

    def _text(self, number: int) -> str:
        return self._source[number - 1].strip()[:200] if number <= len(self._source) else ""

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._modules.setdefault(alias.name)
                top = alias.name.partition(".")[0]
                self._names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            self._modules.setdefault(node.module)
            for alias in node.names:
                self._names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Call):
            imported = self._imported_by_call(node)
            if imported:
                self._modules.setdefault(imported)
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Call, ast.Attribute)):
            full = self._full(node.value)
            for target in node.targets if full else ():
                if isinstance(target, ast.Name):
                    self._names[target.id] = full

    def _judge(self, node: ast.AST, depth: int) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value.partition(".")[0] in TRAINING:
                self._named = True
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            targets: list[ast.expr] = list(node.targets) if isinstance(node, ast.Assign) else [node.target]
            for target in _flat(targets):
                self._assigned(target, node.value, node.lineno)
        elif isinstance(node, ast.Call):
            self._called(node, depth)

    def _assigned(self, target: ast.expr, value: ast.expr | None, line: int) -> None:
        if isinstance(target, ast.Attribute):
            self._set(self._full(target), value, line)
        elif isinstance(target, ast.Subscript):
            holder = self._full(target.value)
            key = target.slice.value if isinstance(target.slice, ast.Constant) else None
            if holder == "sys.modules" and isinstance(key, str):
                self._module_set(key, line)
            elif holder.endswith(".__dict__"):
                name = f"{holder.removesuffix('.__dict__')}.{key if isinstance(key, str) else '?'}"
                self._set(name, value, line)
            else:
                self._set(holder, value, line)

    def _module_set(self, module: str, line: int) -> None:
        """A module is put into ``sys.modules``, or taken out."""
        self._reached.add(module.partition(".")[0])
        self._targets.append((module, line, False))
        if module.partition(".")[0] in TRAINING:
            self._found.append(("replaces", line))

    def _set(self, name: str, value: ast.expr | None, line: int) -> None:
        plain = isinstance(value, ast.Constant) or (
            isinstance(value, ast.Name) and value.id in _BUILTIN_VALUES
        )
        if "." in name:
            self._targets.append((name, line, plain))
        if name.startswith(_HOOKS):
            self._found.append(("hooks", line))
        elif name.partition(".")[0] in TRAINING and "." in name:
            self._found.append(("imports" if plain or name in _INNOCENT_TARGETS else "replaces", line))

    def _called(self, node: ast.Call, depth: int) -> None:
        name = self._full(node.func)
        if name in _DECODERS:
            self._decodes = True
        elif name in ("exec", "eval", "builtins.exec", "builtins.eval"):
            self._executed(node, depth)
        elif name in _SETTERS and len(node.args) >= 2:
            key = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
            name = f"{self._full(node.args[0])}.{key if isinstance(key, str) else '?'}"
            self._set(name, node.args[-1] if len(node.args) > 2 else None, node.lineno)
        elif name.endswith((".__setattr__", ".__delattr__")) and node.args:
            first = node.args[0]
            key = first.value if isinstance(first, ast.Constant) else None
            inside = f"{name.rpartition('.')[0]}.{key if isinstance(key, str) else '?'}"
            self._set(inside, node.args[-1] if len(node.args) > 1 else None, node.lineno)
        elif name.startswith(_HOOKS):
            self._found.append(("hooks", node.lineno))
        elif name.partition(".")[0] in TRAINING:
            self._found.append(("imports", node.lineno))
        self._mutated(name, node)

    def _mutated(self, name: str, node: ast.Call) -> None:
        """A call that changes the path, the table of modules or a module's own dict."""
        holder, _, method = name.rpartition(".")
        first = node.args[0] if node.args else None
        key = first.value if isinstance(first, ast.Constant) else None
        if (holder == "sys.path" and method in _PATH_MOVES) or name == "site.addsitedir":
            self._targets.append(("sys.path", node.lineno, False))
            self._reached.add("sys")
        elif holder == "sys.modules" and method in _MODULES_SETTERS:
            self._reached.add(key.partition(".")[0] if isinstance(key, str) else "sys")
            self._targets.append((key if isinstance(key, str) else "sys.modules", node.lineno, False))
        elif holder.endswith(".__dict__") and method in _MODULES_SETTERS:
            inside = key if isinstance(key, str) else "?"
            self._targets.append((f"{holder.removesuffix('.__dict__')}.{inside}", node.lineno, False))

    def _executed(self, node: ast.Call, depth: int) -> None:
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and depth < MAX_NESTING:
            inner = ast.parse(first.value)
            for one in ast.walk(inner):
                if hasattr(one, "lineno"):
                    one.lineno = node.lineno
            self.read(inner, depth + 1)
        else:
            self._executes.append(node.lineno)

    def _imported_by_call(self, node: ast.Call) -> str:
        name = self._full(node.func)
        first = node.args[0] if node.args else None
        constant = first.value if isinstance(first, ast.Constant) else None
        return constant if name in _IMPORTERS and isinstance(constant, str) else ""

    def _full(self, node: ast.expr) -> str:
        """The dotted name an expression stands for, with imports followed; empty when it is none."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            owner = self._full(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        if isinstance(node, ast.Call):
            imported = self._imported_by_call(node) if not isinstance(node.func, ast.Call) else ""
            if imported:
                whole = self._full(node.func).endswith("import_module")
                return imported if whole else imported.partition(".")[0]
            name = self._full(node.func) if isinstance(node.func, ast.Name) else ""
            if name in ("vars", "getattr") and node.args:
                return self._full(node.args[0]) + (".__dict__" if name == "vars" else ".?")
        if isinstance(node, ast.Subscript) and self._full(node.value) == "sys.modules":
            key = node.slice.value if isinstance(node.slice, ast.Constant) else None
            if isinstance(key, str):
                self._reached.add(key.partition(".")[0])
                return key
        return ""


def _flat(targets: list[ast.expr]) -> Iterator[ast.expr]:
    for target in targets:
        if isinstance(target, (ast.Tuple, ast.List)):
            yield from _flat(list(target.elts))
        else:
            yield target
