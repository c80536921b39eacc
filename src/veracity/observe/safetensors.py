"""safetensors files by the rules of the format's own reader.

Eight bytes say how long the header is, little-endian; the header is a JSON object: for each tensor its type,
its shape and where its bytes lie behind the header; ``__metadata__`` holds texts. The own reader refuses what
breaks a rule. Others take it, and see something else than what was looked at: so each broken rule is a fact.
Bytes between the tensors and behind them are read like files of their own.

Format: https://github.com/huggingface/safetensors#format; the checks are those of its reader in 0.8.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

from ..core.errors import EvidenceError, ResourceLimitError
from ..core.observation import FormatRuleBroken, Observation
from ..core.origin import Origin, monitor_origin
from .artifact.budget import Budget
from .artifact.input import Input
from .artifact.reading import Nested
from .document.jsontext import NotJsonError, parse_json
from .document.value import Fields, Value

LARGEST_HEADER = 100_000_000
"""Bytes of a header that the format's own reader takes."""
MAX_HEADER = 64 << 20
MAX_BROKEN = 50
_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
}
_Range = tuple[int, int, str]


class SafetensorsReader:
    """Files of safetensors."""

    name: ClassVar[str] = "safetensors"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether eight bytes of a sensible number are followed by the beginning of an object."""
        return 2 <= _length(head) < 1 << 32 and head[8:9] == b"{" and head[9:10] in b'"} \t\r\n'

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """Broken rules, and what lies outside of all tensors; raises EvidenceError when it is cut off."""
        length = _length(whole.read(0, 8))
        if length + 8 > whole.size:
            raise EvidenceError(f"ends within its header of {length:,} bytes", where=whole.name)
        if length > MAX_HEADER:
            raise ResourceLimitError(f"has a header of more than {MAX_HEADER:,} bytes", where=whole.name)
        check = _Check(whole, length)
        yield from check.header()
        yield from check.places(budget)


class _Check:
    def __init__(self, whole: Input, length: int) -> None:
        self._whole = whole
        self._begin = 8 + length
        self._size = whole.size - self._begin
        self._origin: Origin = monitor_origin(time.time_ns(), source="scan")
        self._ranges: list[_Range] = []
        self._broken = 0

    def _say(self, effect: str, what: str) -> Iterator[FormatRuleBroken]:
        self._broken += 1
        if self._broken <= MAX_BROKEN:
            yield FormatRuleBroken(self._origin, self._whole.name, "safetensors", effect, what)

    def header(self) -> Iterator[FormatRuleBroken]:
        """The rules of the header."""
        data = self._whole.read(8, self._begin - 8)
        try:
            data.decode("utf-8")
            root = parse_json(data, self._whole.name)
        except (UnicodeDecodeError, NotJsonError) as error:
            what = "has a header that is no JSON in UTF-8"
            raise EvidenceError(what, where=self._whole.name) from error
        if not isinstance(root, Fields):
            yield from self._say("refused", "the header is no object")
            return
        yield from self._doubled(root, "the header")
        for name, value in root.pairs:
            if name == "__metadata__":
                yield from self._metadata(value)
            else:
                yield from self._tensor(f"the tensor {name[:100]!r}", value)

    def _doubled(self, fields: Fields, what: str) -> Iterator[FormatRuleBroken]:
        for name, times in Counter(name for name, _ in fields.pairs).items():
            if times > 1:
                yield from self._say("ambiguous", f"{what} has {name[:100]!r} more than once")

    def _metadata(self, value: Value) -> Iterator[FormatRuleBroken]:
        if not isinstance(value, Fields):
            if value is not None:
                yield from self._say("refused", "__metadata__ is no object")
            return
        yield from self._doubled(value, "__metadata__")
        if not all(isinstance(one, str) for _, one in value.pairs):
            yield from self._say("refused", "__metadata__ holds something else than texts")

    def _tensor(self, what: str, value: Value) -> Iterator[FormatRuleBroken]:
        if not isinstance(value, Fields) or not {"dtype", "shape", "data_offsets"} <= value.names():
            yield from self._say("refused", f"{what} has no type, shape or place")
            return
        yield from self._doubled(value, what)
        for offsets in value.get("data_offsets"):
            place = _numbers(offsets)
            if place is None or len(place) != 2 or place[0] > place[1]:
                yield from self._say("refused", f"{what} has no place")
                continue
            self._ranges.append((place[0], place[1], what))
            yield from self._fits(what, value, place[1] - place[0])

    def _fits(self, what: str, value: Fields, size: int) -> Iterator[FormatRuleBroken]:
        bits = _BITS.get(value.text("dtype"))
        shape = _numbers(value.get("shape")[-1])
        if bits is None or shape is None:
            yield from self._say("refused", f"{what} has no type or shape that is known")
            return
        for one in shape:
            bits *= one
            if bits > 8 * (1 << 63):
                break
        if bits != size * 8:
            yield from self._say("ambiguous", f"{what} has {size:,} bytes, its shape asks for {bits // 8:,}")

    def places(self, budget: Budget) -> Iterator[FormatRuleBroken | Nested]:
        """Whether the tensors lie behind each other without gaps, and what lies in gaps."""
        budget.spend_members(len(self._ranges), self._whole.name)
        at, before = 0, "the header"
        for start, end, what in sorted(self._ranges):
            if start < at:
                yield from self._say("ambiguous", f"{what} shares bytes with {before}")
            elif start > at:
                yield from self._outside(f"between {before} and {what}", at, start)
            if end > at:
                at, before = end, what
        if at < self._size:
            yield from self._outside(f"behind {before}", at, self._size)
        if at > self._size:
            raise EvidenceError(
                f"ends {at - self._size:,} bytes before {before} does", where=self._whole.name
            )

    def _outside(self, where: str, start: int, end: int) -> Iterator[FormatRuleBroken | Nested]:
        yield from self._say("hidden", f"{end - start:,} bytes lie {where}, where no tensor is")
        if self._broken <= MAX_BROKEN:
            begin = self._begin + start
            yield Nested(self._whole.part(f"bytes {begin}", begin, end - start))


def _length(head: bytes) -> int:
    return int.from_bytes(head[:8], "little") if len(head) >= 8 else -1


def _numbers(value: Value) -> list[int] | None:
    """A list of numbers that are not negative; None for anything else."""
    if not isinstance(value, list):
        return None
    found = [
        one for one in value if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 1 << 64
    ]
    return found if len(found) == len(value) else None
