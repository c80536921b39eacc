"""What the tags of a YAML document have its loader make.

``!!python/…``           PyYAML, unless it loads safely: names are imported, called, built
``!new:``, ``!apply:`` … HyperPyYAML: the same with names of its own
``!!package.Class``      SnakeYAML and its like: an object of a Java class
``!ruby/object:Class``   Psych: an object of a Ruby class

Any other tag means what a program has registered for it: nothing is known of that.

Source: ``UnsafeConstructor`` of PyYAML 6, ``hyperpyyaml.core``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...core.observation import NameAsked
from .saying import Saying
from .yamltext import STANDARD, Tag

NEEDLE = re.compile(
    rb"!!python/|!!\w*%|!![A-Za-z_]\w*\.\w|!<|![\w-]+!|%TAG|!(new|name|apply|module|ruby)\b[^\s]{0,100}[:/%]"
)
_PYTHON = re.compile(rf"{STANDARD}python/(name|module|object|object/apply|object/new):(.*)", re.DOTALL)
_HYPER = re.compile(r"!(new|apply|name|module):(.*)", re.DOTALL)
_JAVA = re.compile(rf"{STANDARD}(\[*[A-Za-z_$][\w$]*(\.[\w$]+)+)")
_RUBY = re.compile(r"!ruby/(object|hash|struct|class|module|exception|sym|regexp)[\w-]*:(.+)", re.DOTALL)
_WAYS = {"name": "imported", "object": "built"}


def tagged(tags: list[Tag], saying: Saying) -> Iterator[NameAsked]:
    """The names that tags ask for, each once."""
    said: set[tuple[str, str]] = set()
    for tag in tags:
        found = _named(tag, saying)
        if found is not None and (found.loader, tag.name) not in said:
            said.add((found.loader, tag.name))
            yield found


def _named(tag: Tag, saying: Saying) -> NameAsked | None:
    where = f"line {tag.line}"
    if found := _PYTHON.fullmatch(tag.name):
        return _python(found[1], found[2], where, saying)
    if found := _HYPER.fullmatch(tag.name):
        if found[1] == "module":
            return saying.asks_of(where, "hyperpyyaml", "imported", found[2], "")
        return saying.asks(where, "hyperpyyaml", _WAYS.get(found[1], "called"), found[2])
    if found := _JAVA.fullmatch(tag.name):
        return saying.asks(where, "snakeyaml", "built", found[1])
    if found := _RUBY.fullmatch(tag.name):
        return saying.asks_of(where, "psych", "built", found[2], "")
    return None


def _python(kind: str, name: str, where: str, saying: Saying) -> NameAsked:
    if kind == "module":
        return saying.asks_of(where, "pyyaml", "imported", name, "")
    module, _, attribute = name.rpartition(".")
    return saying.asks_of(where, "pyyaml", _WAYS.get(kind, "called"), module or "builtins", attribute)
