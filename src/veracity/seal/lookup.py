"""Single files asked of a seal: what was at this path when it was sealed, and is this content it?

Paths are followed as they were sealed. Where a link was, the link that is there now is compared with it, and
the way goes on to where it led then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..core.tree import FOLDER, LARGE, LINK, UNREAD, TreeEntry
from .folder import SealFolder
from .nodes import Nodes
from .paths import Part, Seal

OUTSIDE, SAME, DIFFERS, ADDED, UNKNOWN = "outside", "same", "differs", "added", "unknown"
MAX_LINKS = 40
MAX_FOLDERS = 100_000


class SealedFiles:
    """The files of the parts of a seal, by where they were sealed. ``seal`` was read from ``folder``."""

    def __init__(self, folder: SealFolder, seal: Seal) -> None:
        self._parts = seal.parts
        self._nodes = Nodes(folder.manifest)
        self._folders: dict[str, Mapping[bytes, TreeEntry]] = {}

    def standing(self, path: str, sha256: str, large: str = "") -> str:
        """How content with this SHA-256 at this path stands.

        ``large``: the digest of its chunks, by which a seal knows a large file; without it such a file is
        ``unknown``. ``outside`` of all parts, the ``same`` as was sealed, it ``differs``, the file was
        ``added`` since, or it is ``unknown`` (it was not read then, or is too large to have one digest).
        Raises EvidenceError and VerificationError when the seal's manifest cannot be read or is not the one
        that was signed.
        """
        absolute, content = os.path.abspath(path), (sha256, large)
        found = self._follow(absolute, content, 0)
        if found == OUTSIDE and (real := os.path.realpath(absolute)) != absolute:
            # The part may have been named through other links than the file is now.
            found = self._follow(real, content, 0)
        return found

    def sealed(self, path: str) -> str:
        """The SHA-256 that the file at this path had, as far as the seal has one; empty when it has none."""
        asked: list[str] = []
        for spelling in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
            if self._follow(spelling, ("", ""), 0, asked) != OUTSIDE:
                break
        return asked[0] if asked else ""

    def close(self) -> None:
        """Let go of the manifest."""
        self._nodes.close()

    def _follow(self, path: str, content: tuple[str, str], links: int, asked: list[str] | None = None) -> str:
        part = self._part(path)
        if part is None:
            return OUTSIDE
        entry, place = part.root, part.path
        rest = [name for name in path[len(part.path) :].split(os.sep) if name]
        while rest:
            if entry.kind == LINK:
                return self._linked(entry, place, rest, content, links, asked)
            if entry.kind != FOLDER:
                return ADDED
            if entry.digest == UNREAD:
                return UNKNOWN
            name = rest.pop(0)
            inside = self._entries(entry.digest).get(os.fsencode(name))
            if inside is None:
                return ADDED
            entry, place = inside, os.path.join(place, name)
        if entry.kind == LINK:
            return self._linked(entry, place, rest, content, links, asked)
        if not entry.is_file:
            return DIFFERS
        if entry.digest == UNREAD or (entry.kind == LARGE and not content[1]):
            return UNKNOWN
        if asked is not None and entry.kind != LARGE:
            asked.append(entry.digest)
        return SAME if entry.digest == content[entry.kind == LARGE] else DIFFERS

    def _linked(
        self,
        entry: TreeEntry,
        place: str,
        rest: list[str],
        content: tuple[str, str],
        links: int,
        asked: list[str] | None,
    ) -> str:
        """A link on the way: it must still lead where it led."""
        try:
            now = os.readlink(os.fsencode(place))
        except OSError:
            return DIFFERS
        if now != entry.target or links >= MAX_LINKS:
            return DIFFERS
        target = os.path.join(os.path.dirname(place), os.fsdecode(entry.target), *rest)
        return self._follow(os.path.normpath(target), content, links + 1, asked)

    def _part(self, path: str) -> Part | None:
        """The innermost part that holds ``path``, and did not leave it out."""
        holding = [part for part in self._parts if part.holds(path)]
        return max(holding, key=lambda part: len(part.path), default=None)

    def _entries(self, digest: str) -> Mapping[bytes, TreeEntry]:
        known = self._folders.get(digest)
        if known is None:
            if len(self._folders) >= MAX_FOLDERS:
                self._folders.clear()
            known = self._folders[digest] = {entry.name: entry for entry in self._nodes.entries(digest)}
        return known
