"""Chat templates of a document, or of a file that is one."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.errors import EvidenceError
from ...core.observation import TemplateReach
from ..jinja.lexer import NotATemplateError
from ..jinja.reach import reaches
from .saying import Saying
from .value import Fields, Value, objects

KEY = "chat_template"
NEEDLE = rb"chat_template|template_format"


def chat_templates(root: Value, saying: Saying) -> Iterator[TemplateReach]:
    """What the templates under ``chat_template``, at any depth, reach for; and prompts of LangChain in Jinja.

    Raises EvidenceError for one that Jinja would refuse: what it would do is not known.
    """
    for path, fields in objects(root):
        for value in fields.get(KEY):
            for more, text in _templates(value):
                yield from template(text, saying.where(path, KEY, *more), saying, chat=True)
        if fields.text("template_format") == "jinja2":
            for value in fields.get("template"):
                if isinstance(value, str):
                    yield from template(value, saying.where(path, "template"), saying, chat=True)


def template(text: str, where: str, saying: Saying, *, chat: bool) -> Iterator[TemplateReach]:
    """What one template reaches for; raises EvidenceError as :func:`chat_templates`."""
    try:
        found = reaches(text, saying.name)
    except NotATemplateError as error:
        what = f"the template {where} cannot be read: {error.diagnostics().what}"
        raise EvidenceError(what, where=saying.name) from error
    for one in found:
        yield TemplateReach(saying.origin, saying.name, where, one.line, one.kind, one.text, chat)


def _templates(value: Value) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """One text, or one for each name: in an object, or in a list of objects with ``template``."""
    if isinstance(value, str):
        yield (), value
    elif isinstance(value, Fields):
        yield from (((key,), text) for key, text in value.pairs if isinstance(text, str))
    elif isinstance(value, list):
        for at, one in enumerate(value):
            if isinstance(one, str):
                yield (at,), one
            elif isinstance(one, Fields):
                yield from (((at,), text) for text in one.get("template") if isinstance(text, str))
