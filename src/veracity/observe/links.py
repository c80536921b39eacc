"""Files that have more than one name: who may write at one of them changes what lies at all.

uv, conda, pnpm, ostree and caches of compilers link whole environments from one store, so another name is
nothing by itself. It is told where a change is: the edit may have been made at a place that nobody looks at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from .pyenv import read_small
from .tree import Named

MAX_FILES = 500_000
MAX_ABOVE = 12
MAX_SETTINGS = 64 << 10


@dataclass(frozen=True, slots=True)
class Names:
    """The other names of a file: those ``here``, among all that is read, and how many are ``elsewhere``.

    Paths are absolute.
    """

    here: tuple[bytes, ...] = ()
    elsewhere: int = 0


@dataclass(slots=True)
class Links:
    """The files with more than one name among all that is read; ``cut``: there were too many to know them."""

    cut: bool = False
    _files: dict[tuple[int, int], set[bytes]] = field(default_factory=dict)
    _counts: dict[tuple[int, int], int] = field(default_factory=dict)
    _places: dict[bytes, tuple[int, int]] = field(default_factory=dict)

    def named(self, place: str) -> Named:
        """Takes in the files below a place."""
        start = os.fsencode(place)

        def taken(path: bytes, status: os.stat_result) -> None:
            identity, whole = (status.st_dev, status.st_ino), start + b"/" + path if path else start
            if len(self._places) >= MAX_FILES:
                self.cut = True
                return
            self._files.setdefault(identity, set()).add(whole)
            self._counts[identity] = status.st_nlink
            self._places[whole] = identity

        return taken

    def of(self, path: bytes) -> Names:
        """The other names of what lies at a path; none when no file with more than one was read there."""
        identity = self._places.get(path)
        if identity is None:
            return Names()
        names = self._files[identity]
        return Names(tuple(sorted(names - {path})), max(0, self._counts[identity] - len(names)))

    def elsewhere(self) -> Iterator[bytes]:
        """The files that have a name which was not read, in the order of their paths."""
        return (path for path in sorted(self._places) if self.of(path).elsewhere)


def store_of(path: bytes) -> str:
    """Who links files into where ``path`` lies, as far as the folders above say; empty when they do not."""
    folder = path
    for _ in range(MAX_ABOVE):
        folder = os.path.dirname(folder)
        settings = read_small(os.path.join(os.fsdecode(folder), "pyvenv.cfg"), MAX_SETTINGS)
        if settings is not None:
            return "uv's cache" if b"\nuv =" in b"\n" + settings else ""
        if os.path.isdir(os.path.join(folder, b"conda-meta")):
            return "conda's packages"
    return ""
