"""The scalars of YAML: plain, quoted and block texts, and where each of them ends.

Rules are those of YAML 1.1 as PyYAML has them, which most programs in this field use.
"""

from __future__ import annotations

import re

from ...core.errors import EvidenceError, ResourceLimitError

MAX_KEY = 1_024
_BLOCK_HEAD = re.compile(r"[|>](?:([+-])([1-9])?|([1-9])([+-])?)?(?: +#[^\n]*| *)(?=\n|\Z)")
_ESCAPE = re.compile(
    r"\\(?:([0abt\tnvfre \"/\\N_LP])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(\n))"
)
_ESCAPES = dict(zip('0abt\tnvfre "/\\N_LP', '\0\a\b\t\t\n\v\f\r\x1b "/\\\x85\xa0\u2028\u2029', strict=True))


class NotYamlError(EvidenceError):
    """PyYAML would refuse this text, at ``line`` at the latest; 0 when it would not even begin."""

    def __init__(self, what: str, *, where: str, line: int = 0) -> None:
        super().__init__(what, where=where)
        self.line = line


class Text:
    """A text with a place in it."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.at = 0
        self._seen = self._line_start = self._counted = 0
        self._lines = 1

    def peek(self, ahead: int = 0) -> str:
        """The next character; empty behind the end."""
        at = self.at + ahead
        return self.text[at : at + 1]

    def is_blank(self, ahead: int = 0) -> bool:
        """Whether the character there is white, or the text ends."""
        return self.peek(ahead) in ("", " ", "\t", "\n")

    def column(self) -> int:
        """How many characters stand before this place in its line."""
        if self.at < self._seen:
            self._line_start = self.text.rfind("\n", 0, self.at) + 1
        else:
            found = self.text.rfind("\n", self._seen, self.at)
            self._line_start = found + 1 if found >= 0 else self._line_start
        self._seen = self.at
        return self.at - self._line_start

    def line(self) -> int:
        """The number of this line, from 1."""
        self._lines += self.text.count("\n", self._counted, self.at)
        self._counted = max(self._counted, self.at)
        return self._lines

    def at_marker(self) -> bool:
        """Whether ``---`` or ``...`` stands here, at the beginning of a line."""
        return self.text[self.at : self.at + 3] in ("---", "...") and self.is_blank(3) and not self.column()

    def at_end(self) -> bool:
        """Whether the document ends here: with the text, at a marker, or at a directive of the next."""
        if self.at >= len(self.text) or self.at_marker():
            return True
        return self.peek() == "%" and not self.column()

    def skip(self) -> bool:
        """Go behind blanks, comments and ends of lines; whether a line has ended."""
        crossed = False
        while True:
            while self.peek() == " ":
                self.at += 1
            if self.peek() == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            if self.peek() != "\n":
                return crossed
            self.at += 1
            crossed = True

    def refused(self, what: str) -> NotYamlError:
        """What is raised where PyYAML would give up."""
        line = self.line()
        return NotYamlError(f"line {line} is no YAML: {what}", where=self.where, line=line)

    # --- scalars ---------------------------------------------------------------------------------

    def starts_plain(self, flow: bool) -> bool:
        """Whether a plain text begins here."""
        one = self.peek()
        if one and one not in " \t\n-?:,[]{}#&*!|>'\"%@`":
            return True
        return not self.is_blank(1) and (one == "-" or (not flow and one != "" and one in "?:"))

    def plain(self, least: int, flow: bool) -> str:
        """A plain text; lines that go on stand at column ``least`` or further in."""
        parts: list[str] = []
        while True:
            start = self.at
            self._plain_line(flow)
            if self.at == start:
                return "".join(parts[:-1])
            parts.append(self.text[start : self.at])
            end = self.at
            parts.append(self._fold(stops_at_tabs=True))
            stays = self.at > end and self.peek() != "#" and not self.at_marker()
            if not stays or (not flow and self.column() < least and "\n" in self.text[end : self.at]):
                self.at = end
                return "".join(parts[:-1])

    def _plain_line(self, flow: bool) -> None:
        while one := self.peek():
            if one in " \t\n" or (one == ":" and self.is_blank(1)) or (flow and one in ",?[]{}"):
                return
            self.at += 1

    def _fold(self, *, stops_at_tabs: bool = False) -> str:
        """Blanks and ends of lines inside a text, and what they stand for."""
        start = self.at
        blanks = " " if stops_at_tabs else " \t"
        while self.peek() and self.peek() in blanks:
            self.at += 1
        if self.peek() != "\n":
            return self.text[start : self.at]
        lines = 0
        while self.peek() == "\n" or (lines and self.peek() and self.peek() in blanks):
            lines += self.peek() == "\n"
            self.at += 1
            if self.at_marker():
                break
        return " " if lines == 1 else "\n" * (lines - 1)

    def quoted(self) -> str:
        """A text in quotes."""
        quote = self.peek()
        self.at += 1
        parts: list[str] = []
        while True:
            one = self.peek()
            if not one or self.at_marker():
                raise self.refused("a text in quotes has no end")
            if one == quote:
                self.at += 1
                if quote == "'" and self.peek() == "'":
                    parts.append("'")
                    self.at += 1
                    continue
                return "".join(parts)
            if one == "\\" and quote == '"':
                parts.append(self._escape())
            elif one in " \t\n":
                parts.append(self._fold())
            else:
                end = self.at + 1
                while end < len(self.text) and self.text[end] not in "'\"\\ \t\n":
                    end += 1
                parts.append(self.text[self.at : end])
                self.at = end

    def _escape(self) -> str:
        found = _ESCAPE.match(self.text, self.at)
        if found is None:
            raise self.refused("there is no such escape")
        self.at = found.end()
        if found[5]:
            while self.peek() and self.peek() in " \t\n":
                self.at += 1
            return ""
        if found[1]:
            return _ESCAPES[found[1]]
        number = int(found[2] or found[3] or found[4], 16)
        if number > 0x10FFFF:
            raise self.refused("there is no such character")
        return chr(number)

    def block(self, least: int) -> str:
        """A block text; its lines stand at column ``least`` or further in."""
        head = _BLOCK_HEAD.match(self.text, self.at)
        if head is None:
            raise self.refused("a block begins otherwise")
        given = head[2] or head[3]
        self.at = min(head.end() + 1, len(self.text))
        least = max(least, 1)
        indent = least + int(given) - 1 if given else self._block_indent(least)
        lines = []
        while self.at < len(self.text) and not self.at_marker():
            end = self.text.find("\n", self.at)
            end = len(self.text) if end < 0 else end
            line = self.text[self.at : end]
            blanks = len(line) - len(line.lstrip(" "))
            if blanks < indent and blanks < len(line):
                break
            lines.append(line[indent:])
            self.at = min(end + 1, len(self.text))
        return "\n".join(lines)

    def _block_indent(self, least: int) -> int:
        at, deepest = self.at, least
        while at < len(self.text):
            end = self.text.find("\n", at)
            end = len(self.text) if end < 0 else end
            line = self.text[at:end]
            deepest = max(deepest, len(line) - len(line.lstrip(" ")))
            if line.strip(" "):
                break
            at = end + 1
        return deepest


def too_deep(where: str) -> ResourceLimitError:
    """What is raised at the bound of nesting."""
    return ResourceLimitError("is nested deeper than is read", where=where)
