"""Pickles within a pickle's bytes: calls that unpickle what they are given.

A tensor that is pickled without ``torch.save`` is bytes that ``torch.storage._load_from_bytes`` loads: one of
torch's legacy files, which is five pickles in a row and the storages after them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...core.picklearguments import quoted
from ...core.pickleprogram import ByteArray, Call, Global, Octets, PickleProgram, Result, Text, Value
from .source import Memory, Readable

LOADERS = frozenset(
    {
        ("torch.storage", "_load_from_bytes"),
        *((module, name) for module in ("pickle", "_pickle", "cPickle") for name in ("loads", "_loads")),
    }
)
MAX_EMBEDDED = 100_000
MAX_TEXT = 1 << 28
IN_A_ROW = 5


class Part:
    """A range of an input, as one of its own."""

    __slots__ = ("_at", "_source", "size")

    def __init__(self, source: Readable, at: int, length: int) -> None:
        self._source, self._at, self.size = source, at, length

    def read(self, at: int, length: int) -> bytes:
        """Bytes from offset ``at`` of the range."""
        return self._source.read(self._at + at, max(0, min(length, self.size - at)))


def embedded_in(program: PickleProgram, source: Readable) -> Iterator[Readable | None]:
    """The bytes that calls load as pickles, each once; None for what the stream does not have."""
    seen: set[int] = set()
    for one in program.operations:
        if type(one) is not Call or type(one.callable) is not Global:
            continue
        if (one.callable.module, one.callable.name) not in LOADERS:
            continue
        value = one.arguments[0] if type(one.arguments) is tuple and one.arguments else None
        inner = _encoded(value)
        if id(inner) in seen:
            continue
        seen.add(id(inner))
        if len(seen) > MAX_EMBEDDED:
            yield None
            return
        yield _bytes_of(inner, source)


def _encoded(value: Value) -> Value:
    """Protocols 0 to 2 have no bytes: they are a text, encoded by a call. Then the text."""
    if type(value) is Result and type(value.call.callable) is Global and type(value.call.arguments) is tuple:
        named = (value.call.callable.module, value.call.callable.name)
        if named == ("_codecs", "encode") and value.call.arguments:
            return value.call.arguments[0]
    return value


def _bytes_of(value: Value, source: Readable) -> Readable | None:
    if type(value) is bytes:
        return Memory(value)
    if type(value) is ByteArray or (type(value) is Octets and not value.integer):
        return Part(source, value.at, value.length)
    if type(value) is Text:
        return _text(value, source)
    return Memory(value.encode("latin-1", "replace")) if type(value) is str else None


def _text(value: Text, source: Readable) -> Readable | None:
    """The bytes that a long text is when it is encoded as latin-1."""
    if value.length > MAX_TEXT:
        return None
    raw = source.read(value.at, value.length)
    if value.encoding == "8-bit":
        return Memory(raw)
    try:
        if value.encoding == "string-escape":
            return Memory(quoted(raw))
        return Memory(raw.decode(value.encoding.replace("-", "_")).encode("latin-1"))
    except ValueError:
        return None
