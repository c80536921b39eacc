"""Files beside a file that is read, where its real reader would open them too.

Only names in the same folder, or in the one above it, are opened, never through a link, and not many.
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

    def __init__(self, path: str) -> None:
        self._path = path
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
            raise EvidenceError(f"names more than {MAX_OPENED:,} files beside it", where=self._path)
        folder = os.path.join(self._path, os.pardir) if above else self._path
        try:
            source = open_file(os.path.join(folder, name), follow=False)
        except EvidenceError:
            yield None
            return
        try:
            yield source
        finally:
            source.close()
