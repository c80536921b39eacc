"""Reads JSON: configurations of models, and whatever else gives its loader something to execute.

A text that Python's reader does not take gives its loader nothing. One without any of the words that loaders
act on is not parsed, which is what most JSON is: vocabularies, indexes, data.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import ClassVar

from ...core.errors import ResourceLimitError
from ...core.observation import Observation
from ..artifact.budget import Budget
from ..artifact.input import WINDOW, Input
from ..artifact.reading import Nested
from . import asked, chat, keras, notebook, resolved
from .jsontext import NotJsonError, parse_json
from .saying import Saying
from .value import Value

MAX_PARSED = 64 << 20
OVERLAP = 64
_BEGINS = re.compile(rb"\s*[\[{]")
_ESCAPED = rb"\\u00[2-7]"
"""A letter or sign that JSON need not escape: it may stand in a word that is looked for."""
_EVALUATED = rb"\$\{\s*\w*(eval|py|exec)"
_NEEDLE = re.compile(
    rb"|".join(
        (
            *(asked.NEEDLE.pattern, keras.NEEDLE.pattern, notebook.NEEDLE.pattern, chat.NEEDLE),
            *(_ESCAPED, _EVALUATED),
        )
    )
)
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


class JsonReader:
    """Objects and lists in JSON."""

    name: ClassVar[str] = "json"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether it begins like an object or a list, in any encoding that Python's reader takes."""
        plain = head.removeprefix(codecs.BOM_UTF8)
        if not plain.strip():
            plain = _behind_blanks(whole)
        return bool(_BEGINS.match(plain)) or is_wide(head)

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """Names and templates; raises ResourceLimitError if it may hold some and is too long to be parsed."""
        if not is_wide(whole.read(0, 64)) and not has_needle(whole, _NEEDLE, budget):
            return
        if whole.size > MAX_PARSED:
            raise ResourceLimitError(
                f"is JSON of more than {MAX_PARSED:,} bytes with words that loaders act on", where=whole.name
            )
        try:
            root = parse_json(whole.whole(MAX_PARSED), whole.name)
        except NotJsonError:
            return
        saying = Saying(whole.name, depth=whole.depth)
        yield from said(root, saying)
        yield from notebook.notebook(root, saying)


def said(root: Value, saying: Saying) -> Iterator[Observation | Nested]:
    """What a document says to any of its loaders, whatever format it was written in."""
    yield from asked.asked(root, saying)
    yield from keras.keras_objects(root, saying)
    yield from resolved.evaluated(root, saying)
    yield from chat.chat_templates(root, saying)


def _behind_blanks(whole: Input) -> bytes:
    """The first window that is not blank; empty when there is none within what would be parsed."""
    at = 0
    while at < min(whole.size, MAX_PARSED):
        window = whole.read(at, WINDOW)
        if window.strip():
            return window
        at += len(window)
    return b""


def is_wide(head: bytes) -> bool:
    """Whether it begins like JSON in units of two or four bytes, as ``json.detect_encoding`` tells them."""
    start = head[:64]
    if not (start.startswith(_WIDE) or (len(start) >= 4 and 0 in start[:2])):
        return False
    try:
        text = start[: len(start) // 4 * 4].decode(json.detect_encoding(start))
    except UnicodeDecodeError:
        return False
    return re.match(r"\ufeff?\s*[\[{]\s*[\"\[{\]}\d\-tfn]", text) is not None


def has_needle(whole: Input, needle: re.Pattern[bytes], budget: Budget) -> bool:
    """Whether ``needle`` is found anywhere; it finds nothing longer than ``OVERLAP`` bytes."""
    before = b""
    for window in whole.windows(WINDOW):
        if needle.search(before + window):
            return True
        before = window[-OVERLAP:]
        budget.check_time(whole.name)
    return False
