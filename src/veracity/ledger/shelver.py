"""Putting what the journal made durable where readers look: full tiles, partial tiles, the published head."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..core.errors import EvidenceError
from .files import Files, read_bounded
from .tile import Place
from .tiling import Tiling
from .tree_head import FILE_NAME, TreeHead

DRAFT = ".draft"
"""Every file is written under this name first and then renamed: no reader sees half of one."""


class Shelver:
    """Writes the tiles of one ledger and knows which files were not synced yet.

    Every method raises OSError as the system reports it, and unless that is a SyncError can be called again.
    """

    def __init__(self, folder: Path, files: Files) -> None:
        self._folder = folder
        self._files = files
        self._published = -1
        # Dictionaries for their order: what is done on disk does not depend on how paths hash.
        self._unsynced: dict[Path, None] = {}
        self._replaced: dict[Path, None] = {}

    def write_full(self, tiling: Tiling) -> None:
        """Write the bundles and tiles that became full, without syncing them."""
        for place, data in tiling.full():
            self._put(place, data)
            self._replaced[self._folder / f"{place.path()}.p"] = None
            tiling.forget_full(1)

    def publish(self, tiling: Tiling, head: TreeHead) -> None:
        """Write the partial tiles, sync all tiles, then replace the published tree head.

        So whatever the published head signs is on disk whole. Nothing happens when it is out already.
        """
        if self._published == head.size:
            return
        for place, data in tiling.partial():
            self._put(place, data)
        self._files.sync(self._unsynced)
        self._files.sync(_folders_of(self._unsynced, self._folder))
        self._unsynced.clear()
        draft = self._folder / DRAFT
        self._files.write(draft, head.signed)
        self._files.sync([draft])
        self._files.rename(draft, self._folder / FILE_NAME)
        self._files.sync([self._folder])
        self._published = head.size
        # The specification lets partial tiles go only once the full one is there to stay.
        while self._replaced:
            self._files.remove_folder(next(iter(self._replaced)))
            self._replaced.pop(next(iter(self._replaced)))

    def _put(self, place: Place, data: bytes) -> None:
        path = self._folder / place.path()
        # What is there already may be synced and published: a rewrite would put it at risk for nothing.
        if not _holds(path, data):
            draft = self._folder / DRAFT
            self._files.write(draft, data)
            try:
                self._files.rename(draft, path)
            except FileNotFoundError:
                self._files.make_folder(path.parent)
                self._files.rename(draft, path)
        self._unsynced[path] = None


def _holds(path: Path, data: bytes) -> bool:
    if not os.path.lexists(path):
        return False
    try:
        return read_bounded(path, len(data)) == data
    except EvidenceError:  # longer, or unreadable: the rename puts ours there
        return False


def unwritable(error: OSError, folder: Path) -> EvidenceError:
    """The error that tells a person why the ledger could not be written."""
    return EvidenceError(
        f"the ledger cannot be written: {error.strerror}",
        where=str(error.filename or folder),
        remedy="free space on this file system, or check its permissions",
    )


def _folders_of(paths: Iterable[Path], top: Path) -> dict[Path, None]:
    """The folders between ``paths`` and ``top``, both ends included."""
    found: dict[Path, None] = {top: None}
    for path in paths:
        parent = path.parent
        while parent not in found:
            found[parent] = None
            parent = parent.parent
    return found
