"""Strings from elsewhere, made safe to show: nothing invisible, nothing that moves the cursor.

Names, paths and messages come from the run under suspicion. A control character could rewrite a terminal
line, a bidirectional override could make ``gnp.exe`` read ``exe.png``, a zero-width space could make two
different names look alike. All of them are shown as a mark in place of the character.
"""

from __future__ import annotations

from ..core.quantity import quantity

CLIP = 2000

# Printable by Unicode's categories, yet drawn as nothing: fillers, blank Braille, variation selectors.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(code) for code in (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}


def is_visible(character: str) -> bool:
    """Whether a reader sees ``character`` as itself: printable, and not one of the blank letters."""
    return character.isprintable() and character not in _BLANKS


def all_visible(text: str) -> bool:
    """Whether a reader sees every character of ``text`` as itself."""
    return text.isprintable() and _BLANKS.isdisjoint(text)


def visible(text: str) -> str:
    r"""``text`` with each invisible or control character written as ``\x1b``, ``\u202e`` and so on."""
    if all_visible(text):
        return text
    return "".join(character if is_visible(character) else _mark(ord(character)) for character in text)


def clip(text: str, limit: int = CLIP) -> str:
    """At most ``limit`` characters of ``text``, saying how many were left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}... ({quantity(len(text) - limit, 'more character')})"


def brief(text: str, limit: int) -> str:
    """``text`` in one column of a table: cut with an ellipsis, for what is told in full elsewhere."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _mark(code: int) -> str:
    if code in (9, 10, 13):
        return {9: r"\t", 10: r"\n", 13: r"\r"}[code]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
