"""YAML 1.1 as PyYAML composes it: values, with the tags that tell its loaders what to make of them.

A loader composes a document whole before it makes anything of it, so a text that is no YAML tells it nothing.
Each text of a document is kept as text. Nothing is resolved, and no tag is acted on.

Format: https://yaml.org/spec/1.1/; where PyYAML is stricter or laxer, as PyYAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from ...core.errors import ResourceLimitError
from ..artifact.budget import Budget
from .value import Fields, Value
from .yamlscalars import MAX_KEY, NotYamlError, Text, too_deep

MAX_DEPTH = 100
MAX_NODES = 2_000_000
MAX_UNFOLDED = 50_000_000
"""Nodes that a document has when each alias is replaced by what it stands for."""
_CHECKED_EVERY = 4_096
STANDARD = "tag:yaml.org,2002:"
_BREAKS = re.compile("\r\n?|\x85|\u2028|\u2029")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ANCHOR = re.compile(r"[\w-]+", re.ASCII)
_TAG = re.compile(
    r"!(?:<([\w;/?:@&=+$,.!~*'()\[\]%#-]*)>|((?:[\w-]*!)?)([\w;/?:@&=+$,.!~*'()\[\]%-]*))", re.ASCII
)
_DIRECTIVE = re.compile(r"%(\w[\w-]*)[^\S\n]*([^\n]*)(?=\n|\Z)")
_PREFIX = re.compile(r"(!|![\w-]*!)[^\S\n]+(\S+)[^\S\n]*(#.*)?\Z")


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that was written, in full, where, and the text of the value it stands before, if it is one."""

    name: str
    line: int
    text: str


@dataclass(slots=True)
class Document:
    """One document of a stream."""

    root: Value = None
    tags: list[Tag] = field(default_factory=list)


def parse_yaml(text: str, where: str, spent: Budget | None = None) -> Iterator[Document]:
    """The documents of a text in order.

    Raises NotYamlError where PyYAML would refuse the text, ResourceLimitError at a bound; the documents
    before stand.
    """
    text = _BREAKS.sub("\n", text.removeprefix("\ufeff"))
    if _UNPRINTABLE.search(text):
        raise NotYamlError("holds characters that YAML does not", where=where)
    stream = Text(text, where)
    budget = _Budget(where, spent)
    first = True
    while (document := _next_document(stream, budget, first=first)) is not None:
        yield document
        first = False


@dataclass(slots=True)
class _Budget:
    where: str
    spent: Budget | None
    nodes: int = MAX_NODES

    def node(self) -> None:
        self.nodes -= 1
        if self.spent is not None and self.nodes % _CHECKED_EVERY == 0:
            self.spent.check_time(self.where)
        if self.nodes < 0:
            raise ResourceLimitError("has more nodes than are read", where=self.where)


def _next_document(stream: Text, budget: _Budget, *, first: bool) -> Document | None:
    stream.skip()
    while stream.text[stream.at : stream.at + 3] == "..." and stream.at_marker():
        if first:
            raise stream.refused("it begins with the end of a document")
        stream.at += 3
        stream.skip()
    if stream.at >= len(stream.text):
        return None
    handles = {"!": "!", "!!": STANDARD}
    directives = False
    while stream.peek() == "%" and not stream.column():
        _directive(stream, handles)
        directives = True
        stream.skip()
    if stream.at_marker() and stream.peek() == "-":
        stream.at += 3
    elif directives:
        raise stream.refused("directives stand before no document")
    return _Composer(stream, handles, budget).document()


def _directive(stream: Text, handles: dict[str, str]) -> None:
    found = _DIRECTIVE.match(stream.text, stream.at)
    if found is None:
        raise stream.refused("a directive has no name")
    if found[1] == "TAG":
        prefix = _PREFIX.match(found[2])
        if prefix is None:
            raise stream.refused("a directive for tags says nothing")
        handles[prefix[1]] = unquote(prefix[2])
    stream.at = found.end()


@dataclass(slots=True)
class _Properties:
    """Tags and anchors before a node.

    ``column``: of the first in the last line that has some. ``crossed``: a line has ended among or behind
    them, ``ended``: behind the last.
    """

    tags: list[tuple[str, int]] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    column: int = 0
    crossed: bool = False
    ended: bool = False

    def __bool__(self) -> bool:
        return bool(self.tags or self.anchors)


class _Composer:
    """Reads one document."""

    def __init__(self, stream: Text, handles: dict[str, str], budget: _Budget) -> None:
        self._text = stream
        self._handles = handles
        self._budget = budget
        self._document = Document()
        self._anchors: dict[str, int] = {}
        self._depth = 0
        self._unfolded = 0

    def document(self) -> Document:
        """The document; raises NotYamlError when something else follows than the next one."""
        self._document.root = self._node(-1, compact=False)
        self._text.skip()
        if not self._text.at_end():
            raise self._text.refused("something follows the document")
        return self._document

    # --- nodes -----------------------------------------------------------------------------------

    def _node(self, indent: int, *, compact: bool, same: bool = False) -> Value:
        """A node in a block whose parent stands at column ``indent``.

        ``compact``: a collection may begin in this line. ``same``: the lines of a list may stand at the
        column of their parent.
        """
        before = self._enter()
        try:
            crossed = self._text.skip()
            if self._ends(indent, same):
                return self._made(_Properties(), None, before)
            fresh = crossed or compact or self._is_first()
            given = self._properties()
            if self._text.at_end() or (given.ended and self._ends(indent, same)):
                return self._made(given, "", before)
            fresh = fresh or given.crossed
            if given.ended or not given:
                return self._made(given, self._content(indent, self._text.column(), fresh), before)
            return self._behind_properties(given, indent, given.column, fresh, before)
        finally:
            self._depth -= 1

    def _is_first(self) -> bool:
        """Whether only blanks stand before this place in its line."""
        line = self._text.text[self._text.at - self._text.column() : self._text.at]
        return not line.strip(" ")

    def _ends(self, indent: int, same: bool) -> bool:
        if self._text.at_end():
            return True
        column = self._text.column()
        is_item = same and self._text.peek() == "-" and self._text.is_blank(1)
        is_block = self._text.peek() in ("|", ">")
        return column <= indent and not (column == indent and (is_item or is_block))

    def _behind_properties(
        self, given: _Properties, indent: int, start: int, fresh: bool, before: int
    ) -> Value:
        """What stands in the line of a tag or an anchor: a key with it, or a value."""
        atom, simple = self._atom(indent, block=True, propertied=True)
        if simple and fresh and self._is_key(start):
            self._made(given, atom, before)
            return self._mapping(start, atom)
        return self._made(given, atom, before)

    def _content(self, indent: int, start: int, fresh: bool) -> Value:
        one = self._text.peek()
        if one == "-" and self._text.is_blank(1):
            if not fresh:
                raise self._text.refused("a list begins behind something else")
            return self._sequence(start)
        if one == "?" and self._text.is_blank(1):
            if not fresh:
                raise self._text.refused("a mapping begins behind something else")
            return self._mapping(start, None, explicit=True)
        atom, simple = self._atom(indent, block=True)
        if simple and self._is_key(start):
            if not fresh:
                raise self._text.refused("a mapping begins behind something else")
            return self._mapping(start, atom)
        return atom

    def _is_key(self, start: int) -> bool:
        """Whether a colon behind blanks makes what stood here, from column ``start``, a key."""
        ahead = 0
        while self._text.peek(ahead) == " ":
            ahead += 1
        if self._text.peek(ahead) != ":" or not self._text.is_blank(ahead + 1):
            return False
        if self._text.column() - start > MAX_KEY:
            raise self._text.refused("a key is longer than any may be")
        self._text.at += ahead
        return True

    def _mapping(self, column: int, key: Value, *, explicit: bool = False) -> Fields:
        """A mapping at ``column``; its first key was read already unless it is ``explicit``."""
        fields = Fields()
        while True:
            if explicit:
                key = self._explicit_key(column)
            value: Value = None
            if self._is_value(column, explicit):
                self._text.at += 1
                value = self._node(column, compact=explicit, same=True)
            elif not explicit:
                raise self._text.refused("a key has no colon")
            fields.pairs.append((_key(key), value))
            self._text.skip()
            if self._text.at_end():
                return fields
            if self._text.column() != column:
                if self._text.column() > column or not self._is_first():
                    raise self._text.refused("a line does not stand at the column of its mapping")
                return fields
            one = self._text.peek()
            explicit = one == "?" and self._text.is_blank(1)
            if one == "-" and self._text.is_blank(1):
                raise self._text.refused("a list stands between keys")
            if not explicit:
                key = self._next_key(column)

    def _is_value(self, column: int, explicit: bool) -> bool:
        """Whether the colon of a value stands here: of an explicit key at the column of the mapping."""
        here = self._text.peek() == ":" and self._text.is_blank(1)
        return here and (not explicit or self._text.column() == column)

    def _explicit_key(self, column: int) -> Value:
        self._text.at += 1
        key = self._node(column, compact=True, same=True)
        self._text.skip()
        return key

    def _next_key(self, column: int) -> Value:
        before = self._enter()
        self._depth -= 1
        given = self._properties()
        if given.crossed and given:
            raise self._text.refused("a tag stands before no key")
        atom, simple = self._atom(column, block=False, propertied=bool(given))
        if not simple or not self._is_key(column):
            raise self._text.refused("a line is no key")
        self._made(given, atom, before)
        return atom

    def _sequence(self, column: int) -> list[Value]:
        items: list[Value] = []
        while True:
            self._text.at += 1
            items.append(self._node(column, compact=True))
            self._text.skip()
            ended = self._text.at_end()
            if ended or self._text.column() < column:
                return items
            if self._text.column() > column:
                raise self._text.refused("a line stands further in than its list")
            if self._text.peek() != "-" or not self._text.is_blank(1):
                return items

    def _atom(self, indent: int, *, block: bool, propertied: bool = False) -> tuple[Value, bool]:
        """A text, an alias or a flow collection; and whether it stands in one line, as a key must.

        ``block``: it may be a block text. ``propertied``: behind a tag or an anchor it may be left out.
        """
        start, one = self._text.at, self._text.peek()
        value: Value
        if one == "*":
            value = self._alias()
        elif one in ("'", '"'):
            value = self._text.quoted()
        elif one in ("[", "{"):
            value = self._flow()
        elif one in ("|", ">") and block:
            return self._text.block(indent + 1), False
        elif self._text.starts_plain(False):
            value = self._text.plain(indent + 1, False)
        elif propertied and one == ":" and self._text.is_blank(1):
            return "", True
        else:
            raise self._text.refused(f"nothing begins with {one!r}")
        self._behind()
        return value, "\n" not in self._text.text[start : self._text.at]

    def _behind(self) -> None:
        """Behind an atom in a block stands the end of the line, a comment, or the colon of a key."""
        ahead = 0
        while self._text.peek(ahead) == " ":
            ahead += 1
        one = self._text.peek(ahead)
        if one not in ("", "\n", "#") and not (one == ":" and self._text.is_blank(ahead + 1)):
            raise self._text.refused(f"{one!r} follows a value")

    # --- flow collections ------------------------------------------------------------------------

    def _flow(self) -> Value:
        """``[…]`` or ``{…}``, whichever begins here."""
        before = self._enter()
        is_list = self._text.peek() == "["
        end = "]" if is_list else "}"
        self._text.at += 1
        items: list[Value] = []
        fields = Fields()
        self._skip_in_flow()
        while self._text.peek() != end:
            key, value, paired = self._flow_entry(end)
            if is_list:
                items.append(Fields([(_key(key), value)]) if paired else key)
            else:
                fields.pairs.append((_key(key), value))
            self._skip_in_flow()
            if self._text.peek() == ",":
                self._text.at += 1
                self._skip_in_flow()
            elif self._text.peek() != end:
                raise self._text.refused("a comma is missing")
        self._text.at += 1
        self._depth -= 1
        return self._made(_Properties(), items if is_list else fields, before)

    def _flow_entry(self, end: str) -> tuple[Value, Value, bool]:
        explicit = self._text.peek() == "?"
        if explicit:
            self._text.at += 1
            self._skip_in_flow()
        start = self._text.at
        key = self._flow_node(end)
        one_line = "\n" not in self._text.text[start : self._text.at]
        self._skip_in_flow()
        if self._text.peek() != ":":
            return key, None, explicit
        if not explicit and (not one_line or "\n" in self._text.text[start : self._text.at]):
            raise self._text.refused("a key does not stand in one line")
        self._text.at += 1
        self._skip_in_flow()
        return key, self._flow_node(end), True

    def _flow_node(self, end: str) -> Value:
        before = self._enter()
        self._depth -= 1
        given = self._properties()
        self._skip_in_flow()
        one = self._text.peek()
        if one and one in (",", ":", end):
            return self._made(given, "", before)
        if one == "*":
            return self._alias()
        if one and one in "[{":
            return self._made(given, self._flow(), before)
        if one in ("'", '"'):
            return self._made(given, self._text.quoted(), before)
        if not self._text.starts_plain(True):
            raise self._text.refused(f"nothing begins with {one!r}")
        return self._made(given, self._text.plain(0, True), before)

    def _skip_in_flow(self) -> None:
        self._text.skip()
        if self._text.at_end():
            raise self._text.refused("a collection has no end")

    # --- tags, anchors, aliases ------------------------------------------------------------------

    def _properties(self) -> _Properties:
        given = _Properties(column=self._text.column())
        in_line = ""
        while (one := self._text.peek()) and one in "!&":
            if given.ended:
                given.column, in_line = self._text.column(), ""
            if one in in_line:
                raise self._text.refused("a node has two tags or anchors")
            in_line += one
            if one == "&":
                given.anchors.append(self._anchor())
            else:
                line = self._text.line()
                given.tags.append((self._tag(), line))
            given.ended = self._text.skip()
            given.crossed = given.crossed or given.ended
        return given

    def _anchor(self) -> str:
        self._text.at += 1
        found = _ANCHOR.match(self._text.text, self._text.at)
        if found is None:
            raise self._text.refused("an anchor or alias has no name")
        self._text.at = found.end()
        if not self._text.is_blank() and self._text.peek() not in "?:,]}%@`":
            raise self._text.refused("the name of an anchor or alias has other characters")
        return found[0]

    def _alias(self) -> Value:
        name = self._anchor()
        if name not in self._anchors:
            raise self._text.refused(f"there is no anchor {name[:40]!r}")
        self._unfold(self._anchors[name])
        return None

    def _tag(self) -> str:
        found = _TAG.match(self._text.text, self._text.at)
        if found is None or (found[1] is not None and not found[1]):
            raise self._text.refused("a tag says nothing")
        self._text.at = found.end()
        if self._text.peek() not in ("", " ", "\n"):
            raise self._text.refused("a tag has other characters")
        if found[1] is not None:
            return unquote(found[1])
        handle = f"!{found[2]}"
        if not found[3] and handle != "!":
            raise self._text.refused("a tag has no name")
        if handle not in self._handles:
            raise self._text.refused(f"there is no handle {handle[:40]!r}")
        return self._handles[handle] + unquote(found[3])

    # --- bounds ----------------------------------------------------------------------------------

    def _enter(self) -> int:
        """One node more, one deeper; how large the document was before it."""
        self._budget.node()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise too_deep(self._text.where)
        before = self._unfolded
        self._unfold(1)
        return before

    def _unfold(self, size: int) -> None:
        self._unfolded += size
        if self._unfolded > MAX_UNFOLDED:
            raise ResourceLimitError(
                f"unfolds to more than {MAX_UNFOLDED:,} nodes by its aliases", where=self._text.where
            )

    def _made(self, given: _Properties, value: Value, before: int) -> Value:
        for anchor in given.anchors:
            self._anchors[anchor] = self._unfolded - before
        text = value if isinstance(value, str) else ""
        self._document.tags += [Tag(name, line, text) for name, line in given.tags]
        return value


def _key(value: Value) -> str:
    return value if isinstance(value, str) else ""
