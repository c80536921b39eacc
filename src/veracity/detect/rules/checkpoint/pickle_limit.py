"""A pickle takes more than the scanner gives it, so its end was not seen.

## The law

Load: nothing is loaded unseen.

## What breaks it

Millions of nested marks, values that take gigabytes, hundreds of megabytes of opcodes, pickles within
pickles.

## How it is checked

Bytes that are followed, estimated memory, depth of marks and of pickles in one another are bounded. A file
of real data stays far below: the bytes of large arrays and texts are stepped over and count nothing.

## What fools it

Nothing is assumed about what was not seen: the file is not clean.

## What to do

Look at what the file holds. Data of that size belongs into a format for arrays.
"""

from __future__ import annotations

from typing import ClassVar

from ....core.rule import Confidence, Rule, Severity
from ...pickles import LIMIT
from .pickled import OfPickles


class PickleLimit(OfPickles):
    """Tells what is of this kind."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-pickle-limit",
        "load",
        "A pickle was not followed to its end",
        Severity.WARNING,
        Confidence.HIGH,
    )
    kind: ClassVar[str] = LIMIT
