"""Putting a wrapper where a function stood, visibly: the original stays reachable as ``__wrapped__``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


def replace(owner: object, name: str, make: Callable[[Callable[..., R]], Callable[..., R]]) -> bool:
    """Replace ``owner.name`` by ``make(original)``; False when there is nothing to wrap.

    ``functools.update_wrapper`` keeps name, docstring and signature, so that programs that look at the
    function see what they would have seen.
    """
    original = getattr(owner, name, None)
    if original is None or not callable(original):
        return False
    made = make(original)
    updated = () if isinstance(made, type) else functools.WRAPPER_UPDATES  # a class has its own dictionary
    setattr(owner, name, functools.update_wrapper(made, original, updated=updated))
    return True


def once(
    make: Callable[[Callable[..., R]], Callable[..., R]],
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """``make``, but with one wrapper for each function, under however many names it is replaced.

    A function is pickled by name, and found to be another one if its names hold different wrappers.
    """
    made: list[tuple[Callable[..., R], Callable[..., R]]] = []

    def make_once(original: Callable[..., R]) -> Callable[..., R]:
        for known, wrapper in made:
            if known is original:
                return wrapper
        made.append((original, make(original)))
        return made[-1][1]

    return make_once
