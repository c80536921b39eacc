"""Texts of a configuration that its loader evaluates.

OmegaConf replaces ``${name:…}`` by what the resolver of that name makes of the rest. Its own resolvers look
values up. Programs register more, and the most common one of all evaluates its text as Python
(``register_new_resolver("eval", eval)``). Arithmetic in it is what it is there for; what reaches beyond
arithmetic is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...core.observation import CodeCarried
from .saying import Saying
from .value import Fields, Value, objects

_EVALUATED = re.compile(r"\$\{\s*(\w*eval\w*|py|python|exec)\s*:")
MAX_TEXT = 2_000
_BEYOND = re.compile(
    r"__\w+__|\b(__import__|exec|eval|compile|open|getattr|setattr|globals|locals|vars|input|breakpoint)\s*\("
    r"|\bimport\s+\w|\b(os|sys|subprocess|socket|shutil|builtins|importlib|pickle|ctypes)\s*\.\s*\w"
)


def evaluated(root: Value, saying: Saying) -> Iterator[CodeCarried]:
    """Texts in a document that are evaluated and do more than calculate."""
    for path, fields in objects(Fields([("", root)])):
        for key, value in fields.pairs:
            for text in value if isinstance(value, list) else (value,):
                if not isinstance(text, str) or "${" not in text:
                    continue
                for found in _EVALUATED.finditer(text):
                    inside = _inside(text, found.end())
                    if reaches_beyond(inside):
                        where = saying.where(path, key).lstrip(".")
                        yield saying.carries(where, "omegaconf", "expression", inside.strip())


def reaches_beyond(text: str, *, imports: bool = True) -> bool:
    """Whether a text of Python does more than calculate; ``imports``: and an import is more."""
    return any(imports or not found[0].startswith("import") for found in _BEYOND.finditer(text))


def _inside(text: str, start: int) -> str:
    """What stands before the brace that ends it, in so many characters."""
    depth = 1
    for at in range(start, min(len(text), start + MAX_TEXT)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return text[start:at]
    return text[start : start + MAX_TEXT]
