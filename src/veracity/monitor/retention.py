"""How long sample blocks are kept: all of runs that are not ``held``; of held ones the newest 2 GB.

Only blobs go, never an entry of a ledger: what is gone is named by its digest and shows as missing when the
run is verified or judged anew.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from .accounts import recorded
from .folder import RunFolder
from .home import Home

HELD_BYTES = 2 << 30


@recorded
def make_room(home: Path, keep: str, limit: int = HELD_BYTES) -> list[str]:
    """Remove the blobs of the oldest held runs until those of all held runs fit into ``limit`` bytes.

    ``keep`` names a run that is left alone. Returns the runs whose blobs were removed.
    """
    total = 0
    removed = []
    for listing in Home(home).runs():  # newest first
        if listing.verdict != "held":
            continue
        folder = RunFolder(listing.folder)
        total += _size(folder.blobs)
        if total > limit and listing.run != keep and folder.blobs.is_dir():
            total -= _size(folder.blobs)
            shutil.rmtree(folder.blobs)
            removed.append(listing.run)
    return removed


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for item in folder.iterdir():
            total += item.lstat().st_size
    return total
