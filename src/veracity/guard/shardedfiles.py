"""The files of a checkpoint that torch.distributed.checkpoint writes and reads: many in one folder.

Rank ``r`` writes ``__r_0.distcp`` and so on, rank 0 also ``.metadata``, which says what lies where. The bytes
of a file are the same however it is read, so they can be followed from run to run though the number of
ranks changes; the tensors that a rank holds of them cannot.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

METADATA = ".metadata"
MAX_FILES = 1024
MAX_SCAN = 65_536

_PART = re.compile(r"__(\d{1,9})_\d+\.distcp")
Listing = dict[str, tuple[int, int, int]]


def folder_of(args: Sequence[object], given: Mapping[str, object]) -> str:
    """The folder that a save or load was asked for; empty when it is none of this machine's file system."""
    candidates = [given.get("checkpoint_id")]
    for value in (*args[1:], given.get("storage_writer"), given.get("storage_reader")):
        candidates.append(value if isinstance(value, (str, os.PathLike)) else getattr(value, "path", None))
    for value in candidates:
        if isinstance(value, (str, os.PathLike)):
            path = os.fsdecode(os.fspath(value))
            return "" if "://" in path else os.path.realpath(path)
    return ""


def listing(folder: str) -> Listing:
    """Inode, size and time of change in ns of the checkpoint's files by name; empty for what is no folder."""
    found: Listing = {}
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= MAX_SCAN:
                    break
                if entry.name == METADATA or entry.name.endswith(".distcp"):
                    status = entry.stat(follow_symlinks=False)
                    found[entry.name] = status.st_ino, status.st_size, status.st_mtime_ns
    except OSError:
        return {}
    return found


def changed(before: Listing, after: Listing) -> list[str]:
    """Names of the files that were written between two listings."""
    return sorted(name for name, status in after.items() if before.get(name) != status)[:MAX_FILES]


def of_rank(names: Sequence[str], rank: int) -> list[str]:
    """Those of ``names`` that ``rank`` writes; of rank 0 also the metadata."""
    return [name for name in names if _writer(name) == rank]


def of_machine(names: Sequence[str], rank: int) -> list[str]:
    """Those of ``names`` that a rank of this machine writes, as far as the launcher says which these are."""
    local, size = (os.environ.get(name, "") for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    first, count = rank, 1
    if local.isdecimal() and size.isdecimal():
        first, count = rank - int(local), int(size)
    return [name for name in names if first <= _writer(name) < first + count]


def _writer(name: str) -> int:
    match = _PART.fullmatch(name)
    return int(match[1]) if match is not None else 0 if name == METADATA else -1
