"""The gate's reader of pickles: whatever an unpickler would take, whatever the file is called."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

from ...core.errors import ResourceLimitError
from ...core.observation import Observation, PickleRead
from ...core.origin import monitor_origin
from ...core.pickled import danger_of
from ...core.pickleopcodes import HIGHEST_PROTOCOL, PROTO
from ...core.picklepolicy import NO_PERMITS, SitePermits
from ...core.pickleprogram import Build, Call, End, Fill, Import, PickleProgram
from ..artifact.budget import Budget
from ..artifact.input import Input
from ..artifact.reading import Nested
from .machine import walk
from .policy import permitted

MAX_IN_A_ROW = 100_000
_FEW = 8


class PickleReader:
    """Reads pickles that stand one after the other, and hands on what comes behind them.

    ``permits``: what a site says of globals beside the packaged policy.
    """

    name: ClassVar[str] = "pickle"
    has_signature: ClassVar[bool] = False

    def __init__(self, permits: SitePermits = NO_PERMITS) -> None:
        self._permits = permits

    def claims(self, head: bytes, whole: Input) -> bool:
        """By PROTO, or because it leads somewhere to follow it: protocols 0 and 1 have no signature."""
        start = 0
        while start < len(head):
            if _announced(head[start : start + 2]):
                return True
            program = walk(head, start)
            if _acts(program):
                return True
            if program.ending.kind is not End.STOP:
                return program.ending.kind is End.TRUNCATED and len(head) < whole.size
            start += program.consumed
        return start > 0

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """One observation for each pickle, the policy before the first that does anything, and the rest.

        Raises ResourceLimitError.
        """
        origin = monitor_origin(time.time_ns(), source="scan")
        asks = False
        start = end = 0
        last = None
        # Those that do nothing, as numbers may look by chance, count when something comes of them.
        idle: list[PickleProgram] = []
        for _ in range(MAX_IN_A_ROW):
            budget.check_time(whole.name)
            program = walk(whole, start)
            stops = program.ending.kind is End.STOP
            start += program.consumed
            idle.append(program)
            if _is_one(program, whole) or (stops and start >= whole.size):
                if not asks and any(map(_does_anything, idle)):
                    asks = True
                    yield permitted(origin, self._permits)
                for one in idle:
                    yield PickleRead(origin, whole.name, "", one)
                idle, end, last = [], start, program
            if not stops or start >= whole.size:
                break
        else:
            raise ResourceLimitError(f"holds more than {MAX_IN_A_ROW} pickles in a row", where=whole.name)
        if last is not None and last.ending.kind is End.LIMIT:
            raise ResourceLimitError(last.ending.reason, where=whole.name)
        if last is not None and last.ending.kind is End.STOP and end < whole.size:
            yield Nested(whole.part("behind", end, whole.size - end), raw=True)


def _announced(head: bytes) -> bool:
    return len(head) > 1 and head[0] == PROTO and head[1] <= HIGHEST_PROTOCOL


def _is_one(program: PickleProgram, whole: Input) -> bool:
    """Whether a program is a pickle, whatever comes behind it."""
    if not _announced(whole.read(program.start, 2)):
        return _acts(program)
    # Fonts begin like PROTO, too, and break at once.
    return program.ending.kind in (End.STOP, End.TRUNCATED) or program.consumed > _FEW or _acts(program)


def _does_anything(program: PickleProgram) -> bool:
    """Whether there is something in it that a policy says anything about."""
    return bool(program.operations) or any(map(_does_anything, (*program.others, *program.embedded)))


def _acts(program: PickleProgram) -> bool:
    """Whether bytes that may be a text, say, do something before they break, or never end."""
    if program.ending.kind is End.LIMIT:
        return True
    for one in program.operations:
        if isinstance(one, (Call, Build, Fill)):
            return True
        if isinstance(one, Import) and danger_of(*one.value.written) is not None:
            return True
    return any(map(_acts, program.others))
