"""Reads an input from front to back in small pieces, a window at a time."""

from __future__ import annotations

import struct

from ...core.errors import EvidenceError
from ...core.quantity import quantity
from .input import WINDOW, Input


class Cursor:
    """A place in an input; every read raises EvidenceError when it would go behind ``end``."""

    def __init__(self, whole: Input, at: int = 0, end: int | None = None, window: int = WINDOW) -> None:
        self.at = at
        self.end = whole.size if end is None else min(end, whole.size)
        self._whole = whole
        self._window = window
        self._held = b""
        self._held_at = 0

    @property
    def left(self) -> int:
        """How many bytes follow."""
        return self.end - self.at

    def take(self, size: int) -> bytes:
        """The next bytes; the caller bounds ``size``."""
        self._need(size)
        start = self.at - self._held_at
        if start < 0 or start + size > len(self._held):
            self._held = self._whole.read(self.at, max(size, min(self._window, self.end - self.at)))
            self._held_at, start = self.at, 0
        self.at += size
        return self._held[start : start + size]

    def skip(self, size: int) -> None:
        """Pass over bytes without reading them."""
        self._need(size)
        self.at += size

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        """The next numbers, as ``form`` has them."""
        return form.unpack(self.take(form.size))

    def _need(self, size: int) -> None:
        if size < 0 or self.at + size > self.end:
            raise EvidenceError(
                f"ends where {quantity(size, 'more byte')} should follow byte {self.at:,}",
                where=self._whole.name,
            )
