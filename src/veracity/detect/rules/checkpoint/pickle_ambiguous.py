"""A pickle means one thing to one version of Python and another to the next.

## The law

Load: what was looked at is what is loaded.

## What breaks it

An argument that reaches out of its frame (FRAME, PEP 3154). Before 3.13.15 and 3.14.7 the C unpickler goes
on across the border when it reads from memory, and skips the rest of the frame when it reads a file; later
versions and `pickle.py` raise. A tool that shows one reading hides the other (gh-154848, gh-128853).

## How it is checked

All readings are followed, and each is judged. That they differ is an error by itself: no pickler writes
such a frame.

## What fools it

Versions of Python that read yet otherwise.

## What to do

Do not load the file. If a tool has edited it, let the tool write its frames anew.
"""

from __future__ import annotations

from typing import ClassVar

from ....core.rule import Confidence, Rule, Severity
from ...pickles import AMBIGUOUS
from .pickled import OfPickles


class PickleAmbiguous(OfPickles):
    """Tells what is of this kind."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-pickle-ambiguous",
        "load",
        "A pickle is read differently by versions of Python",
        Severity.ERROR,
        Confidence.MEDIUM,
    )
    kind: ClassVar[str] = AMBIGUOUS
