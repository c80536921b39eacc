"""Files beside a file that is read, where its real reader would open them too.

They are regular files, opened never through a link in their own place. How many is bounded: here for those
that a file names one by one, and by who reads whole neighbours (``code/neighbours.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ...core.errors import EvidenceError
from .input import FileSource, open_file

MAX_OPENED = 2_000


class Folder:
    """The folder that a file on disk lies in."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._left = MAX_OPENED

    @contextmanager
    def opened(self, name: str, *, above: bool = False) -> Iterator[FileSource | None]:
        """A regular file of that name while the block runs, None when there is none that can be opened.

        ``above``: in the folder above. Raises EvidenceError when too many were opened.
        """
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            yield None
            return
        self._left -= 1
        if self._left < 0:
            raise EvidenceError(f"names more than {MAX_OPENED:,} files beside it", where=self.place)
        folder = os.path.join(self.place, os.pardir) if above else self.place
        try:
            source = open_file(os.path.join(folder, name), follow=False)
        except EvidenceError:
            yield None
            return
        try:
            yield source
        finally:
            source.close()

    def read(self, path: str, limit: int) -> bytes | None:
        """The file at ``path`` from here, of up to ``limit`` bytes; None where there is none that is read."""
        try:
            found = open_file(os.path.join(self.place, path), follow=False)
        except (EvidenceError, ValueError):
            return None
        try:
            return found.read(0, found.size) if found.size <= limit else None
        except EvidenceError:
            return None
        finally:
            found.close()
