"""The index of a checkpoint of ``torch.distributed.checkpoint``, beside the shards that it points into.

The index (``.metadata``) is a pickle. For each tensor or object it says in which file that lies, from which
byte, and how long it is; the reader opens ``folder / path``, takes these bytes, and loads them by
``torch.load``: tensors safely, objects with ``weights_only=False``. The writer writes one archive of torch
after the other, so each slice is one of them. Another slice is loaded as what nobody saved: it is read as a
file of its own.

Source: ``torch/distributed/checkpoint/filesystem.py`` (``_StorageInfo``, ``FileSystemReader.read_data``).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

from ..core.errors import EvidenceError, ResourceLimitError
from ..core.observation import FileAsked, ShardSlice
from ..core.origin import Origin, monitor_origin
from ..core.picklepolicy import made_by
from ..core.pickleprogram import Build, DictOf, PickleProgram, Result
from .archive.zip.row import row_of
from .artifact.budget import Budget
from .artifact.input import Input
from .artifact.reading import Found, Nested
from .pickle.machine import walk

MAX_SLICES = 2_000_000
MAX_READ = 32 << 20
"""Bytes of a slice that is read as a file of its own."""
MAX_TOLD = 100
_NAME = re.compile(r"(?:.*[/\\!])?(?:__\d+)?\.metadata\Z", re.DOTALL)
_ENTRY = ("torch.distributed.checkpoint.filesystem", "_StorageInfo")


class ShardIndexReader:
    """Indexes by their name, by which torch goes, too."""

    name: ClassVar[str] = "shard index"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether it has the name, and begins like a pickle."""
        return head[:1] == b"\x80" and _NAME.match(whole.name) is not None

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """Paths, and slices that are none of what was saved; raises EvidenceError for shards not read."""
        origin = monitor_origin(time.time_ns(), source="scan")
        entries: dict[str, set[tuple[int, int]]] = {}
        for path, offset, length in _entries(walk(whole)):
            entries.setdefault(path, set()).add((offset, length))
        told = unread = 0
        for path, slices in entries.items():
            budget.check_time(whole.name)
            if os.path.basename(path) != path or path in ("", ".", ".."):
                yield FileAsked(origin, whole.name, "an entry of the index", "torch", path)
                unread += 1
                continue
            if whole.beside is None:
                continue
            with whole.beside.opened(path) as source:
                if source is None:
                    unread += 1
                    continue
                for found in _compared(origin, whole, path, Input.of(path, source), sorted(slices)):
                    told += isinstance(found, ShardSlice)
                    if told > MAX_TOLD:
                        raise ResourceLimitError("points to more places than are listed", where=whole.name)
                    yield found
        if unread:
            raise EvidenceError(f"names {unread} files that are not beside it", where=whole.name)


def _entries(program: PickleProgram) -> Iterator[tuple[str, int, int]]:
    """Path, first byte and length of each entry."""
    count = 0
    for one in program.operations:
        if not isinstance(one, Build) or not isinstance(one.target, Result) or made_by(one.target) != _ENTRY:
            continue
        if not isinstance(one.state, DictOf):
            continue
        count += 1
        if count > MAX_SLICES:
            raise ResourceLimitError(f"has more than {MAX_SLICES:,} entries")
        items = one.state.items
        state = {key: value for key, value in zip(items[::2], items[1::2], strict=False) if type(key) is str}
        path, offset, length = (state.get(key) for key in ("relative_path", "offset", "length"))
        if isinstance(path, str) and isinstance(offset, int) and isinstance(length, int):
            yield path, offset, length


def _compared(
    origin: Origin, whole: Input, path: str, shard: Input, slices: Sequence[tuple[int, int]]
) -> Iterator[Found]:
    saved = {(start, stop - start) for start, stop in row_of(shard)}
    before = 0
    for offset, length in slices:
        if (offset, length) in saved:
            before = max(before, offset + length)
            continue
        if offset < 0 or length < 0 or offset + length > shard.size:
            yield ShardSlice(origin, whole.name, path, offset, length, "beyond")
            continue
        if saved:
            yield ShardSlice(origin, whole.name, path, offset, length, "within")
        elif offset < before:
            yield ShardSlice(origin, whole.name, path, offset, length, "overlaps")
        before = max(before, offset + length)
        if length <= MAX_READ:
            data = shard.read(offset, length)
            yield Nested(Input.of_bytes(f"{whole.name}!{path}[{offset}:]", data, whole.depth + 1))
