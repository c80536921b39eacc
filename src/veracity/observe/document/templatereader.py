"""Reads a file that is a Jinja template: ``chat_template.jinja`` of a model, or one of another kind.

Any text is a template, mostly one without tags. Which texts are rendered is decided by their names
(``chat_template.jinja`` and ``additional_chat_templates/*.jinja`` in transformers, ``*.j2`` elsewhere), so a
name counts here; so does a text that begins with a tag, as templates do that are handed over on a command
line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ...core.errors import EvidenceError, ResourceLimitError
from ...core.observation import Observation
from ..artifact.budget import Budget
from ..artifact.input import Input
from ..artifact.reading import Nested
from ..jinja.lexer import MAX_TEXT
from .chat import template
from .saying import Saying

_NAMED = re.compile(r"\.(jinja2?|j2)\Z")
_CHAT = re.compile(r"(chat_templates?|additional_chat_templates)\b[^!]*\Z")
_BEGINS = re.compile(rb"(\xef\xbb\xbf)?\s*\{[%{#]")
_MARKS = re.compile(rb"\{[%{]")
_REACHING = re.compile(r"__|\\x5f|\\u005f|\\137|\|\s*(attr|map|format)\b|\.format|\bmro\b", re.IGNORECASE)


class TemplateReader:
    """Templates in files of their own."""

    name: ClassVar[str] = "jinja"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether it is called or begins like a template."""
        if b"\0" in head:
            return False
        return bool(_BEGINS.match(head)) or (bool(_NAMED.search(whole.name)) and bool(head))

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """What it reaches for; raises EvidenceError if Jinja refuses it and it may reach for something."""
        budget.check_time(whole.name)
        if whole.size > 4 * MAX_TEXT:
            raise ResourceLimitError("is longer than any template", where=whole.name)
        data = whole.whole(4 * MAX_TEXT)
        if not _MARKS.search(data):
            return
        text = data.decode("utf-8", "replace")
        try:
            yield from template(text, "", Saying(whole.name), chat=is_chat(whole.name, text))
        except ResourceLimitError:
            raise
        except EvidenceError:
            if _REACHING.search(text) and _NAMED.search(whole.name):
                raise


def is_chat(name: str, text: str) -> bool:
    """Whether it is rendered with the messages of a chat: called so, or going through messages."""
    return _CHAT.search(name) is not None or re.search(r"\bfor\s+\w+\s+in\s+messages\b", text) is not None
