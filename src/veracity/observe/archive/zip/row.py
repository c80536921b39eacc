"""Archives of torch one right behind the other, as ``torch.distributed.checkpoint`` writes its shards.

``torch/distributed/checkpoint/filesystem.py`` puts each tensor into a file by ``torch.save`` and notes where
it begins and how long it is; its reader opens these slices and never the whole. So a file that consists of
nothing but complete archives of torch is read as that many files. Where a reader of the whole would see yet
another directory, it is none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

from ....core.errors import EvidenceError
from ....core.observation import ArchiveRead
from ....core.origin import monitor_origin
from ...artifact.budget import Budget
from ...artifact.input import Input
from ...artifact.reading import Found, Nested
from .structures import (
    CENTRAL,
    END,
    END64_SIZE,
    END_SIZE,
    LOCAL,
    LOCATOR64_SIZE,
    End,
    end_at,
    read_local,
)

MAX_ROW = 100_000
KIND = "torch-shard"
_WIDE = END64_SIZE + LOCATOR64_SIZE
_FIRST = b"/data.pkl"
"""How the first member's name ends in each archive of ``torch.save``."""


class TorchShardReader:
    """Reads each archive of a row as a file of its own."""

    name: ClassVar[str] = KIND
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the last archive, which begins behind others, and by these."""
        return head[:4] == LOCAL and is_row(whole)

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """The archives in the order of their places."""
        parts = row_of(whole)
        budget.spend_members(len(parts), whole.name)
        origin = monitor_origin(time.time_ns(), source="scan")
        yield ArchiveRead(origin, whole.name, self.name, KIND, len(parts), 0, 0, 0)
        for number, (start, stop) in enumerate(parts):
            yield Nested(whole.part(f"#{number}", start, stop - start))


def is_row(whole: Input) -> bool:
    """Whether a file is nothing but archives of torch, and more than one; cheap for all others."""
    try:
        last = _beginning(whole, whole.size)
        return bool(last) and len(row_of(whole)) > 1
    except EvidenceError:
        return False


def row_of(whole: Input) -> list[tuple[int, int]]:
    """Where each archive begins and ends; empty when there is anything else in the file, or a doubt.

    Raises EvidenceError when the file cannot be read.
    """
    parts: list[tuple[int, int]] = []
    told: list[int] = []
    stop = whole.size
    while stop > 0 and len(parts) < MAX_ROW:
        start = _beginning(whole, stop)
        if start is None:
            return []
        parts.append((start, stop))
        own = _directory(whole, stop)
        for end in _ends(whole, stop):
            told += [at for at in (end.offset, end.at - end.size) if at != own]
        stop = start
    if stop:
        return []
    # A reader that counts from the beginning of the whole must find no other directory than the first.
    first = _directory(whole, parts[-1][1])
    if any(at != first and whole.read(at, 4) == CENTRAL for at in told):
        return []
    return parts[::-1]


def _beginning(whole: Input, stop: int) -> int | None:
    """Where the archive begins that ends right before ``stop``; None when none of torch does."""
    ends = _ends(whole, stop)
    directory = _directory(whole, stop)
    if directory is None or len({(end.size, end.offset) for end in ends}) != 1:
        return None  # with and without zip64, readers take the same directory
    start = directory - ends[0].offset
    local = read_local(whole, start) if 0 <= start < stop else None
    return start if local is not None and local.name.endswith(_FIRST) else None


def _directory(whole: Input, stop: int) -> int | None:
    """Where the directory stands whose end is right before ``stop``, None when there is none."""
    record = stop - END_SIZE
    near = [end for end in _ends(whole, stop) if end.adjacent and end.at in (record, record - _WIDE)]
    at = near[0].at - near[0].size if len(near) == 1 else -1
    return at if at >= 0 and whole.read(at, 4) == CENTRAL else None


def _ends(whole: Input, stop: int) -> list[End]:
    at = stop - END_SIZE
    record = whole.read(at, END_SIZE) if at >= 0 else b""
    if record[:4] != END or record[-2:] != b"\0\0":
        return []
    return list(end_at(whole, record, at, at))
