"""What the header of a ``.npy`` says, read without evaluating anything (NEP 1, and ``numpy/lib/format.py``).

The header is a Python literal. numpy evaluates it and makes a dtype of any text in it; so whatever is not
certainly the dtype of plain numbers is taken for one that holds objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

MAX_DEPTH = 16
MAX_ITEMS = 10_000
MAX_BYTES = 1 << 62

Literal: TypeAlias = "str | int | bool | None | tuple[Literal, ...] | dict[str, Literal]"

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'[^'\\\n]*'|\"[^\"\\\n]*\")|(?P<number>[0-9]{1,19})L?|(?P<name>True|False|None)"
    r"|(?P<mark>[()\[\]{},:]))"
)
_PLAIN = re.compile(
    r"[<>|=]?(?P<kind>[?bhilqBHILQefdgFDGucmMSaUV])(?P<size>[0-9]{0,9})(\[[0-9a-zA-Z]{1,20}\])?\Z"
)
_SIZES = {
    "?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "l": 8, "L": 8, "q": 8, "Q": 8, "e": 2, "f": 4,
    "d": 8, "g": 16, "F": 8, "D": 16, "G": 32, "m": 8, "M": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """``descr`` as numpy makes a dtype of it; ``shape`` in elements, ``fortran`` order.

    ``size``: bytes of the data, None when they may be objects, or nobody can say how long they are.
    """

    descr: Literal
    shape: tuple[int, ...]
    fortran: bool
    size: int | None


def parse_header(text: str) -> ArrayHeader | None:
    """The header in ``text``, None when it is none that numpy would take."""
    parsed = _Parser(text).parse()
    if not isinstance(parsed, dict) or set(parsed) != {"descr", "fortran_order", "shape"}:
        return None
    shape = parsed["shape"]
    if not isinstance(shape, tuple) or not isinstance(parsed["fortran_order"], bool):
        return None
    lengths = tuple(one for one in shape if type(one) is int)
    if len(lengths) != len(shape):
        return None
    item = item_size(parsed["descr"])
    size = None if item is None else item * product(lengths)
    return ArrayHeader(parsed["descr"], lengths, parsed["fortran_order"], size)


def product(lengths: tuple[int, ...]) -> int:
    """How many elements there are, cut at what no file can hold."""
    count = 1
    for length in lengths:
        count = min(count * length, MAX_BYTES)
    return 0 if 0 in lengths else count


def item_size(descr: Literal) -> int | None:
    """Bytes of one element, None when it may hold objects or is nothing that is known."""
    if isinstance(descr, str):
        return _plain_size(descr)
    if not isinstance(descr, tuple) or not descr:
        return None
    if isinstance(descr[0], str) or (len(descr) == 2 and not _is_field(descr[0])):
        return _sub_array(descr)
    sizes = [_field_size(one) for one in descr]
    known = [one for one in sizes if one is not None]
    return min(sum(known), MAX_BYTES) if len(known) == len(sizes) else None


def _plain_size(text: str) -> int | None:
    found = _PLAIN.match(text)
    if found is None:
        return None
    kind, digits = found["kind"], found["size"]
    if kind in "SaVU":
        return int(digits or 0) * (4 if kind == "U" else 1)
    if digits:
        return int(digits) if kind in "?bBiufcmM" else None
    return _SIZES.get(kind)


def _is_field(one: Literal) -> bool:
    return isinstance(one, tuple) and len(one) in (2, 3) and _is_name(one[0])


def _is_name(one: Literal) -> bool:
    return isinstance(one, str) or (
        isinstance(one, tuple) and len(one) == 2 and all(isinstance(part, str) for part in one)
    )


def _field_size(one: Literal) -> int | None:
    if not isinstance(one, tuple) or not _is_field(one):
        return None
    size = item_size(one[1])
    return size if len(one) == 2 or size is None else _times(size, one[2])


def _sub_array(descr: tuple[Literal, ...]) -> int | None:
    """An element that is an array itself: dtype and shape."""
    size = item_size(descr[0]) if len(descr) == 2 else None
    return None if size is None else _times(size, descr[1])


def _times(size: int, shape: Literal) -> int | None:
    lengths = shape if isinstance(shape, tuple) else (shape,)
    numbers = tuple(one for one in lengths if type(one) is int)
    return size * product(numbers) if len(numbers) == len(lengths) else None


class _Parser:
    """Literals of these kinds alone, no deeper and no longer than a header can be."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._items = 0

    def parse(self) -> Literal:
        """What the whole text says; None, too, when it is anything else."""
        try:
            value = self._value(0)
        except ValueError:
            return None
        return value if not self._text[self._at :].strip() else None

    def _next(self) -> re.Match[str]:
        found = _TOKEN.match(self._text, self._at)
        self._items += 1
        if found is None or self._items > MAX_ITEMS:
            raise ValueError
        self._at = found.end()
        return found

    def _value(self, depth: int) -> Literal:
        token = self._next()
        if token["text"]:
            return token["text"][1:-1]
        if token["number"]:
            return int(token["number"])
        if token["name"]:
            return {"True": True, "False": False, "None": None}[token["name"]]
        if depth >= MAX_DEPTH:
            raise ValueError
        if token["mark"] == "{":
            return self._dict(depth + 1)
        closing = {"(": ")", "[": "]"}.get(token["mark"])
        if closing is None:
            raise ValueError
        return self._sequence(depth + 1, closing)

    def _sequence(self, depth: int, closing: str) -> Literal:
        found: list[Literal] = []
        commas = False
        while not self._closes(closing):
            found.append(self._value(depth))
            if not self._closes(","):
                if not self._closes(closing):
                    raise ValueError
                break
            commas = True
        # In parentheses one value without a comma is itself.
        return found[0] if closing == ")" and len(found) == 1 and not commas else tuple(found)

    def _dict(self, depth: int) -> Literal:
        found: dict[str, Literal] = {}
        while not self._closes("}"):
            key = self._value(depth)
            if not isinstance(key, str) or key in found or not self._closes(":"):
                raise ValueError
            found[key] = self._value(depth)
            if not self._closes(","):
                if not self._closes("}"):
                    raise ValueError
                break
        return found

    def _closes(self, mark: str) -> bool:
        """Whether ``mark`` comes next, which is taken then."""
        found = _TOKEN.match(self._text, self._at)
        if found is not None and found["mark"] == mark:
            self._at = found.end()
            return True
        return False
