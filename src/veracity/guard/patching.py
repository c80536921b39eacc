"""Putting a wrapper where a function stood, visibly: the original stays reachable as ``__wrapped__``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


def replace(owner: object, name: str, make: Callable[[Callable[..., R]], Callable[..., R]]) -> bool:
    """Replace ``owner.name`` by ``make(original)``; False when there is nothing to wrap.

    ``functools.wraps`` keeps name, docstring and signature, so that programs that look at the function see
    what they would have seen.
    """
    original = getattr(owner, name, None)
    if original is None or not callable(original):
        return False
    setattr(owner, name, functools.wraps(original)(make(original)))
    return True
