"""The header of a safetensors file, for all who read one: the gate, which tells what is wrong; the loader.

Eight bytes say how long the header is, little-endian; the header is a JSON object: for each tensor its type,
its shape and where its bytes lie behind the header; ``__metadata__`` holds texts. The format's own reader
refuses what breaks a rule. Others take it, and see something else than what was looked at: so each broken
rule is told. What the own reader passes over (further keys of a tensor) breaks none.

Format: https://github.com/huggingface/safetensors#format; the checks are those of its reader in 0.8.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..core.errors import EvidenceError, ResourceLimitError
from ..core.quantity import quantity
from .artifact.input import Input
from .document.jsontext import NotJsonError, parse_json
from .document.value import Fields, Value

MAX_HEADER = 64 << 20
MAX_BROKEN = 50
BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
}
"""Bits of one element, by the name of its type."""


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """What is wrong, and what it does: ``refused``, ``ambiguous`` or ``hidden``, as FormatRuleBroken has it.

    Of what is hidden, ``start`` and ``end`` say where it lies, in bytes behind the header.
    """

    effect: str
    what: str
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Described:
    """A tensor as the header describes it: ``shape`` in elements, ``start`` and ``end`` in bytes behind it.

    Where a rule is broken, ``dtype`` may be any text and ``shape`` empty; the place is as the header says.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """``begin`` is the offset of the first byte behind it; ``broken``: the first :data:`MAX_BROKEN` rules.

    A tensor comes more than once when the header has it so; ``broken`` says that, too.
    """

    begin: int
    tensors: tuple[Described, ...]
    broken: tuple[BrokenRule, ...]

    def misplaced(self, whole: Input) -> Iterator[BrokenRule]:
        """Tensors that share bytes, bytes of no tensor; raises EvidenceError when the file ends too early."""
        size = whole.size - self.begin
        at, before = 0, "the header"
        for one in sorted(self.tensors, key=lambda one: (one.start, one.end)):
            what = _called(one.name)
            if one.start < at:
                yield BrokenRule("ambiguous", f"{what} shares bytes with {before}")
            elif one.start > at:
                yield _hidden(f"between {before} and {what}", at, one.start)
            if one.end > at:
                at, before = one.end, what
        if at < size:
            yield _hidden(f"behind {before}", at, size)
        if at > size:
            raise EvidenceError(f"ends {quantity(at - size, 'byte')} before {before} does", where=whole.name)


def begins_header(head: bytes) -> bool:
    """Whether eight bytes of a sensible number are followed by the beginning of an object."""
    return 2 <= _length(head) < 1 << 32 and head[8:9] == b"{" and head[9:10] in b'"} \t\r\n'


def read_header(whole: Input) -> Header:
    """What the header says, rules that it breaks included.

    Raises EvidenceError when the file ends within it or it is no JSON, ResourceLimitError when it is longer
    than :data:`MAX_HEADER`.
    """
    length = _length(whole.read(0, 8))
    if length + 8 > whole.size:
        raise EvidenceError(f"ends within its header of {quantity(length, 'byte')}", where=whole.name)
    if length > MAX_HEADER:
        raise ResourceLimitError(f"has a header of more than {MAX_HEADER:,} bytes", where=whole.name)
    data = whole.read(8, length)
    try:
        data.decode("utf-8")
        root = parse_json(data, whole.name)
    except (UnicodeDecodeError, NotJsonError) as error:
        raise EvidenceError("has a header that is no JSON in UTF-8", where=whole.name) from error
    check = _Check()
    check.header(root)
    return Header(8 + length, tuple(check.tensors), tuple(check.broken))


@dataclass(slots=True)
class _Check:
    tensors: list[Described] = field(default_factory=list)
    broken: list[BrokenRule] = field(default_factory=list)

    def _say(self, effect: str, what: str) -> None:
        if len(self.broken) < MAX_BROKEN:
            self.broken.append(BrokenRule(effect, what))

    def header(self, root: Value) -> None:
        """The whole of it."""
        if not isinstance(root, Fields):
            self._say("refused", "the header is no object")
            return
        self._doubled(root, "the header")
        for name, value in root.pairs:
            if name == "__metadata__":
                self._metadata(value)
            else:
                self._tensor(name, value)

    def _doubled(self, fields: Fields, what: str) -> None:
        for name, times in Counter(name for name, _ in fields.pairs).items():
            if times > 1:
                self._say("ambiguous", f"{what} has {name[:100]!r} more than once")

    def _metadata(self, value: Value) -> None:
        if not isinstance(value, Fields):
            if value is not None:
                self._say("refused", "__metadata__ is no object")
            return
        self._doubled(value, "__metadata__")
        if not all(isinstance(one, str) for _, one in value.pairs):
            self._say("refused", "__metadata__ holds something else than texts")

    def _tensor(self, name: str, value: Value) -> None:
        what = _called(name)
        if not isinstance(value, Fields) or not {"dtype", "shape", "data_offsets"} <= value.names():
            self._say("refused", f"{what} has no type, shape or place")
            return
        self._doubled(value, what)
        dtype, shape = value.text("dtype"), _numbers(value.get("shape")[-1])
        for offsets in value.get("data_offsets"):
            place = _numbers(offsets)
            if place is None or len(place) != 2 or place[0] > place[1]:
                self._say("refused", f"{what} has no place")
                continue
            self.tensors.append(Described(name, dtype, shape or (), place[0], place[1]))
            self._fits(what, dtype, shape, place[1] - place[0])

    def _fits(self, what: str, dtype: str, shape: tuple[int, ...] | None, size: int) -> None:
        bits = BITS.get(dtype)
        if bits is None or shape is None:
            self._say("refused", f"{what} has no type or shape that is known")
            return
        for one in shape:
            bits *= one
            if bits > 8 * (1 << 63):
                break
        if bits != size * 8:
            asked = f"its shape asks for {bits // 8:,}"
            self._say("ambiguous", f"{what} has {quantity(size, 'byte')}, {asked}")


def _called(name: str) -> str:
    return f"the tensor {name[:100]!r}"


def _hidden(where: str, start: int, end: int) -> BrokenRule:
    lie = quantity(end - start, "byte lies", "bytes lie")
    return BrokenRule("hidden", f"{lie} {where}, where no tensor is", start, end)


def _length(head: bytes) -> int:
    return int.from_bytes(head[:8], "little") if len(head) >= 8 else -1


def _numbers(value: Value) -> tuple[int, ...] | None:
    """A list of numbers that are not negative; None for anything else."""
    if not isinstance(value, list):
        return None
    found = tuple(
        one for one in value if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 1 << 64
    )
    return found if len(found) == len(value) else None
