"""Counts as they are told to people: ``1 step``, ``1,204 steps``, ``2 entries``."""

from __future__ import annotations

_HISSING = ("s", "x", "z", "ch", "sh")
_VOWELS = "aeiou"


def quantity(number: int, noun: str, plural: str = "") -> str:
    """``number`` with its noun in the form that it asks for.

    ``plural`` is for nouns that go another way (``index``), and for words that go with them: ``quantity(n,
    "byte follows", "bytes follow")``.
    """
    return f"{number:,} {noun if number == 1 else plural or _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2:-1] not in _VOWELS:
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(_HISSING) else f"{noun}s"
