"""Pickles within a pickle's bytes: calls that unpickle what they are given.

A tensor that is pickled without ``torch.save`` is bytes that ``torch.storage._load_from_bytes`` loads: one of
torch's legacy files, which is five pickles in a row and the storages after them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...core.pickleprogram import Call, Global, Octets, PickleProgram, Result, Text, Value
from .source import Memory, Readable

LOADERS = frozenset(
    {
        ("torch.storage", "_load_from_bytes"),
        *((module, name) for module in ("pickle", "_pickle", "cPickle") for name in ("loads", "_loads")),
    }
)
MAX_EMBEDDED = 4096
MAX_BYTES = 1 << 28
IN_A_ROW = 5


class Part:
    """A range of an input, as one of its own."""

    __slots__ = ("_at", "_source", "size")

    def __init__(self, source: Readable, at: int, length: int) -> None:
        self._source, self._at, self.size = source, at, length

    def read(self, at: int, length: int) -> bytes:
        """Bytes from offset ``at`` of the range."""
        return self._source.read(self._at + at, max(0, min(length, self.size - at)))


def embedded_in(program: PickleProgram, source: Readable) -> Iterator[Readable]:
    """The bytes that calls of a program load as further pickles, where the stream has them."""
    count = 0
    for one in program.operations:
        if (
            type(one) is Call
            and type(one.callable) is Global
            and type(one.arguments) is tuple
            and one.arguments
        ):
            if (one.callable.module, one.callable.name) not in LOADERS:
                continue
            inner = _bytes_of(one.arguments[0], source)
            if inner is not None and count < MAX_EMBEDDED:
                count += 1
                yield inner


def _bytes_of(value: Value, source: Readable) -> Readable | None:
    if type(value) is bytes:
        return Memory(value)
    if type(value) is Octets and not value.integer:
        return Part(source, value.at, value.length)
    if type(value) is Result and type(value.call.callable) is Global and type(value.call.arguments) is tuple:
        # Protocols 0 to 2 have no bytes: they are text, encoded by a call.
        named = (value.call.callable.module, value.call.callable.name)
        if named == ("_codecs", "encode") and value.call.arguments:
            return _latin(value.call.arguments[0], source)
    return None


def _latin(value: Value, source: Readable) -> Readable | None:
    if type(value) is Text and value.length <= MAX_BYTES:
        raw = source.read(value.at, value.length)
        value = raw.decode("utf-8" if value.encoding == "utf-8" else "raw_unicode_escape", "replace")
    return Memory(value.encode("latin-1", "replace")) if type(value) is str else None
