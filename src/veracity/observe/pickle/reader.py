"""The gate's reader of pickles: whatever an unpickler would take, whatever the file is called."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

from ...core.errors import ResourceLimitError
from ...core.observation import Observation, PickleRead
from ...core.origin import monitor_origin
from ...core.pickled import danger_of
from ...core.picklepolicy import Key
from ...core.pickleprogram import Build, Call, End, Fill, Import, PickleProgram
from ..artifact.budget import Budget
from ..artifact.input import Input
from ..artifact.reading import Nested
from .machine import walk
from .opcodes import HIGHEST_PROTOCOL, PROTO
from .policy import permitted

MAX_IN_A_ROW = 100_000
_FEW = 8


class PickleReader:
    """Reads pickles that stand one after the other, and hands on what comes behind them.

    ``permits``: globals that a site permits beside the packaged policy.
    """

    name: ClassVar[str] = "pickle"
    has_signature: ClassVar[bool] = False

    def __init__(self, permits: tuple[Key, ...] = ()) -> None:
        self._permits = permits

    def claims(self, head: bytes, whole: Input) -> bool:
        """By PROTO, or because it leads somewhere to follow it: protocols 0 and 1 have no signature."""
        return _announced(head) or (bool(head) and (_is_one(walk(head)) or _is_open(head, whole)))

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """The policy, one observation for each pickle, and the rest. Raises ResourceLimitError."""
        origin = monitor_origin(time.time_ns(), source="scan")
        start, last = 0, None
        yield permitted(origin, self._permits)
        for _ in range(MAX_IN_A_ROW):
            budget.check_time(whole.name)
            program = walk(whole, start)
            if not _is_one(program) and not (_announced(whole.read(start, 2)) and _is_begun(program)):
                break
            yield PickleRead(origin, whole.name, "", program)
            last = program
            start += program.consumed
            if program.ending.kind is not End.STOP or start >= whole.size:
                break
        else:
            raise ResourceLimitError(f"holds more than {MAX_IN_A_ROW} pickles in a row", where=whole.name)
        if last is not None and last.ending.kind is End.LIMIT:
            raise ResourceLimitError(last.ending.reason, where=whole.name)
        if last is not None and last.ending.kind is End.STOP and start < whole.size:
            yield Nested(whole.part("behind", start, whole.size - start), raw=True)


def _announced(head: bytes) -> bool:
    return len(head) > 1 and head[0] == PROTO and head[1] <= HIGHEST_PROTOCOL


def _is_one(program: PickleProgram) -> bool:
    """Whether bytes that may be a text, say, are a pickle: it ends as one, or acts before it breaks."""
    if program.ending.kind in (End.STOP, End.LIMIT):
        return True
    for one in program.operations:
        if isinstance(one, (Call, Build, Fill)):
            return True
        if isinstance(one, Import) and danger_of(*one.value.written) is not None:
            return True
    return any(map(_is_one, program.others))


def _is_begun(program: PickleProgram) -> bool:
    """Whether what begins with PROTO goes on as a pickle for some bytes: fonts begin so, too."""
    return program.ending.kind is End.TRUNCATED or program.consumed > _FEW


def _is_open(head: bytes, whole: Input) -> bool:
    """Whether the beginning of a longer input breaks off for no other reason than its end."""
    return len(head) < whole.size and walk(head).ending.kind is End.TRUNCATED
