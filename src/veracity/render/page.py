"""A page of text: lines of styled spans, read as plain text or painted for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, TypeAlias

from .visible import clip, visible

if TYPE_CHECKING:
    from rich.console import Console

Span: TypeAlias = "str | tuple[str, str]"
WIDTH = 100


class Page:
    """Lines in the order they were added. Every span is made visible on the way in."""

    def __init__(self) -> None:
        self._lines: list[list[tuple[str, str]]] = []

    def line(self, *spans: Span) -> None:
        """One line; a span is text, or text and the name of a style of the terminal library."""
        pairs = [(span, "") if isinstance(span, str) else span for span in spans]
        self._lines.append([(visible(text), style) for text, style in pairs if text])

    def paragraph(self, text: str, *, indent: str = "", style: str = "") -> None:
        """``text`` wrapped at spaces only, so that a path or an identifier stays in one piece."""
        wrapped = textwrap.wrap(
            visible(clip(text)), WIDTH - len(indent), break_long_words=False, break_on_hyphens=False
        )
        for part in wrapped:
            self.line(indent, (part, style))

    def table(self, rows: list[tuple[Span, ...]], *, indent: str = "  ") -> None:
        """Rows whose columns are aligned to the left; the last column is not padded."""
        texts = [[visible(cell if isinstance(cell, str) else cell[0]) for cell in row] for row in rows]
        columns = max((len(row) for row in texts), default=0)
        widths = [max(len(row[at]) for row in texts if len(row) > at) for at in range(columns)]
        for row, cells in zip(rows, texts, strict=True):
            spans: list[Span] = [indent]
            for at, cell in enumerate(row):
                padded = cells[at] if at == len(row) - 1 else cells[at].ljust(widths[at] + 2)
                spans.append((padded, "" if isinstance(cell, str) else cell[1]))
            self.line(*spans)

    def plain(self) -> str:
        """The page without any escape code; ends with a newline when it is not empty."""
        return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in self._lines)

    def painted(self, console: Console) -> str:
        """The page in the colours ``console`` can show."""
        from rich.text import Text

        with console.capture() as capture:
            for line in self._lines:
                # Text, never markup: a name such as "[red]" must not be read as an instruction.
                console.print(Text.assemble(*line), soft_wrap=True, highlight=False)
        return capture.get()

    def show(self, console: Console | None) -> str:
        """Painted when a console is given, plain otherwise."""
        return self.plain() if console is None else self.painted(console)
