"""HDF5 files: the configuration of a Keras model among their attributes, and the other files they name.

Keras 2 and its followers write a whole model as HDF5, with its configuration as JSON in the attribute
``model_config`` of the root. An attribute lies in one piece, in whatever structure it is kept (an object's
header, its continuation, a heap), and begins with its name: so it is looked for by its name in all bytes
of the file, and read from there. That finds it wherever a file of any version can hold it, with no need to
follow structures that a hostile file can tie into knots.

Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html (attribute message, global heap).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import ClassVar

from ..core.errors import EvidenceError, ResourceLimitError
from ..core.observation import Observation
from ..core.quantity import quantity
from .artifact.budget import Budget
from .artifact.input import WINDOW, Input
from .artifact.reading import Nested
from .document.jsonreader import said
from .document.jsontext import NotJsonError, parse_json
from .document.saying import Saying
from .hdf5outside import Outside

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_PLACES = 1_000
MAX_TEXT = 64 << 20
_NAMES = re.compile(rb"(model_config|training_config)\0")
_FIXED, _VARIABLE = 3, 9


class Hdf5Reader:
    """HDF5, with or without something in front of it."""

    name: ClassVar[str] = "hdf5"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether the signature stands at the beginning, or at 512 bytes or any doubling of them."""
        return _base(head, whole) >= 0

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """What the configurations say, and other files; raises EvidenceError for what cannot be read."""
        base = _base(whole.read(0, 8), whole)
        offset, length = _widths(whole, base)
        unread = 0
        for name, at in _attributes(whole, budget):
            data = _Attribute(whole, base, (offset, length), at, name).data()
            if data is None:
                unread += 1
                continue
            saying = Saying(whole.name, name.decode(), depth=whole.depth)
            try:
                yield from said(parse_json(data.rstrip(b"\0"), whole.name), saying)
            except NotJsonError:
                continue
        if offset in (4, 8) and length in (4, 8):
            saying = Saying(whole.name, depth=whole.depth)
            for where, path in Outside(whole, base, offset, length, budget).files():
                yield saying.file(where, "the HDF5 library", path)
        if unread:
            raise EvidenceError(
                f"holds the configuration of a model in {quantity(unread, 'place')} where it cannot be read",
                where=whole.name,
            )


def _base(head: bytes, whole: Input) -> int:
    if head.startswith(SIGNATURE):
        return 0
    at = 512
    while at + 8 <= whole.size:
        if whole.read(at, 8) == SIGNATURE:
            return at
        at *= 2
    return -1


def _widths(whole: Input, base: int) -> tuple[int, int]:
    """Bytes of an offset and of a length, as the superblock says; zeros when it is cut off."""
    head = whole.read(base, 16)
    if len(head) < 16:
        return 0, 0
    return (head[13], head[14]) if head[8] < 2 else (head[9], head[10])


def _attributes(whole: Input, budget: Budget) -> Iterator[tuple[bytes, int]]:
    """Each name of such an attribute, and where it stands."""
    found, before, at = 0, b"", 0
    for window in whole.windows(WINDOW):
        text = before + window
        for match in _NAMES.finditer(text):
            found += 1
            if found > MAX_PLACES:
                raise ResourceLimitError("names more configurations than are read", where=whole.name)
            yield match[1], at - len(before) + match.start()
        at += len(window)
        before = text[-16:] if not _NAMES.search(text[-16:]) else b""
        budget.check_time(whole.name)


class _Attribute:
    """An attribute message whose name stands at ``at``."""

    def __init__(self, whole: Input, base: int, widths: tuple[int, int], at: int, name: bytes) -> None:
        self._whole = whole
        self._base = base
        self._at = at
        self._size = len(name) + 1
        self._offset, self._length = widths

    def data(self) -> bytes | None:
        """The text of its first element; None when this is no attribute, or of another type."""
        for back, padded in ((8, True), (8, False), (9, False)):
            head = self._whole.read(self._at - back, back)
            if len(head) == back and self._fits(head, back, padded):
                kind, space = struct.unpack("<HH", head[4:8])
                return self._value(kind, space, padded)
        return None

    def _fits(self, head: bytes, back: int, padded: bool) -> bool:
        version = 3 if back == 9 else 1 if padded else 2
        return head[0] == version and struct.unpack("<H", head[2:4])[0] == self._size

    def _value(self, kind: int, space: int, padded: bool) -> bytes | None:
        at = self._at + _up(self._size, padded)
        described = self._whole.read(at, 8)
        at += _up(kind, padded) + _up(space, padded)
        if len(described) < 8:
            return None
        size = struct.unpack("<I", described[4:8])[0]
        if described[0] & 15 == _FIXED:
            return self._text(at, size)
        return self._from_heap(at) if described[0] & 15 == _VARIABLE else None

    def _from_heap(self, at: int) -> bytes | None:
        reference = self._whole.read(at, 4 + self._offset + 4)
        if self._offset not in (4, 8) or self._length not in (4, 8) or len(reference) < 8 + self._offset:
            return None
        heap = self._base + int.from_bytes(reference[4 : 4 + self._offset], "little")
        wanted = int.from_bytes(reference[-4:], "little")
        head = self._whole.read(heap, 8 + self._length)
        if not head.startswith(b"GCOL"):
            return None
        at, end = heap + len(head), heap + int.from_bytes(head[8:], "little")
        while at < min(end, self._whole.size):
            one = self._whole.read(at, 8 + self._length)
            index, size = int.from_bytes(one[:2], "little"), int.from_bytes(one[8:], "little")
            if index == wanted:
                return self._text(at + len(one), size)
            if not index:
                return None
            at += len(one) + _up(size, True)
        return None

    def _text(self, at: int, size: int) -> bytes | None:
        if size > MAX_TEXT:
            raise ResourceLimitError(
                f"holds a configuration of {size:,} bytes, which is more than is read", where=self._whole.name
            )
        data = self._whole.read(at, size)
        return data if len(data) == size else None


def _up(size: int, padded: bool) -> int:
    return (size + 7) // 8 * 8 if padded else size
