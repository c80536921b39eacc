"""Where a Jinja template leaves the values that it was given.

All that a template can do beyond printing its values goes through Python's own attributes: from any object
to its class, from a function to its globals, from there to everything. Their names are written out, put
together, handed to a filter that takes the name of an attribute, or hidden in a format string. Text outside
of tags, and texts that are printed, may hold such names: they reach nothing.

Background: CVE-2024-34359 (a template in a model file that was rendered without a sandbox), CVE-2024-56326
and CVE-2025-27516 (ways out of the sandbox by ``format`` and ``|attr``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from .expression import Node, every
from .folding import Names, Worth
from .statements import parse_template

MAX_REACHES = 100
_INTERNAL = re.compile(
    r"""__\w+__ | _TemplateReference__\w+ | _[A-Za-z]\w*__[a-z]\w*
    | gi_(frame|code|yieldfrom) | cr_(frame|code|await|origin) | ag_(frame|code|await) | tb_(frame|next)
    | f_(back|builtins|code|globals|locals) | func_(globals|code|closure|defaults) | co_code | mro
    | im_(class|func|self)""",
    re.VERBOSE,
)
_IN_A_FORMAT = re.compile(r"\{[^{}]*?[.\[](__\w+|gi_\w+|f_[bg]\w+|func_\w+|_TemplateReference\w+)")
# Filters that take the name of an attribute: at which position, by which keyword.
_ATTRIBUTES = {
    "attr": (0, "name"),
    "map": (-1, "attribute"),
    "selectattr": (0, ""),
    "rejectattr": (0, ""),
    "groupby": (0, "attribute"),
    "sort": (2, "attribute"),
    "sum": (0, "attribute"),
    "unique": (1, "attribute"),
    "min": (1, "attribute"),
    "max": (1, "attribute"),
    "join": (1, "attribute"),
}
_FORMATS = ("format", "format_map", "vformat")


@dataclass(frozen=True, slots=True)
class Reach:
    """``kind`` and ``text`` as in the observation ``TemplateReach``."""

    line: int
    kind: str
    text: str


def reaches(text: str, where: str) -> list[Reach]:
    """All that a template reaches for, in order, each once.

    Raises NotATemplateError when Jinja would refuse it, ResourceLimitError when it is larger than any.
    """
    template = parse_template(text, where)
    names = Names(template)
    names.learn()
    found = [reach for expression in template.expressions for reach in _of(expression, names)]
    found += [
        Reach(node.line, "file", name) for node in template.loads for name in names.worth(node).texts or ["?"]
    ]
    return sorted(dict.fromkeys(found), key=lambda one: one.line)[:MAX_REACHES]


def _of(expression: Node, names: Names) -> Iterator[Reach]:
    for node in every(expression):
        if node.kind == "attr":
            yield from _named(node, Worth(frozenset({node.text})))
            if node.text in _FORMATS:
                yield from _formatted(node, names.worth(node.parts[0]))
        elif node.kind == "item" and node.parts[1].kind != "slice":
            yield from _named(node, names.worth(node.parts[1]))
        elif node.kind == "filter":
            yield from _filtered(node, names)


def _filtered(node: Node, names: Names) -> Iterator[Reach]:
    name = node.text
    at, keyword = _ATTRIBUTES.get(name, (-1, ""))
    given = node.argument(at, keyword) if at >= 0 or keyword else None
    if name == "map" and given is None:
        chosen, given = node.argument(0), node.argument(1)
        filters = names.worth(chosen) if chosen is not None else Worth()
        if filters.built:
            yield Reach(node.line, "computed", "map")
        if "attr" not in filters.texts:
            return
        name = "attr"
    if given is None:
        return
    worth = names.worth(given)
    if name == "attr" and not worth.values:
        yield Reach(node.line, "computed", "attr")
    for text in worth.texts:
        for part in text.split(".") if name != "attr" else (text,):
            yield from _named(node, Worth(frozenset({part})))
    if worth.built and name != "attr":
        yield Reach(node.line, "computed", name)


def _named(node: Node, key: Worth) -> Iterator[Reach]:
    for name in key.texts:
        plain = unicodedata.normalize("NFKC", name)
        if _INTERNAL.fullmatch(plain):
            yield Reach(node.line, "internal", plain[:80])
    if key.built:
        yield Reach(node.line, "computed", "[…]")


def _formatted(node: Node, base: Worth) -> Iterator[Reach]:
    for text in base.texts:
        if found := _IN_A_FORMAT.search(text):
            yield Reach(node.line, "format", found[0][:80])
