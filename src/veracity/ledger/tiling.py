"""How a growing tree is cut into tiles: which bundle and tiles became full, which are still partial."""

from __future__ import annotations

from collections.abc import Sequence

from .merkle import Frontier, tree_root
from .tile import WIDTH, Place, encode_bundle, encode_tile


class Tiling:
    """The entries and nodes that stand in no full tile yet, at most 255 per level, and the root over all.

    ``upper[i]`` are the nodes of level i + 1 when it starts at ``base`` entries instead of none.
    """

    def __init__(self, base: int = 0, upper: Sequence[Sequence[bytes]] = ()) -> None:
        self._levels: list[list[bytes]] = [[], *(list(level) for level in upper)]
        self._entries: list[bytes] = []
        self._full: list[tuple[Place, bytes]] = []
        self._frontier = Frontier()  # over full bundles
        self._open = Frontier()  # over the open one, as far as a root was asked for
        for level in range(len(upper), 0, -1):
            for node in upper[level - 1]:
                self._frontier.append_node(8 * level, node)
        self._size = base

    @property
    def size(self) -> int:
        """The number of entries."""
        return self._size

    @property
    def base(self) -> int:
        """How many entries stand in full bundles."""
        return self._size - len(self._entries)

    @property
    def upper(self) -> tuple[tuple[bytes, ...], ...]:
        """The pending nodes of level 1 and above; with ``base`` they are all that a restart needs."""
        return tuple(tuple(level) for level in self._levels[1:])

    @property
    def open_entries(self) -> tuple[bytes, ...]:
        """The entries of the bundle that is not full yet."""
        return tuple(self._entries)

    def root(self) -> bytes:
        """The root over all entries."""
        pending = self._levels[0]
        if not pending:
            return self._frontier.root()
        for leaf in pending[self._open.size :]:
            self._open.append(leaf)
        return self._frontier.root(self._open.root())

    def append(self, entry: bytes, leaf: bytes) -> None:
        """Add an entry with its leaf hash."""
        self._entries.append(entry)
        self._size += 1
        pending = self._levels[0]
        pending.append(leaf)
        if len(pending) == WIDTH:
            self._full.append((Place(None, self._size // WIDTH - 1), encode_bundle(self._entries)))
            self._entries.clear()
            self._open = Frontier()
            self._fill(0)

    def full(self) -> list[tuple[Place, bytes]]:
        """Full bundles and tiles that were not taken yet, with their content, lowest level first."""
        return list(self._full)

    def forget_full(self, count: int) -> None:
        """The first ``count`` of ``full()`` are on disk and need not be kept."""
        del self._full[:count]

    def partial(self) -> list[tuple[Place, bytes]]:
        """The partial bundle and tiles at the present size, with their content."""
        found: list[tuple[Place, bytes]] = []
        if self._entries:
            place = Place(None, self._size // WIDTH, len(self._entries))
            found.append((place, encode_bundle(self._entries)))
        for level, pending in enumerate(self._levels):
            if pending:
                place = Place(level, self._size >> 8 * (level + 1), len(pending))
                found.append((place, encode_tile(pending)))
        return found

    def _fill(self, level: int) -> None:
        """Close the full tile of ``level`` and carry its root up."""
        pending = self._levels[level]
        index = (self._size >> 8 * (level + 1)) - 1
        self._full.append((Place(level, index), encode_tile(pending)))
        root = tree_root(pending)
        pending.clear()
        if level == 0:
            self._frontier.append_node(8, root)
        if level + 1 == len(self._levels):
            self._levels.append([])
        self._levels[level + 1].append(root)
        if len(self._levels[level + 1]) == WIDTH:
            self._fill(level + 1)
