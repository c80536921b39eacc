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
from .value import Fields, Path, Value, objects

_EVALUATED = re.compile(r"\$\{\s*(\w*eval\w*|py|python|exec)\s*:")
MAX_TEXT = 2_000
MAX_ROUNDS = 8
MAX_VALUES = 16
_INNERMOST = re.compile(r"\$\{([^${}]{1,500})\}")
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


def interpolated(text: str, path: Path, root: Value) -> set[str]:
    """What a text can be once OmegaConf has put other values in the place of ``${…}``.

    ``path``: where the object lies that holds it, for names that begin with dots. What is not written in the
    document itself (variables, values of other files) is left as it stands.
    """
    found = {text}
    for _ in range(MAX_ROUNDS):
        before = set(found)
        for one in before:
            place = _INNERMOST.search(one)
            if place is None:
                continue
            values = [value for value in _values(place[1], path, root) if value != place[0]]
            if values:
                found.discard(one)
                found |= {one[: place.start()] + value + one[place.end() :] for value in values[:MAX_VALUES]}
        found = set(sorted(found)[:MAX_VALUES])
        if found == before:
            break
    return found


def _values(name: str, path: Path, root: Value) -> Iterator[str]:
    """The texts that a name stands for: of a node, and what stands behind the comma of a resolver."""
    resolver, colon, rest = name.partition(":")
    if colon:
        if resolver.strip().startswith("oc."):
            yield rest.rpartition(",")[2].strip().strip("'\"")
            if resolver.strip() == "oc.select":
                yield from _values(rest.partition(",")[0].strip(), path, root)
        return
    keys = [one for one in re.split(r"[.\[\]]+", name.strip()) if one]
    dots = len(name.strip()) - len(name.strip().lstrip("."))
    above: list[str | int] = []
    while dots and path is not None:
        above.append(path[1])
        path = path[0]
    nodes: list[Value] = [root]
    base = above[::-1][: len(above) - (dots - 1)] if dots else []
    for key in (*base, *keys):
        nodes = [value for node in nodes for value in _below(node, key)][:MAX_VALUES]
    yield from (node for node in nodes if isinstance(node, str) and len(node) <= MAX_TEXT)


def _below(node: Value, key: str | int) -> list[Value]:
    if isinstance(node, Fields):
        return node.get(str(key))
    if isinstance(node, list) and str(key).isdigit() and int(str(key)[:9]) < len(node):
        return [node[int(str(key)[:9])]]
    return []


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
