"""HTML by hand, with one door for strings from elsewhere: :func:`escape`."""

from __future__ import annotations

import html
from dataclasses import dataclass

from ..core.quantity import quantity
from .visible import all_visible, is_visible


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each kind a page shows; the rest is counted in words. ``text`` is in characters."""

    findings: int
    evidence: int
    excerpt: int
    rows: int
    text: int
    buckets: int
    ranks: int
    strips: int


GENEROUS = Limits(findings=60, evidence=8, excerpt=40, rows=1500, text=1500, buckets=480, ranks=8, strips=3)
TIGHT = Limits(findings=20, evidence=6, excerpt=24, rows=150, text=240, buckets=240, ranks=4, strips=2)
LEAST = Limits(findings=8, evidence=3, excerpt=8, rows=24, text=100, buckets=120, ranks=2, strips=1)


def escape(text: str, limit: int = 1500) -> str:
    """``text`` as HTML text or attribute value: nothing of it markup, nothing invisible.

    A character that a reader would not see is shown as its code point between brackets, ``⟦U+202E⟧``.
    ``limit`` bounds what is shown, marks included, so that a text of marks alone is not ten times as long.
    """
    short = text[:limit]
    if not all_visible(short):
        short, kept = "", short
        for at, character in enumerate(kept):
            mark = character if is_visible(character) else f"\u27e6U+{ord(character):04X}\u27e7"
            if len(short) + len(mark) > limit:
                return html.escape(short, quote=True) + _omitted(len(text) - at)
            short += mark
    return html.escape(short, quote=True) + _omitted(len(text) - limit)


def _omitted(left: int) -> str:
    return f"... ({quantity(left, 'more character')})" if left > 0 else ""


def code(text: str, limit: int = 1500) -> str:
    """``text`` as a piece of code, kept apart from the direction of the text around it."""
    return f"<code>{escape(text, limit)}</code>"


def number(value: float) -> str:
    """Coordinates with at most one decimal: ``12.5``, ``12``."""
    return f"{value:.1f}".removesuffix(".0")
