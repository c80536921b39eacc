"""Expressions of a Jinja template as a tree, by the grammar of Jinja's own parser.

Syntax: https://jinja.palletsprojects.com/en/stable/templates/#expressions
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...core.errors import ResourceLimitError
from .lexer import NotATemplateError, Token

MAX_DEPTH = 40
_COMPARISONS = ("==", "!=", "<", ">", "<=", ">=")
_LEVELS: tuple[tuple[str, ...], ...] = (("+", "-"), ("~",), ("*", "/", "//", "%"), ("**",))
_AFTER_A_TEST = ("else", "or", "and", "is", "if", "in", "not")


@dataclass(frozen=True, slots=True)
class Node:
    """One expression.

    ``kind``: ``const`` (``value`` is a text, a number or None), ``name``, ``attr`` (``text`` of
    ``parts[0]``),
    ``item`` (``parts[1]`` of ``parts[0]``), ``slice`` (three parts), ``call`` (of ``parts[0]`` with the rest;
    ``keywords`` name the last ones), ``filter`` and ``test`` (``text`` applied to ``parts[0]`` with the rest,
    keywords as in a call; without ``parts[0]`` in a ``{% filter %}`` block it is an empty const),
    ``op`` (``text`` of two parts), ``choice`` (one of the parts), ``if`` (one of the last two), ``list``
    or ``other`` (all parts are used and nothing is known of the result).
    """

    kind: str
    line: int
    text: str = ""
    value: str | int | None = None
    parts: tuple[Node, ...] = ()
    keywords: tuple[str, ...] = ()

    def argument(self, at: int, keyword: str = "") -> Node | None:
        """The argument at a position behind ``parts[0]``, or by its name; None when it is not given."""
        plain = self.parts[1 : len(self.parts) - len(self.keywords)]
        if 0 <= at < len(plain):
            return plain[at]
        named = self.parts[len(self.parts) - len(self.keywords) :]
        return next((node for name, node in zip(self.keywords, named, strict=True) if name == keyword), None)


def every(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += reversed(one.parts)


class Expressions:
    """Reads expressions out of the tokens of one tag; what is left when it returns is the caller's."""

    def __init__(self, tokens: Sequence[Token], line: int, where: str) -> None:
        self._tokens = tokens
        self._line = line
        self._where = where
        self._at = 0
        self._depth = 0

    # --- tokens ----------------------------------------------------------------------------------

    def ended(self) -> bool:
        """Whether no token is left."""
        return self._at >= len(self._tokens)

    def peek(self, ahead: int = 0) -> Token:
        """The next token without taking it; an empty operator behind the last."""
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else Token("operator", "", self._line)

    def take(self) -> Token:
        """The next token."""
        token = self.peek()
        self._at += 1
        return token

    def skip(self, *words: str) -> bool:
        """Take the next token if it is a name or an operator that reads like one of ``words``."""
        token = self.peek()
        if token.kind in ("name", "operator") and token.text in words and token.text:
            self._at += 1
            return True
        return False

    def expect(self, word: str) -> None:
        """Take the next token, which must read ``word``."""
        if not self.skip(word):
            raise self.refused()

    def name(self) -> str:
        """Take the next token, which must be a name."""
        if self.peek().kind != "name":
            raise self.refused()
        return self.take().text

    def refused(self) -> NotATemplateError:
        """What is raised where Jinja would give up."""
        token = self.peek()
        return NotATemplateError(f"line {token.line} is no Jinja at {token.text[:40]!r}", where=self._where)

    # --- expressions -----------------------------------------------------------------------------

    def tuple(self, *, choices: bool = True) -> Node:
        """Expressions with commas between them; ``choices``: ``x if y`` may be among them."""
        line = self.peek().line
        parts = [self.expression() if choices else self._either()]
        commas = 0
        while self.skip(","):
            commas += 1
            if self._ends_a_tuple():
                break
            parts.append(self.expression() if choices else self._either())
        return Node("list", line, parts=tuple(parts)) if commas else parts[0]

    def _ends_a_tuple(self) -> bool:
        token = self.peek()
        return self.ended() or (token.kind == "operator" and token.text in (")", "]", "}", "="))

    def expression(self) -> Node:
        """One expression."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ResourceLimitError("has expressions nested deeper than is read", where=self._where)
        try:
            node = self._either()
            while self.skip("if"):
                condition = self._either()
                other = self.expression() if self.skip("else") else Node("const", node.line)
                node = Node("if", node.line, parts=(condition, node, other))
            return node
        finally:
            self._depth -= 1

    def _either(self) -> Node:
        node = self._both()
        while self.skip("or"):
            node = Node("choice", node.line, parts=(node, self._both()))
        return node

    def _both(self) -> Node:
        node = self._negated()
        while self.skip("and"):
            node = Node("choice", node.line, parts=(node, self._negated()))
        return node

    def _negated(self) -> Node:
        negations = 0
        line = self.peek().line
        while self.skip("not"):
            negations += 1
        node = self._compared()
        return Node("other", line, parts=(node,)) if negations else node

    def _compared(self) -> Node:
        node = self._level(0)
        while True:
            if self.skip(*_COMPARISONS) or self.skip("in"):
                pass
            elif self.peek().text == "not" and self.peek(1).text == "in":
                self._at += 2
            else:
                return node
            node = Node("other", node.line, parts=(node, self._level(0)))

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary(filters=True)
        node = self._level(level + 1)
        while self.peek().kind == "operator" and self.peek().text in _LEVELS[level]:
            operator = self.take().text
            node = Node("op", node.line, operator, parts=(node, self._level(level + 1)))
        return node

    def _unary(self, *, filters: bool) -> Node:
        sign = self.peek()
        signs = 0
        while self.skip("-", "+"):
            signs += 1
        node = self._postfix(self._primary())
        if signs:
            if sign.text == "-" and signs == 1 and isinstance(node.value, int):
                node = Node("const", sign.line, value=-node.value)
            else:
                node = Node("other", sign.line, parts=(node,))
        return self._filtered(node) if filters else node

    def _primary(self) -> Node:
        token = self.peek()
        if token.kind == "string":
            return Node("const", token.line, value="".join(self._strings()))
        self.take()
        if token.kind == "name":
            constant = token.text in ("true", "false", "none", "True", "False", "None")
            return Node("const", token.line) if constant else Node("name", token.line, token.text)
        if token.kind == "integer":
            return Node("const", token.line, value=_integer(token.text))
        if token.kind == "float":
            return Node("const", token.line)
        if token.text == "(":
            node = Node("list", token.line) if self.peek().text == ")" else self.tuple()
            self.expect(")")
            return node
        if token.text == "[":
            return Node("list", token.line, parts=tuple(self._until("]")))
        if token.text == "{":
            return Node("other", token.line, parts=tuple(self._pairs()))
        self._at -= 1
        raise self.refused()

    def _strings(self) -> Iterator[str]:
        while self.peek().kind == "string":
            yield self.take().text

    def _until(self, end: str) -> Iterator[Node]:
        while not self.skip(end):
            yield self.expression()
            if self.peek().text != end:
                self.expect(",")

    def _pairs(self) -> Iterator[Node]:
        while not self.skip("}"):
            yield self.expression()
            self.expect(":")
            yield self.expression()
            if self.peek().text != "}":
                self.expect(",")

    def _postfix(self, node: Node) -> Node:
        while self.peek().kind == "operator":
            if self.skip("."):
                token = self.take()
                if token.kind not in ("name", "integer"):
                    raise self.refused()
                node = Node("attr", token.line, token.text, parts=(node,))
            elif self.skip("["):
                node = self._item(node)
            elif self.peek().text == "(":
                node = self._called("call", node)
            else:
                break
        return node

    def _item(self, node: Node) -> Node:
        line = self.peek().line
        keys = []
        while True:
            keys.append(self._slice())
            if not self.skip(","):
                break
        self.expect("]")
        key = keys[0] if len(keys) == 1 else Node("list", line, parts=tuple(keys))
        return Node("item", line, parts=(node, key))

    def _slice(self) -> Node:
        line = self.peek().line
        parts: list[Node] = []
        colons = 0
        while self.peek().text not in ("]", ",", "") or self.peek().kind == "string":
            if self.skip(":"):
                colons += 1
                parts += [Node("const", line)] * (colons - len(parts))
            else:
                parts.append(self.expression())
        if not colons:
            if len(parts) != 1:
                raise self.refused()
            return parts[0]
        if colons > 2 or len(parts) > colons + 1:
            raise self.refused()
        return Node("slice", line, parts=(*parts, *[Node("const", line)] * (3 - len(parts))))

    def _called(self, kind: str, node: Node, text: str = "") -> Node:
        self.expect("(")
        plain: list[Node] = []
        keywords: list[tuple[str, Node]] = []
        while not self.skip(")"):
            if self.skip("*", "**"):
                plain.append(Node("other", node.line, parts=(self.expression(),)))
            elif self.peek().kind == "name" and self.peek(1).text == "=" and self.peek(1).kind == "operator":
                name = self.name()
                self.take()
                keywords.append((name, self.expression()))
            else:
                plain.append(self.expression())
            if self.peek().text != ")":
                self.expect(",")
        parts = (node, *plain, *(value for _, value in keywords))
        return Node(kind, node.line, text, parts=parts, keywords=tuple(name for name, _ in keywords))

    def _filtered(self, node: Node) -> Node:
        while True:
            if self.skip("|"):
                node = self.filter(node)
            elif self.peek().kind == "name" and self.skip("is"):
                node = self._test(node)
            elif self.peek().kind == "operator" and self.peek().text == "(":
                node = self._called("call", node)
            else:
                return node

    def filter(self, node: Node) -> Node:
        """What follows ``|``."""
        name = self._dotted()
        if self.peek().text == "(" and self.peek().kind == "operator":
            return self._called("filter", node, name)
        return Node("filter", node.line, name, parts=(node,))

    def _dotted(self) -> str:
        name = self.name()
        while self.skip("."):
            name += f".{self.name()}"
        return name

    def _test(self, node: Node) -> Node:
        self.skip("not")
        name = self._dotted()
        token = self.peek()
        if token.kind == "operator" and token.text == "(":
            return self._called("test", node, name)
        starts = token.kind in ("string", "integer", "float") or (
            token.kind == "operator" and token.text in ("[", "{")
        )
        if starts or (token.kind == "name" and token.text not in _AFTER_A_TEST):
            return Node("test", node.line, name, parts=(node, self._postfix(self._primary())))
        return Node("test", node.line, name, parts=(node,))


def _integer(text: str) -> int:
    try:
        return int(text.replace("_", "")[:40], 0)
    except ValueError:
        return 0
