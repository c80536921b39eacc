"""The statements of a Jinja template: which expressions it has, what it binds to names, what it loads.

Blocks are not matched with their ends: a template in which they do not match never runs, and what it would
have reached for is told all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .expression import Expressions, Node
from .lexer import NotATemplateError, Tag, tags

_BARE = frozenset(
    {
        *("else", "endfor", "endif", "endset", "endmacro", "endcall", "endfilter", "endwith", "endblock"),
        *("endautoescape", "endtrans", "generation", "endgeneration", "break", "continue", "debug"),
    }
)


@dataclass(slots=True)
class Template:
    """What a template consists of.

    ``bindings``: a name (``ns.text`` of a namespace) and what it is set to, once for each time it is; None
    for text that is put together by a block. ``items``: names that go through the items of something.
    ``macros``: parameters of each. ``loads``: which templates it includes, imports or extends.
    """

    expressions: list[Node] = field(default_factory=list)
    bindings: list[tuple[str, Node | None]] = field(default_factory=list)
    items: list[tuple[str, Node]] = field(default_factory=list)
    macros: dict[str, tuple[str, ...]] = field(default_factory=dict)
    loads: list[Node] = field(default_factory=list)


def parse_template(text: str, where: str) -> Template:
    """The parts of a template; raises NotATemplateError or ResourceLimitError."""
    template = Template()
    for tag in tags(text, where):
        reader = _Statement(template, tag, where)
        if tag.is_statement:
            reader.read()
        else:
            template.expressions.append(reader.tokens.tuple())
        if not reader.tokens.ended():
            raise reader.tokens.refused()
    return template


class _Statement:
    """Reads one tag into a template."""

    def __init__(self, template: Template, tag: Tag, where: str) -> None:
        self.tokens = Expressions(tag.tokens, tag.line, where)
        self._template = template

    def read(self) -> None:
        word = self.tokens.name()
        reader = _READERS.get(word)
        if reader is not None:
            reader(self)
        elif word not in _BARE:
            raise NotATemplateError(f"Jinja has no tag {word[:40]!r}")
        elif word == "endblock" and not self.tokens.ended():
            self.tokens.name()

    def _use(self, node: Node) -> Node:
        self._template.expressions.append(node)
        return node

    def _targets(self) -> list[str]:
        """Names that something is assigned to, and ``a.b`` of a namespace."""
        names, depth = [], 0
        while True:
            while self.tokens.skip("("):
                depth += 1
            name = self.tokens.name()
            if self.tokens.skip("."):
                name += f".{self.tokens.name()}"
            names.append(name)
            while depth and self.tokens.skip(")"):
                depth -= 1
            comma = self.tokens.skip(",")
            while depth and self.tokens.skip(")"):
                depth -= 1
            following = self.tokens.peek()
            if not comma or following.text in ("=", "in") or self.tokens.ended():
                return names

    def _set(self) -> None:
        names = self._targets()
        if self.tokens.skip("="):
            self._bind(names, self._use(self.tokens.tuple()))
            return
        node = Node("const", 0)
        while self.tokens.skip("|"):
            node = self.tokens.filter(node)
        self._use(node)
        self._template.bindings += [(name, None) for name in names]

    def _bind(self, names: list[str], node: Node) -> None:
        if len(names) == 1:
            self._template.bindings.append((names[0], node))
        elif node.kind == "list" and len(node.parts) == len(names):
            self._template.bindings += zip(names, node.parts, strict=True)
        else:
            self._template.items += [(name, node) for name in names]

    def _for(self) -> None:
        names = self._targets()
        self.tokens.expect("in")
        node = self._use(self.tokens.tuple(choices=False))
        self._template.items += [(name, node) for name in names]
        if self.tokens.skip("if"):
            self._use(self.tokens.expression())
        self.tokens.skip("recursive")

    def _condition(self) -> None:
        self._use(self.tokens.tuple(choices=False))

    def _print(self) -> None:
        self._use(self.tokens.tuple())

    def _macro(self) -> None:
        name = self.tokens.name()
        self._template.macros[name] = tuple(self._parameters())

    def _parameters(self) -> list[str]:
        self.tokens.expect("(")
        names = []
        while not self.tokens.skip(")"):
            names.append(self.tokens.name())
            if self.tokens.skip("="):
                self._template.bindings.append((names[-1], self._use(self.tokens.expression())))
            if self.tokens.peek().text != ")":
                self.tokens.expect(",")
        return names

    def _call(self) -> None:
        if self.tokens.peek().text == "(":
            self._parameters()
        self._use(self.tokens.expression())

    def _with(self) -> None:
        while not self.tokens.ended():
            names = self._targets()
            self.tokens.expect("=")
            self._bind(names, self._use(self.tokens.expression()))
            self.tokens.skip(",")

    def _filter(self) -> None:
        node = self.tokens.filter(Node("const", self.tokens.peek().line))
        while self.tokens.skip("|"):
            node = self.tokens.filter(node)
        self._use(node)

    def _block(self) -> None:
        self.tokens.name()
        while self.tokens.skip("scoped", "required"):
            pass

    def _load(self) -> None:
        self._template.loads.append(self._use(self.tokens.expression()))
        while self.tokens.skip("ignore", "missing", "with", "without", "context"):
            pass
        if self.tokens.skip("as"):
            self.tokens.name()

    def _from(self) -> None:
        self._template.loads.append(self._use(self.tokens.expression()))
        self.tokens.expect("import")
        while not self.tokens.ended():
            self.tokens.name()
            self.tokens.skip(",")

    def _trans(self) -> None:
        self.tokens.skip("trimmed", "notrimmed")
        while not self.tokens.ended():
            if self.tokens.peek().kind == "string":
                self.tokens.take()
            else:
                name = self.tokens.name()
                if self.tokens.skip("="):
                    self._template.bindings.append((name, self._use(self.tokens.expression())))
            self.tokens.skip(",")


_READERS: Mapping[str, Callable[[_Statement], None]] = {
    "set": _Statement._set,
    "for": _Statement._for,
    "if": _Statement._condition,
    "elif": _Statement._condition,
    "autoescape": _Statement._condition,
    "print": _Statement._print,
    "do": _Statement._print,
    "macro": _Statement._macro,
    "call": _Statement._call,
    "with": _Statement._with,
    "filter": _Statement._filter,
    "block": _Statement._block,
    "include": _Statement._load,
    "import": _Statement._load,
    "extends": _Statement._load,
    "from": _Statement._from,
    "trans": _Statement._trans,
    "pluralize": _Statement._trans,
}
