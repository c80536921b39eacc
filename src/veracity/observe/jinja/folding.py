"""What the expressions of a template can be worth, as far as that is written in the template itself.

A name that is put together (``"__cla" ~ "ss__"``) is the same to Jinja as one that is written out. So texts
are followed through names, lists, operators, filters and methods. Names are taken as global, and all that is
ever bound to one counts: what comes out may be more than what can be, never less, within the bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .expression import Node, every
from .statements import Template

MAX_VALUES = 32
MAX_CHARACTERS = 4_096
ROUNDS = 6
MAX_DEPTH = 60
"""Operators in operators that are followed: further in, all counts as put together."""

Constant: TypeAlias = "str | int | tuple[Constant, ...]"


@dataclass(frozen=True, slots=True)
class Worth:
    """``values``: those that are known. ``built``: it can also be a text that is put together from parts."""

    values: frozenset[Constant] = frozenset()
    built: bool = False

    def __or__(self, other: Worth) -> Worth:
        values = self.values | other.values
        if len(values) > MAX_VALUES:
            return Worth(built=True)
        return Worth(values, self.built or other.built)

    @property
    def texts(self) -> list[str]:
        """The known texts, sorted."""
        return sorted(one for one in self.values if isinstance(one, str))

    @property
    def textual(self) -> bool:
        """Whether it can be a text that is known, or put together."""
        return self.built or any(isinstance(one, (str, tuple)) for one in self.values)


NOTHING = Worth()
BUILT = Worth(built=True)


@dataclass(slots=True)
class Names:
    """What each name of a template can be worth."""

    template: Template
    known: dict[str, Worth] = field(default_factory=dict)
    depth: int = 0

    def learn(self) -> None:
        """Follow all bindings until nothing new is learned, or for as many rounds as there are."""
        for _ in range(ROUNDS):
            before = dict(self.known)
            for name, node in self.template.bindings:
                self._add(name, BUILT if node is None else self.worth(node))
                if node is not None:
                    self._namespace(name, node)
            for name, node in self.template.items:
                self._add(name, _items(self.worth(node)))
            for expression in self.template.expressions:
                self._arguments(expression)
            if self.known == before:
                return
        self.known = {name: Worth(one.values, one.textual) for name, one in self.known.items()}

    def _add(self, name: str, worth: Worth) -> None:
        self.known[name] = self.known.get(name, NOTHING) | worth

    def _namespace(self, name: str, node: Node) -> None:
        if node.kind == "call" and node.parts[0].kind == "name":
            for at, keyword in enumerate(reversed(node.keywords), 1):
                self._add(f"{name}.{keyword}", self.worth(node.parts[-at]))

    def _arguments(self, expression: Node) -> None:
        """What the parameters of macros are called with."""
        for node in every(expression):
            if node.kind != "call" or node.parts[0].kind != "name":
                continue
            for at, parameter in enumerate(self.template.macros.get(node.parts[0].text, ())):
                given = node.argument(at, parameter)
                if given is not None:
                    self._add(parameter, self.worth(given))

    # --- expressions -----------------------------------------------------------------------------

    def worth(self, node: Node) -> Worth:
        """What an expression can be worth."""
        reader = _KINDS.get(node.kind)
        if reader is None:
            return NOTHING
        if self.depth >= MAX_DEPTH:
            return BUILT
        self.depth += 1
        try:
            return reader(self, node)
        finally:
            self.depth -= 1

    def _const(self, node: Node) -> Worth:
        return NOTHING if node.value is None else Worth(frozenset({node.value}))

    def _name(self, node: Node) -> Worth:
        return self.known.get(node.text, NOTHING)

    def _attr(self, node: Node) -> Worth:
        base = node.parts[0]
        return self.known.get(f"{base.text}.{node.text}", NOTHING) if base.kind == "name" else NOTHING

    def _choice(self, node: Node) -> Worth:
        first, second = node.parts[-2:]
        return self.worth(first) | self.worth(second)

    def _list(self, node: Node) -> Worth:
        parts = [self.worth(part) for part in node.parts[:MAX_CHARACTERS]]
        if all(len(part.values) == 1 and not part.built for part in parts):
            return Worth(frozenset({tuple(next(iter(part.values)) for part in parts)}))
        return BUILT if any(part.textual for part in parts) else NOTHING

    def _item(self, node: Node) -> Worth:
        base, key = self.worth(node.parts[0]), node.parts[1]
        if not base.textual:
            return NOTHING
        if key.kind == "slice":
            keys: Worth = Worth(frozenset({tuple(_bound(part) for part in key.parts)}))
        else:
            keys = self.worth(key)
        return _folded(lambda one, at: _taken(one, at, key.kind == "slice"), base, keys)

    def _op(self, node: Node) -> Worth:
        left, right = (self.worth(part) for part in node.parts)
        if not (left.textual or right.textual):
            return BUILT if node.text == "~" else NOTHING
        return _folded(lambda one, other: _operated(node.text, one, other), left, right)

    def _filter(self, node: Node) -> Worth:
        arguments = [self.worth(part) for part in node.parts[:3]]
        if node.text in ("length", "count", "int", "float", "abs", "round", "wordcount"):
            return NOTHING
        if not arguments[0].textual:
            return BUILT if node.text in ("join", "format", "replace", "reverse") else NOTHING
        return _applied(node.text, arguments)

    def _call(self, node: Node) -> Worth:
        function = node.parts[0]
        if function.kind == "name":
            return BUILT if function.text in self.template.macros else NOTHING
        if function.kind != "attr":
            return NOTHING
        arguments = [self.worth(function.parts[0]), *(self.worth(part) for part in node.parts[1:3])]
        if not arguments[0].textual:
            return BUILT if function.text in ("join", "format", "replace") else NOTHING
        return _applied(f".{function.text}", arguments)


_KINDS: Mapping[str, Callable[[Names, Node], Worth]] = {
    "const": Names._const,
    "name": Names._name,
    "attr": Names._attr,
    "choice": Names._choice,
    "if": Names._choice,
    "list": Names._list,
    "item": Names._item,
    "op": Names._op,
    "filter": Names._filter,
    "call": Names._call,
}


def _items(worth: Worth) -> Worth:
    found = Worth(built=worth.built)
    for one in worth.values:
        if isinstance(one, (str, tuple)):
            found |= Worth(frozenset(one))
    return found


def _folded(function: Callable[[Constant, Constant], Constant | None], left: Worth, right: Worth) -> Worth:
    """``function`` of each pair; built when a pair is not known."""
    if left.built or right.built or not left.values or not right.values:
        return BUILT
    if len(left.values) * len(right.values) > MAX_VALUES**2:
        return BUILT
    found = NOTHING
    for one in left.values:
        for other in right.values:
            value = function(one, other)
            if value is None:
                return BUILT
            found |= Worth(frozenset({value}))
            if found.built:
                return BUILT
    return found


def _operated(operator: str, left: Constant, right: Constant) -> Constant | None:
    if operator == "~" or (operator == "+" and isinstance(left, str) and isinstance(right, str)):
        return _short(_text(left) + _text(right))
    if operator == "+" and isinstance(left, tuple) and isinstance(right, tuple):
        return left + right if len(left) + len(right) <= MAX_CHARACTERS else None
    if operator == "*" and isinstance(left, str) and isinstance(right, int):
        return left * right if right >= 0 and right * len(left) <= MAX_CHARACTERS else None
    if operator == "%" and isinstance(left, str):
        return _percent(left, right)
    return None


def _percent(text: str, values: Constant) -> str | None:
    if len(text) > MAX_CHARACTERS or any(one.isdigit() or one == "*" for one in text):
        return None  # a width could ask for any number of characters
    try:
        return _short(text % values)
    except (TypeError, ValueError, OverflowError):
        return None


def _taken(base: Constant, key: Constant, is_slice: bool) -> Constant | None:
    if not isinstance(base, (str, tuple)):
        return None
    if is_slice and isinstance(key, tuple):
        start, stop, step = (part if isinstance(part, int) else None for part in key)
        return base[start:stop:step] if step != 0 else None
    if isinstance(key, int) and -len(base) <= key < len(base):
        return base[key]
    return None


def _bound(node: Node) -> Constant:
    return node.value if isinstance(node.value, int) else ()


def _applied(name: str, arguments: list[Worth]) -> Worth:
    """A filter or method of a text: known when all that it is given is."""
    function = _TEXTS.get(name.removeprefix("."))
    if function is None:
        return BUILT
    if name == ".join" and len(arguments) > 1:
        arguments = [arguments[1], arguments[0]]
    first, *rest = arguments
    second = rest[0] if rest else Worth(frozenset({""}))
    if len(rest) < 2:
        return _folded(lambda one, other: function(one, other, ""), first, second)
    found = NOTHING
    for third in rest[1].values or (None,):
        if third is None:
            return BUILT
        found |= _folded(lambda one, other, last=third: function(one, other, last), first, second)  # type: ignore[misc]
    return found


def _replaced(text: Constant, old: Constant, new: Constant) -> Constant | None:
    if not (isinstance(text, str) and isinstance(old, str) and isinstance(new, str)):
        return None
    if len(text) * max(1, len(new)) > MAX_CHARACTERS * 16:
        return None
    return _short(text.replace(old, new))


def _joined(parts: Constant, between: Constant, _: Constant) -> Constant | None:
    if not isinstance(parts, (str, tuple)) or not isinstance(between, str):
        return None
    texts = [_text(part) for part in parts]
    if sum(map(len, texts)) + len(between) * len(texts) > MAX_CHARACTERS:
        return None
    return between.join(texts)


def _split(text: Constant, at: Constant, _: Constant) -> Constant | None:
    return tuple(text.split(at or None)) if isinstance(text, str) and isinstance(at, str) else None


def _ends(at: int) -> Callable[[Constant, Constant, Constant], Constant | None]:
    return lambda one, _, __: one[at] if isinstance(one, (str, tuple)) and one else None


def _same(method: Callable[[str], str]) -> Callable[[Constant, Constant, Constant], Constant | None]:
    return lambda one, _, __: _short(method(one)) if isinstance(one, str) else None


def _stripped(one: Constant, some: Constant, _: Constant) -> Constant | None:
    return one.strip(some or None) if isinstance(one, str) and isinstance(some, str) else None


def _reversed(one: Constant, _: Constant, __: Constant) -> Constant | None:
    return one[::-1] if isinstance(one, (str, tuple)) else None


_TEXTS: Mapping[str, Callable[[Constant, Constant, Constant], Constant | None]] = {
    "lower": _same(str.lower),
    "upper": _same(str.upper),
    "title": _same(str.title),
    "capitalize": _same(str.capitalize),
    "swapcase": _same(str.swapcase),
    "casefold": _same(str.casefold),
    "string": _same(str),
    "safe": _same(str),
    "trim": _stripped,
    "strip": _stripped,
    "list": lambda one, _, __: tuple(one) if isinstance(one, (str, tuple)) else None,
    "default": lambda one, _, __: one,
    "first": _ends(0),
    "last": _ends(-1),
    "reverse": _reversed,
    "replace": _replaced,
    "join": _joined,
    "split": _split,
    "format": lambda one, other, _: _percent(one, other) if isinstance(one, str) else None,
}


def _text(value: Constant) -> str:
    return value if isinstance(value, str) else str(value)[:MAX_CHARACTERS]


def _short(text: str) -> str | None:
    return text if len(text) <= MAX_CHARACTERS else None
