"""What changed between two trees, found by looking only where digests differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ..core.errors import ResourceLimitError
from ..core.tree import FOLDER, LINK, UNREAD, Page, TreeEntry

MAX_DEPTH = 512


class Change(Enum):
    """What happened to a name, the worst first."""

    CONTENT = "content changed"
    LINK = "link leads elsewhere"
    KIND = "another kind of file"
    ADDED = "added"
    EXECUTABLE = "made executable"
    REMOVED = "removed"
    MODE = "permissions changed"
    UNREAD = "could not be read"


@dataclass(frozen=True, slots=True)
class Changed:
    """One name that is not as it was; ``before`` or ``after`` is None when it was not there."""

    path: bytes
    change: Change
    before: TreeEntry | None
    after: TreeEntry | None


class Source(Protocol):
    """Where the nodes of a tree are found: see :class:`veracity.seal.nodes.Nodes`."""

    def pages(self, digest: str) -> tuple[Page, ...] | None:
        """The pages of a folder that has some."""

    def page(self, page: Page) -> tuple[TreeEntry, ...]:
        """The entries of one page."""

    def entries(self, digest: str) -> Iterator[TreeEntry]:
        """The entries of a folder, in order."""


def compare(
    before: TreeEntry, old: Source, after: TreeEntry, new: Source, path: bytes = b""
) -> Iterator[Changed]:
    """Each name that differs, in the order of the paths; of a folder that is new or gone, all that is in it.

    Raises what reading the nodes raises.
    """
    yield from _entry(path, before, old, after, new, 0)


def _entry(
    path: bytes, before: TreeEntry | None, old: Source, after: TreeEntry | None, new: Source, depth: int
) -> Iterator[Changed]:
    if depth > MAX_DEPTH:
        raise ResourceLimitError(f"folders lie more than {MAX_DEPTH} deep")
    if before is not None and after is not None and before.kind == after.kind == FOLDER:
        if UNREAD in (before.digest, after.digest):
            if before != after:
                yield Changed(path, Change.UNREAD, before, after)
            return
        if before.mode != after.mode:
            yield Changed(path, Change.MODE, before, after)
        if before.digest != after.digest:
            yield from _folders(path, before, old, after, new, depth)
        return
    change = _change(before, after)
    if change is not None:
        yield Changed(path, change, before, after)
    for entry, source, is_new in ((before, old, False), (after, new, True)):
        if entry is not None and entry.kind == FOLDER and entry.digest != UNREAD:
            for inner in source.entries(entry.digest):
                pair = (None, inner) if is_new else (inner, None)
                yield from _entry(_join(path, inner), pair[0], old, pair[1], new, depth + 1)


def _folders(
    path: bytes, before: TreeEntry, old: Source, after: TreeEntry, new: Source, depth: int
) -> Iterator[Changed]:
    was = {entry.name: entry for entry in _differing(before, old, after, new)}
    now = {entry.name: entry for entry in _differing(after, new, before, old)}
    for name in sorted(was.keys() | now.keys()):
        one, other = was.get(name), now.get(name)
        if one != other:
            inside = path + b"/" + name if path else name
            yield from _entry(inside, one, old, other, new, depth + 1)


def _differing(folder: TreeEntry, source: Source, other: TreeEntry, others: Source) -> Iterator[TreeEntry]:
    """The entries of a folder without those on pages that the other folder has, too."""
    pages = source.pages(folder.digest)
    same = {page.digest for page in others.pages(other.digest) or ()} if pages is not None else set()
    if pages is None or not same:
        yield from source.entries(folder.digest)
        return
    for page in pages:
        if page.digest not in same:
            yield from source.page(page)


def _change(before: TreeEntry | None, after: TreeEntry | None) -> Change | None:
    if before is None:
        return Change.ADDED if after is not None else None
    if after is None:
        return Change.REMOVED
    if before.is_file != after.is_file or (not before.is_file and before.kind != after.kind):
        return Change.KIND
    if UNREAD in (before.digest, after.digest):
        return Change.UNREAD
    if before.kind == LINK and before.target != after.target:
        return Change.LINK
    if (before.digest, before.size) != (after.digest, after.size):
        return Change.CONTENT
    if before.mode != after.mode:
        return Change.EXECUTABLE if after.mode & ~before.mode & 0o111 else Change.MODE
    return None


def _join(path: bytes, entry: TreeEntry) -> bytes:
    return path + b"/" + entry.name if path else entry.name
