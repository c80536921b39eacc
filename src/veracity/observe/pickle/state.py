"""What a machine has in its hands: stack, memo, the window of bytes, what it has written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ...core.pickleprogram import Call, Doubt, End, Operation, Value
from .source import MARGIN, WINDOW, Readable

MAX_DOUBTS = 64
_NODE, _MEMO, _OPERATION, _CHILD, _MARK = 160, 100, 400, 64, 64


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one program may take; what reaches a bound ends in :attr:`End.LIMIT`.

    ``walked``: bytes that are followed opcode by opcode (long payloads are stepped over and do not count),
    which bounds the number of opcodes and so the time. ``memory``: bytes that stack, memo and values may
    take, as estimated. ``marks``: depth of MARKs.
    """

    walked: int = 512 << 20
    memory: int = 1 << 30
    marks: int = 100_000


USUAL = Limits()


class Stopped(Exception):  # noqa: N818 - how a program ends, which is no error of this one's
    """The program ends here."""

    def __init__(self, kind: End, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def truncated() -> Stopped:
    """The input is over before an opcode's argument is."""
    return Stopped(End.TRUNCATED, "the input ends within an opcode")


def failed(reason: str) -> Stopped:
    """Every unpickler fails here."""
    return Stopped(End.ERROR, reason)


class State:
    """All that changes while a program is followed.

    ``data`` is the window, which begins at offset ``base`` of the input; ``final``: the input ends with it.
    ``at`` is the offset of the next opcode, ``here`` of the one that is being followed. ``stack`` is what
    lies above the last mark, ``below`` holds what lies below each. ``frame_end``: where the current frame
    ends, -1 outside of one.
    """

    __slots__ = (
        *("source", "size", "data", "base", "final", "at", "here", "start", "walked", "limits"),
        *("stack", "below", "memo", "operations", "doubts", "result", "leftover", "ended", "buffers"),
        *(
            "protocol",
            "announced",
            "record",
            "nodes",
            "kept",
            "arrays",
            "skips_arrays",
            "nesting",
            "dtypes",
            "frame_end",
            "straddle",
            "holes",
        ),
    )

    def __init__(
        self, source: Readable, start: int, limits: Limits, *, record: bool, arrays: bool = True
    ) -> None:
        self.source, self.size, self.limits = source, source.size, limits
        self.data, self.base, self.final = b"", start, False
        self.at = self.here = self.start = start
        self.walked = 0
        self.stack: list[Value] = []
        self.below: list[list[Value]] = []
        self.memo: dict[int, Value] = {}
        self.operations: list[Operation] = []
        self.doubts: list[Doubt] = []
        self.result: Value = None
        self.leftover = self.buffers = self.nodes = self.kept = 0
        self.ended = False
        self.skips_arrays, self.arrays, self.nesting = arrays, 0, 0
        self.dtypes: dict[Call, Value] = {}
        self.protocol = self.announced = 0
        self.record = record
        self.frame_end = -1
        self.straddle: tuple[int, int] | None = None
        self.holes: tuple[tuple[int, int], ...] = ()

    def doubt(self, at: int, kind: str, reason: str) -> None:
        """Note that not every reader goes on here as the machine does; ``at`` is within the window."""
        if len(self.doubts) < MAX_DOUBTS:
            self.doubts.append(Doubt(self.base + at, kind, reason))

    def look(self) -> int:
        """Have the next opcode in the window; how far opcodes can be followed in it."""
        at = self.at - self.base
        if not self.final and at > len(self.data) - MARGIN:
            if self.walked:
                self._bound()
            self.data = self.source.read(self.at, WINDOW)
            self.base, at = self.at, 0
            self.final = self.base + len(self.data) >= self.size
        if at >= len(self.data):
            raise Stopped(End.TRUNCATED, "the input ends without STOP")
        edge = len(self.data) if self.final else len(self.data) - MARGIN
        # A source that gives less than it said has ended.
        return max(edge, at + 1) if self.frame_end < 0 else min(max(edge, at + 1), self.frame_end - self.base)

    def _bound(self) -> None:
        depth = len(self.stack) + sum(map(len, self.below))
        taken = self.nodes * _NODE + len(self.memo) * _MEMO + len(self.operations) * _OPERATION
        if taken + (depth + self.kept) * _CHILD + len(self.below) * _MARK > self.limits.memory:
            raise Stopped(End.LIMIT, f"its values would take more than {self.limits.memory:,} bytes")
        if self.walked > self.limits.walked:
            raise Stopped(End.LIMIT, f"it has more than {self.limits.walked:,} bytes of opcodes")
        if len(self.below) > self.limits.marks:
            raise Stopped(End.LIMIT, f"it is nested deeper than {self.limits.marks:,} marks")

    def counted(self, at: int, width: int) -> tuple[int, int]:
        """Where an argument begins that starts with its length, and that length; both within the input."""
        raw = self.data[at : at + width]
        length = int.from_bytes(raw, "little")
        if len(raw) < width or self.base + at + width + length > self.size:
            raise truncated()
        return at + width, length

    def line(self, at: int, limit: int) -> tuple[bytes | None, int]:
        """A line without its newline, None when longer than ``limit``; and where the next one begins."""
        end = self.data.find(b"\n", at)
        if end < 0:
            end = self._far_newline(at)
        if end - at > limit:
            return None, end + 1
        if end <= len(self.data):
            return self.data[at:end], end + 1
        return self.source.read(self.base + at, end - at), end + 1

    def _far_newline(self, at: int) -> int:
        """The next newline beyond the window."""
        where = max(self.base + at, self.base + len(self.data))
        while where < self.size:
            part = self.source.read(where, WINDOW)
            found = part.find(b"\n")
            if found >= 0:
                self.walked += where + found - self.base - at
                return where + found - self.base
            if not part:
                break
            where += len(part)
        raise truncated()


Simple: TypeAlias = Callable[[State, int, list[Value]], int]
"""A handler: place after the opcode, stack above the last mark → place after the argument."""
Marked: TypeAlias = Callable[[State, int, list[Value], list[Value]], int]
"""One that also takes what was above the mark, which is taken away already."""
