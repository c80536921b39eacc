"""Which files a scan reads: all below what was named, each once, and a word for what cannot be read.

Links to files are followed, since what opens the link reads the file. Links to folders are not entered: what
lies there is read under its own name when it is below what was named, and is said to be unread when it is
not. What lies behind a URL is listed by :mod:`remotewalk`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ...observe.artifact.input import kind_of
from ...observe.artifact.url import is_url

MAX_DEPTH = 256
FOLDER_REMEDY = "name that folder, too"


@dataclass(frozen=True, slots=True)
class Found:
    """A file to be read. ``twin``: the name under which the same file was found before, empty at first."""

    path: str
    size: int
    twin: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that cannot be read as a file, and why."""

    path: str
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or folder that a pattern kept out: whoever writes the patterns decides what is never read."""

    path: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which files are wanted: patterns of :mod:`fnmatch` over the path from the folder that was named.

    A pattern without ``/`` is also tried against the last part. ``exclude`` outweighs ``include`` and keeps
    whole folders out; ``include`` empty: all.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def keeps_out(self, relative: str) -> bool:
        """Whether a file or folder is not wanted."""
        return _matches(self.exclude, relative)

    def wants(self, relative: str) -> bool:
        """Whether a file is wanted, if nothing keeps it out."""
        return not self.include or _matches(self.include, relative)


def _matches(patterns: Sequence[str], relative: str) -> bool:
    name = relative.rpartition("/")[2]
    return any(fnmatchcase(relative, one) or ("/" not in one and fnmatchcase(name, one)) for one in patterns)


def walk(paths: Sequence[str], choice: Choice) -> Iterator[Found | Unread | LeftOut]:
    """What there is to read, in the order of names. What was named itself is never kept out.

    A path may be a URL; raises UsageError for one that nothing here can read.
    """
    urls = [path for path in paths if is_url(path)]
    reading = _Walk([path for path in paths if path not in urls], choice)
    if urls:
        from ...observe.artifact.remote import check_url

        for url in urls:
            check_url(url)
    for path in paths:
        yield from _behind(path, choice) if path in urls else reading.named(path)


def _behind(url: str, choice: Choice) -> Iterator[Found | Unread | LeftOut]:
    from .remotewalk import walk_url

    return walk_url(url, choice)


class _Walk:
    def __init__(self, paths: Sequence[str], choice: Choice) -> None:
        self._roots = [os.path.realpath(path) for path in paths if "\0" not in path]
        self._choice = choice
        self._seen: dict[tuple[int, int], str] = {}
        self._entered: set[tuple[int, int]] = set()

    def named(self, path: str) -> Iterator[Found | Unread | LeftOut]:
        try:
            status = os.stat(path)
        except (OSError, ValueError) as error:
            yield Unread(path, _said(error))
            return
        if stat.S_ISDIR(status.st_mode):
            yield from self._folder(path, "", 0)
        else:
            yield from self._file(path, status)

    def _folder(self, path: str, relative: str, depth: int) -> Iterator[Found | Unread | LeftOut]:
        if depth > MAX_DEPTH:
            yield Unread(path, f"lies deeper than {MAX_DEPTH} folders", FOLDER_REMEDY)
            return
        try:
            status = os.stat(path)
            with os.scandir(path) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield Unread(path, _said(error), "scan as an account that may read it")
            return
        identity = (status.st_dev, status.st_ino)
        if identity in self._entered:
            return  # named twice, or mounted twice: read once
        self._entered.add(identity)
        for entry in listed:
            below = f"{relative}/{entry.name}" if relative else entry.name
            # Below ".", a name alone is the shortest path to a file.
            shown = entry.name if path == "." else entry.path
            if self._choice.keeps_out(below):
                yield LeftOut(shown)
            else:
                yield from self._entry(entry, shown, below, depth)

    def _entry(
        self, entry: os.DirEntry[str], path: str, relative: str, depth: int
    ) -> Iterator[Found | Unread | LeftOut]:
        try:
            is_link = entry.is_symlink()
            status = entry.stat()
        except OSError as error:
            if self._choice.wants(relative):
                yield Unread(path, _said(error))
            return
        if not stat.S_ISDIR(status.st_mode):
            if self._choice.wants(relative):
                yield from self._file(path, status)
        elif not is_link:
            yield from self._folder(path, relative, depth + 1)
        elif not self._is_below(os.path.realpath(path)):
            yield Unread(path, "is a link to a folder elsewhere, which was not entered", FOLDER_REMEDY)

    def _file(self, path: str, status: os.stat_result) -> Iterator[Found | Unread | LeftOut]:
        if not stat.S_ISREG(status.st_mode):
            yield Unread(path, f"is {kind_of(status.st_mode)}, not a file")
            return
        identity = (status.st_dev, status.st_ino)
        twin = self._seen.setdefault(identity, path)
        yield Found(path, status.st_size, "" if twin == path else twin)

    def _is_below(self, target: str) -> bool:
        return any(target == root or target.startswith(root.rstrip("/") + "/") for root in self._roots)


def _said(error: OSError | ValueError) -> str:
    return f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"
