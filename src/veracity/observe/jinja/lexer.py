"""The tags of a Jinja template and their tokens, with the delimiters that everybody uses.

As Jinja's own lexer has it: a tag ends at the first ``%}`` or ``}}`` outside strings and brackets, a comment
at the first ``#}``, and between ``{% raw %}`` and ``{% endraw %}`` there are no tags. Anything else outside
of tags is text, which is printed and nothing more.

Syntax: https://jinja.palletsprojects.com/en/stable/templates/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ...core.errors import EvidenceError, ResourceLimitError

MAX_TEXT = 1 << 20
MAX_TOKENS = 100_000
_BEGIN = re.compile(r"\{([%{#])[-+]?")
_COMMENT_END = re.compile(r"#\}")
_RAW = re.compile(r"\{%[-+]?\s*raw\s*[-+]?%\}")
_RAW_END = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}")
_ENDS = {"%": re.compile(r"[-+]?%\}"), "{": re.compile(r"-?\}\}")}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<float>(?<!\.)\d[\d_]*(?:\.\d[\d_]*(?:[eE][+-]?\d[\d_]*)?|[eE][+-]?\d[\d_]*))
    | (?P<integer>0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[0-9a-fA-F])+|\d[\d_]*(?!\w))
    | (?P<name>\w+)
    | (?P<string>'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")
    | (?P<operator>//|\*\*|==|!=|>=|<=|[-+/*%~\[\](){}><=.:|,;])
    )""",
    re.VERBOSE | re.DOTALL,
)
_SPACE = re.compile(r"\s*")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


class NotATemplateError(EvidenceError):
    """Jinja would refuse this text."""


@dataclass(frozen=True, slots=True)
class Token:
    """``kind``: ``name``, ``string`` (``text`` is its value), ``integer``, ``float`` or ``operator``."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Tag:
    """``{% … %}`` when ``is_statement``, else ``{{ … }}``."""

    is_statement: bool
    line: int
    tokens: tuple[Token, ...]


def tags(text: str, where: str) -> Iterator[Tag]:
    """The tags of a template in order.

    Raises NotATemplateError where Jinja's lexer would give up, ResourceLimitError for one that is longer than
    any template.
    """
    if len(text) > MAX_TEXT:
        raise ResourceLimitError(f"is a template of more than {MAX_TEXT:,} characters", where=where)
    lexer = _Lexer(text, where)
    while (tag := lexer.next_tag()) is not None:
        if tag.tokens:
            yield tag


class _Lexer:
    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._at = 0
        self._line = 1
        self._counted = 0
        self._left = MAX_TOKENS

    def next_tag(self) -> Tag | None:
        while (begin := _BEGIN.search(self._text, self._at)) is not None:
            line = self._line_of(begin.start())
            if begin[1] == "#":
                self._at = self._after(_COMMENT_END, begin.end(), "a comment")
            elif begin[1] == "%" and (raw := _RAW.match(self._text, begin.start())):
                self._at = self._after(_RAW_END, raw.end(), "raw text")
            else:
                self._at = begin.end()
                return Tag(begin[1] == "%", line, tuple(self._tokens(_ENDS[begin[1]])))
        return None

    def _after(self, pattern: re.Pattern[str], at: int, what: str) -> int:
        found = pattern.search(self._text, at)
        if found is None:
            raise NotATemplateError(f"{what} has no end", where=self._where)
        return found.end()

    def _tokens(self, end: re.Pattern[str]) -> Iterator[Token]:
        awaited: list[str] = []
        while True:
            self._at = self._skipped()
            ended = None if awaited else end.match(self._text, self._at)
            if ended is not None:
                self._at = ended.end()
                return
            found = _TOKEN.match(self._text, self._at)
            if found is None:
                raise NotATemplateError(
                    f"line {self._line_of(self._at)} is no Jinja: {self._text[self._at : self._at + 20]!r}",
                    where=self._where,
                )
            self._left -= 1
            if self._left < 0:
                raise ResourceLimitError(
                    f"is a template of more than {MAX_TOKENS:,} words", where=self._where
                )
            kind, word = str(found.lastgroup), found[str(found.lastgroup)]
            self._balance(word if kind == "operator" else "", awaited)
            line = self._line_of(self._at)
            self._at = found.end()
            yield Token(kind, _unquoted(word, self._where) if kind == "string" else word, line)

    def _balance(self, operator: str, awaited: list[str]) -> None:
        if operator in _PAIRS:
            awaited.append(_PAIRS[operator])
        elif operator and operator in ")]}" and (not awaited or awaited.pop() != operator):
            raise NotATemplateError(
                f"line {self._line_of(self._at)} has {operator!r} too many", where=self._where
            )

    def _skipped(self) -> int:
        found = _SPACE.match(self._text, self._at)
        return found.end() if found else self._at

    def _line_of(self, at: int) -> int:
        self._line += self._text.count("\n", self._counted, at)
        self._counted = max(at, self._counted)
        return self._line


def _unquoted(word: str, where: str) -> str:
    """What a string literal stands for, escapes resolved as Jinja does."""
    try:
        return word[1:-1].encode("ascii", "backslashreplace").decode("unicode-escape")
    except UnicodeDecodeError as error:
        raise NotATemplateError(f"a string has no such escape: {word[:40]}", where=where) from error
