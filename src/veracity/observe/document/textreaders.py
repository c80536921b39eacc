"""Reads YAML and TOML: tags, names that loaders import, texts that resolvers evaluate.

Nearly any text is YAML, so a text is only parsed when it holds something that a loader of YAML would act on,
and only what parses as a whole says something: a page that quotes a dangerous line is no YAML, and a comment
or a quoted text is none of its tags.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import ClassVar

from ...core.errors import EvidenceError, ResourceLimitError
from ...core.observation import Observation
from ..artifact.budget import Budget
from ..artifact.input import WINDOW, Input
from ..artifact.reading import Nested
from ..toml import parse_toml
from . import asked, chat, keras, tagged
from .jsonreader import said
from .jsontext import parse_json
from .saying import Saying
from .value import Fields, Value
from .yamlscalars import NotYamlError
from .yamltext import parse_yaml

MAX_PARSED = 4 << 20
BEGINNING = 1 << 17
LAST_LINES = 20
"""Lines at the end of a beginning in which a text may seem to break off because it was cut."""
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ESCAPED = rb"\\(x|u00|U000000)[2-7]"
_OVERLAP = 128
_EVALUATED = rb"\$\{\s*\w*(eval|py|exec)"
_KEYS = rb"|".join((asked.NEEDLE.pattern, keras.NEEDLE.pattern, chat.NEEDLE, _ESCAPED, _EVALUATED))
_YAML = re.compile(tagged.NEEDLE.pattern + rb"|" + _KEYS)
_TOML = re.compile(_KEYS)
_TOML_LINE = re.compile(
    rb"(\xef\xbb\xbf)?(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]*(\[{1,2}[^\]\n]+\]{1,2}|[\w\"'. -]+=)"
)
_NOT_TEXT = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


class YamlReader:
    """YAML that asks its loader for something."""

    name: ClassVar[str] = "yaml"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether it is text with something in it that a loader of YAML acts on."""
        return head.startswith(_WIDE) or (not _NOT_TEXT.search(head) and _holds(whole, _YAML))

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """Names, templates, texts that are evaluated; raises EvidenceError when it is too large to tell."""
        if whole.size > MAX_PARSED and _breaks_off(whole):
            return
        text = _text(whole)
        saying = Saying(whole.name, depth=whole.depth)
        if _is_json(text, whole.name):
            return
        try:
            for document in parse_yaml(text, whole.name, budget):
                yield from tagged.tagged(document.tags, saying)
                yield from said(document.root, saying)
        except NotYamlError:
            return


class TomlReader:
    """TOML that asks its loader for something."""

    name: ClassVar[str] = "toml"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether it is text in lines of TOML with something in it that a loader acts on."""
        if _NOT_TEXT.search(head) or not _TOML_LINE.match(head):
            return False
        return _holds(whole, _TOML)

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """As with YAML."""
        budget.check_time(whole.name)
        data = _text(whole).encode("utf-8", "replace")
        try:
            root = parse_toml(data, whole.name)
        except ResourceLimitError:
            raise
        except EvidenceError:
            return
        yield from said(_value(root), Saying(whole.name, depth=whole.depth))


def _holds(whole: Input, needle: re.Pattern[bytes]) -> bool:
    """Whether ``needle`` is anywhere in it, or it cannot be read: then reading it says why."""
    before = b""
    try:
        for window in whole.windows(WINDOW):
            if needle.search(before + window):
                return True
            before = window[-_OVERLAP:]
    except EvidenceError:
        return True
    return False


def _breaks_off(whole: Input) -> bool:
    """Whether the beginning of a long text is no YAML, or nothing but one text to it: so is any program."""
    text = whole.read(0, BEGINNING).decode("utf-8", "replace")
    lines = text.count("\n")
    try:
        roots = [document.root for document in parse_yaml(text, whole.name)]
    except NotYamlError as error:
        return error.line < lines - LAST_LINES
    except EvidenceError:
        return False
    return all(isinstance(root, str) for root in roots)


def _is_json(text: str, where: str) -> bool:
    """Whether it is JSON, which has a reader of its own: nearly all of that is YAML too."""
    text = text.removeprefix("\ufeff")
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        parse_json(text, where)
    except EvidenceError:
        return False
    return True


def _text(whole: Input) -> str:
    """The text, as PyYAML decodes it; what is no text comes out as what no format takes."""
    if whole.size > MAX_PARSED:
        raise ResourceLimitError(
            f"is a text of more than {MAX_PARSED:,} bytes with words that loaders act on", where=whole.name
        )
    data = whole.whole(MAX_PARSED)
    encoding = "utf-16" if data.startswith(_WIDE) else "utf-8"
    return data.decode(encoding, "replace").replace("\ufffd", "\0")


def _value(value: object) -> Value:
    if isinstance(value, dict):
        return Fields([(str(key), _value(one)) for key, one in value.items()])
    if isinstance(value, list):
        return [_value(one) for one in value]
    return value if isinstance(value, (bool, int, float, str)) else str(value)
