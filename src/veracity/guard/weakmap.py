"""A dictionary with weak keys that finds the same key again at once."""

from __future__ import annotations

import weakref
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class WeakMap(weakref.WeakKeyDictionary[K, V]):
    """What is remembered of objects while they live.

    In a training loop the same object is looked up again and again. :meth:`find` then compares one reference,
    where ``get`` makes a new one and asks for a hash: with cold caches several microseconds. Values are set
    and deleted by ``[]`` alone.
    """

    def __init__(self) -> None:
        super().__init__()
        # One object, so that another thread does not see a key of one find and the value of another.
        self._last: tuple[weakref.ref[K], V] | None = None

    def find(self, key: K) -> V | None:
        """The value of ``key``, None when there is none; raises TypeError for what cannot be a weak key."""
        last = self._last
        if last is not None and last[0]() is key:
            return last[1]
        value = self.get(key)
        if value is not None:
            self._last = weakref.ref(key, self._let_go), value
        return value

    def __setitem__(self, key: K, value: V) -> None:
        """Remember ``value`` of ``key``."""
        super().__setitem__(key, value)
        self._last = None

    def __delitem__(self, key: K) -> None:
        """Forget ``key``."""
        super().__delitem__(key)
        self._last = None

    def _let_go(self, gone: weakref.ref[K]) -> None:
        """The object that was found last is gone, and its value is not to outlive it."""
        if self._last is not None and self._last[0] is gone:
            self._last = None
