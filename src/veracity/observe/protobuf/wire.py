"""Protocol buffers as they lie in a file: fields with numbers, without their schema.

Nothing is held but a window: a message is walked through by its fields, and what nobody asks for is passed
over by its length, however long it is.

Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...core.errors import EvidenceError, ResourceLimitError
from ..artifact.budget import Budget
from ..artifact.input import Input

NUMBER, EIGHT, BYTES, GROUP, GROUP_END, FOUR = range(6)
"""Wire types."""
MAX_FIELDS = 20_000_000
MAX_TEXT = 1 << 20
MAX_TOP = 20_000
_WINDOW = 1 << 16
_LONGEST = 20
_CHECKED_EVERY = 1 << 16


class NotProtobufError(EvidenceError):
    """No reader of protocol buffers takes these bytes."""


@dataclass(frozen=True, slots=True)
class Message:
    """The bytes of a message, or of a text, from ``start`` to ``end`` in its input."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Field:
    """One field: ``number`` holds what a number field says; ``body`` lies behind it, empty for numbers."""

    field: int
    wire: int
    number: int
    body: Message


class Wire:
    """Reads the messages of one input; all share one bound on how many fields are read."""

    def __init__(self, whole: Input, budget: Budget | None = None, fields: int = MAX_FIELDS) -> None:
        self.whole = whole
        self._budget = budget
        self._left = fields
        self._held = b""
        self._held_at = 0

    def all(self) -> Message:
        """The whole input as a message."""
        return Message(0, self.whole.size)

    def fields(self, message: Message) -> Iterator[Field]:
        """The fields of a message in order; raises NotProtobufError, or ResourceLimitError at the bound."""
        at = message.start
        while at < message.end:
            self._count()
            tag, at = self._varint(at, message.end)
            number, wire = tag >> 3, tag & 7
            if not number:
                raise self._refused(at)
            start, value = at, 0
            if wire == NUMBER:
                value, at = self._varint(at, message.end)
                start = at
            elif wire == BYTES:
                size, start = self._varint(at, message.end)
                at = start + size
            elif wire in (EIGHT, FOUR):
                at += 8 if wire == EIGHT else 4
            elif wire == GROUP:
                at = self._behind_group(at, message.end)
            else:
                raise self._refused(at)
            if at > message.end:
                raise self._refused(start)
            yield Field(number, wire, value, Message(start, at))

    def parts(self, message: Message, field: int) -> Iterator[Message]:
        """The bodies of all fields with this number that hold bytes."""
        return (one.body for one in self.fields(message) if one.field == field and one.wire == BYTES)

    def text(self, message: Message) -> str:
        """A text, cut at a bound that no name reaches."""
        size = min(message.end - message.start, MAX_TEXT)
        return self.whole.read(message.start, size).decode("utf-8", "replace")

    def _behind_group(self, at: int, end: int) -> int:
        depth = 1
        while depth:
            self._count()
            tag, at = self._varint(at, end)
            wire = tag & 7
            if wire == NUMBER:
                _, at = self._varint(at, end)
            elif wire == BYTES:
                size, at = self._varint(at, end)
                at += size
            elif wire in (EIGHT, FOUR):
                at += 8 if wire == EIGHT else 4
            elif wire in (GROUP, GROUP_END):
                depth += 1 if wire == GROUP else -1
            else:
                raise self._refused(at)
        return at

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        offset = at - self._held_at
        if offset < 0 or offset + _LONGEST > len(self._held):
            self._held, self._held_at, offset = self.whole.read(at, _WINDOW), at, 0
        value = shift = 0
        for byte in self._held[offset : offset + min(10, end - at)]:
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value & 0xFFFFFFFFFFFFFFFF, at + shift // 7
        raise self._refused(at)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ResourceLimitError("has more fields than are read of one file", where=self.whole.name)
        if self._budget is not None and self._left % _CHECKED_EVERY == 0:
            self._budget.check_time(self.whole.name)

    def _refused(self, at: int) -> NotProtobufError:
        return NotProtobufError(f"is no sound protocol buffer at byte {at:,}", where=self.whole.name)


def top_level(whole: Input, message: Message | None = None) -> dict[tuple[int, int], Field]:
    """The first field of each number and wire type in a message; empty when it is none.

    Of a message with very many fields, those at the beginning: it may well be one.
    """
    wire = Wire(whole, fields=MAX_TOP)
    found: dict[tuple[int, int], Field] = {}
    try:
        for field in wire.fields(message or wire.all()):
            found.setdefault((field.field, field.wire), field)
    except ResourceLimitError:
        return found
    except EvidenceError:
        return {}
    return found


def bodies(whole: Input, number: int, message: Message | None = None) -> Iterator[Message]:
    """The bodies of all fields of a number, as far as they can be read."""
    wire = Wire(whole, fields=MAX_TOP)
    try:
        yield from wire.parts(message or wire.all(), number)
    except EvidenceError:
        return


def has(fields: dict[tuple[int, int], Field], *numbers: int, wire: int = BYTES) -> bool:
    """Whether all of these fields are there with this wire type."""
    return all((number, wire) in fields for number in numbers)
