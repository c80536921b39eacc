"""GGUF files: the header, what it says of tensors, and the chat templates among its values.

Behind the magic number stand the version (1 to 3; it also tells the order of bytes), the number of tensors
and of values, then the values (a key, a type, a value), then name, shape, type and place of each tensor,
and the tensors themselves, each at a multiple of ``general.alignment``. What the format's own reader
refuses, other readers take: each broken rule is a fact.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ..core.errors import EvidenceError, ResourceLimitError
from ..core.observation import FormatRuleBroken, Observation
from ..core.origin import monitor_origin
from ..core.quantity import quantity
from .artifact.budget import Budget
from .artifact.cursor import Cursor
from .artifact.input import Input
from .artifact.reading import Nested
from .document.chat import template
from .document.saying import Saying

MAGIC = b"GGUF"
TEMPLATE = "tokenizer.chat_template"
MAX_KEY = 65_535
MAX_TENSORS = 1_000_000
MAX_TEXT = 16 << 20
MAX_DIMENSIONS = 4
MAX_NESTING = 4
MAX_BROKEN = 50
_CHECKED_EVERY = 65_536
_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
# Types of tensors: elements in a block, and its bytes. Of others than these nothing is known.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


class GgufReader:
    """Files of GGUF in either order of bytes."""

    name: ClassVar[str] = "gguf"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether it begins with the magic number."""
        return head.startswith(MAGIC) and len(head) >= 8

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """Broken rules, what templates reach for, and what lies behind the tensors; raises EvidenceError."""
        reading = _Reading(whole, budget)
        try:
            yield from reading.all()
        except EvidenceError:
            if reading.impossible:
                what = f"says that a text is {reading.impossible:,} bytes long, which makes sums overflow"
                yield from reading.refused(what)
            raise


IMPOSSIBLE = 1 << 48
"""A length of more bytes than any file has: not of one that was cut off, but for a reader that adds it up."""


@dataclass(slots=True)
class _Tensor:
    what: str
    start: int
    size: int


@dataclass(slots=True)
class _Reading:
    whole: Input
    budget: Budget
    cursor: Cursor = field(init=False)
    count: struct.Struct = field(init=False)
    four: struct.Struct = field(init=False)
    broken: int = 0
    keys: set[str] = field(default_factory=set)
    alignment: int = 32
    texts: int = 0
    unknown: list[int] = field(default_factory=list)
    impossible: int = 0

    def __post_init__(self) -> None:
        self.cursor = Cursor(self.whole, 4)

    def _say(self, effect: str, what: str) -> Iterator[FormatRuleBroken]:
        self.broken += 1
        if self.broken <= MAX_BROKEN:
            origin = monitor_origin(time.time_ns(), source="scan")
            yield FormatRuleBroken(origin, self.whole.name, "gguf", effect, what)

    def refused(self, what: str) -> Iterator[FormatRuleBroken]:
        """Something that the format's own reader refuses."""
        yield from self._say("refused", what)

    def all(self) -> Iterator[Observation | Nested]:
        """The whole file in its order."""
        version = self.cursor.take(4)
        order = next((one for one in "<>" if 1 <= struct.unpack(f"{one}I", version)[0] <= 3), "")
        if not order:
            raise EvidenceError("is GGUF of a version that is not known", where=self.whole.name)
        first = struct.unpack(f"{order}I", version)[0] == 1
        self.four = struct.Struct(f"{order}I")
        self.count = self.four if first else struct.Struct(f"{order}Q")
        tensors, values = self._count(), self._count()
        yield from self._values(values)
        found: list[_Tensor] = []
        if tensors > MAX_TENSORS:
            raise ResourceLimitError(f"says that it has {tensors:,} tensors", where=self.whole.name)
        for _ in range(tensors):
            yield from self._tensor(found)
        yield from self._places(found)

    def _count(self) -> int:
        return self.cursor.unpack(self.count)[0]

    def _text(self, limit: int) -> str:
        size = self._count()
        if size > limit:
            if size <= self.cursor.left:
                raise ResourceLimitError(f"has a text of {size:,} bytes", where=self.whole.name)
            self.impossible = size if size >= IMPOSSIBLE else 0
            self.cursor.skip(size)
        return self.cursor.take(size).decode("utf-8", "replace")

    # --- values ----------------------------------------------------------------------------------

    def _values(self, number: int) -> Iterator[Observation | Nested]:
        for _ in range(number):
            key = self._text(MAX_KEY)
            kind = self.cursor.unpack(self.four)[0]
            if key in self.keys:
                yield from self._say("ambiguous", f"the value {key[:100]!r} is there more than once")
            self.keys.add(key)
            if len(self.keys) % 1_000 == 0:
                self.budget.check_time(self.whole.name)
            if key.startswith(TEMPLATE) and kind == _STRING:
                yield from template(self._text(MAX_TEXT), key[:100], Saying(self.whole.name), chat=True)
            elif key == "general.alignment" and kind == 4:
                yield from self._aligned(self.cursor.unpack(self.four)[0])
            else:
                self._pass_over(kind, 0)

    def _aligned(self, alignment: int) -> Iterator[FormatRuleBroken]:
        if alignment and alignment & (alignment - 1) == 0:
            self.alignment = alignment
        else:
            yield from self._say("refused", f"its alignment is {alignment}")

    def _pass_over(self, kind: int, depth: int) -> None:
        if kind in _SIZES:
            self.cursor.skip(_SIZES[kind])
        elif kind == _STRING:
            self.cursor.skip(self._count())
        elif kind == _ARRAY and depth < MAX_NESTING:
            kind, number = self.cursor.unpack(self.four)[0], self._count()
            if kind in _SIZES:
                self.cursor.skip(_SIZES[kind] * number)
                return
            for _ in range(number):
                self._pass_over(kind, depth + 1)
                self.texts += 1
                if self.texts % _CHECKED_EVERY == 0:
                    self.budget.check_time(self.whole.name)
        else:
            raise EvidenceError(
                f"has a value of a type that is not known: {kind}",
                where=self.whole.name,
                remedy="scan it with a newer version",
            )

    # --- tensors ---------------------------------------------------------------------------------

    def _tensor(self, found: list[_Tensor]) -> Iterator[FormatRuleBroken]:
        name = self._text(MAX_KEY)
        what = f"the tensor {name[:100]!r}"
        dimensions = self.cursor.unpack(self.four)[0]
        if dimensions > MAX_DIMENSIONS:
            yield from self._say("refused", f"{what} has {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements = min(elements * self._count(), 1 << 80)
        kind, offset = self.cursor.unpack(self.four)[0], self.cursor.unpack(self.place)[0]
        block, size = _BLOCKS.get(kind, (1, 0))
        if elements % block:
            yield from self._say("refused", f"{what} is no whole number of blocks")
        if elements >= 1 << 63:
            yield from self._say("ambiguous", f"{what} has more elements than a number of 64 bits counts")
        if f"tensor {name}" in self.keys:
            yield from self._say("ambiguous", f"{what} is there more than once")
        self.keys.add(f"tensor {name}")
        if offset % self.alignment:
            yield from self._say("refused", f"{what} does not lie at a multiple of {self.alignment}")
        if size:
            found.append(_Tensor(what, offset, elements // block * size))
        else:
            self.unknown.append(kind)

    @property
    def place(self) -> struct.Struct:
        """How the place of a tensor is written: with eight bytes in every version."""
        return struct.Struct(self.four.format[:1] + "Q")

    def _places(self, tensors: list[_Tensor]) -> Iterator[Observation | Nested]:
        if self.unknown:
            raise EvidenceError(
                f"has {quantity(len(self.unknown), 'tensor')} of no known type ({self.unknown[0]} …): "
                "whether tensors share bytes, and what lies between them, was not looked at",
                where=self.whole.name,
                remedy="scan it with a newer version",
            )
        begin = self._up(self.cursor.at)
        at, before = 0, "the header"
        for one in sorted(tensors, key=lambda tensor: (tensor.start, tensor.size)):
            if one.start < at and one.size:
                yield from self._say("ambiguous", f"{one.what} shares bytes with {before}")
            elif one.start > self._up(at):
                yield from self._outside(begin, at, one.start, f"between {before} and {one.what}")
            if one.start + one.size > at:
                at, before = one.start + one.size, one.what
        if begin + at > self.whole.size and tensors:
            raise EvidenceError(f"ends before {before} does", where=self.whole.name)
        if begin + self._up(at) < self.whole.size:
            yield from self._outside(begin, at, self.whole.size - begin, f"behind {before}")

    def _up(self, at: int) -> int:
        return -(-at // self.alignment) * self.alignment

    def _outside(self, begin: int, start: int, end: int, where: str) -> Iterator[Observation | Nested]:
        yield from self._say(
            "hidden", f"{quantity(end - start, 'byte lies', 'bytes lie')} {where}, where no tensor is"
        )
        if self.broken <= MAX_BROKEN:
            yield Nested(self.whole.part(f"bytes {begin + start}", begin + start, end - start))
