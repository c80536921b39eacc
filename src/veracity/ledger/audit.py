"""The offline audit: every entry hashed again and held against tiles, tree and signed heads.

The published part is checked from the files a third party would read (entry bundles, tiles of every level,
``checkpoint``), all of the journal against the head of each commit in it. Entries that stand in both must be
the same; those that only the journal has were committed, but not published before the writer was killed.
"""

from __future__ import annotations

from ..core.errors import EvidenceError, VerificationError
from ..core.quantity import quantity
from .journal import Journal
from .merkle import Frontier, leaf_hash, tree_root
from .note import NoteVerifier
from .shelf import Shelf
from .tile import WIDTH, Place, width_at
from .tree_head import TreeHead


def verify_tree(
    shelf: Shelf, published: TreeHead | None, journal: Journal | None, verifier: NoteVerifier
) -> None:
    """Check the whole ledger; see ``Reader.verify_tree``."""
    if published is None and (journal is None or journal.base):
        raise EvidenceError("the published tree head is gone", where=str(shelf.folder))
    if published is not None:
        published.verify(verifier)
    if journal is not None:
        journal.head.verify(verifier)
        journal.verify_tail(verifier)
        if published is not None:
            check_heads(published, journal)
    size = 0 if published is None else published.size
    audit = _Audit(shelf, size, size if journal is None else journal.base)
    audit.walk()
    if published is not None and audit.frontier.root() != published.root:
        raise VerificationError(
            f"the tree over entries 0 to {published.size - 1} is not the one the tree head signs"
        )
    if journal is not None:
        audit.walk_journal(journal)


def check_heads(published: TreeHead, journal: Journal) -> None:
    """Raise VerificationError unless the published head can be one that this journal's writer published."""
    if published.origin != journal.head.origin:
        raise VerificationError(
            f"the tree head is of {published.origin!r}, the journal of {journal.head.origin!r}"
        )
    if published.size > journal.head.size:
        raise VerificationError(
            f"the tree head signs {quantity(published.size, 'entry')}, but entry {journal.head.size} and "
            "those after it are gone from the journal"
        )
    if published.size < journal.settled:
        raise VerificationError(
            f"the tree head signs {quantity(published.size, 'entry')}, but entry {published.size} and those "
            "after it were published before: it was set back"
        )


class _Audit:
    """One walk over the published tree, keeping what the journal's walk needs."""

    def __init__(self, shelf: Shelf, size: int, base: int) -> None:
        self.frontier = Frontier()
        self._shelf = shelf
        self._size = size
        self._base = base
        self._at_base = Frontier()
        self._behind_base: list[bytes] = []
        self._nodes: list[list[bytes]] = []

    def walk(self) -> None:
        """Check bundles against leaf tiles and each tile against the one above it."""
        for index in range((self._size + WIDTH - 1) // WIDTH):
            width = width_at(self._size, 0, index)
            leaves = self._leaves(index, width)
            if index * WIDTH == self._base:
                self._at_base = self.frontier.copy()
            if index * WIDTH >= self._base:
                self._behind_base += leaves
            if width == WIDTH:
                root = tree_root(leaves)
                self.frontier.append_node(8, root)
                self._carry(1, root)
            else:
                for leaf in leaves:
                    self.frontier.append(leaf)
        if self._size == self._base:
            self._at_base = self.frontier.copy()
        for level, nodes in enumerate(self._nodes, start=1):
            if nodes:
                self._check_tile(level, self._size >> 8 * (level + 1), nodes)

    def walk_journal(self, journal: Journal) -> None:
        """Check the entries in the journal against the published leaves and the last commit's head."""
        frontier = self._at_base
        known = len(self._behind_base)
        for batch in journal.batches:
            for index, entry in enumerate(journal.entries(batch), start=batch.first):
                leaf = leaf_hash(entry)
                place = index - journal.base
                if place < known and self._behind_base[place] != leaf:
                    raise VerificationError(f"entry {index} in the journal is not the published one")
                frontier.append(leaf)
            if frontier.root() != batch.head.root:
                raise VerificationError(
                    f"entries {batch.first} to {batch.stop - 1} are not those their commit signed"
                )

    def _leaves(self, index: int, width: int) -> list[bytes]:
        first = index * WIDTH
        tile = self._shelf.tile(0, index, width)
        leaves = [leaf_hash(entry) for entry in self._shelf.loose_bundle(index, width)]
        if leaves == tile:
            return leaves
        for offset, (leaf, expected) in enumerate(zip(leaves, tile, strict=False)):
            if leaf != expected:
                raise VerificationError(
                    f"entry {first + offset} is not the one in the tree", where=str(self._shelf.folder)
                )
        raise EvidenceError(f"entry {first + len(leaves)} is missing", where=str(self._shelf.folder))

    def _carry(self, level: int, node: bytes) -> None:
        if level > len(self._nodes):
            self._nodes.append([])
        nodes = self._nodes[level - 1]
        nodes.append(node)
        if len(nodes) == WIDTH:
            self._check_tile(level, (self.frontier.size >> 8 * (level + 1)) - 1, nodes)
            root = tree_root(nodes)
            nodes.clear()
            self._carry(level + 1, root)

    def _check_tile(self, level: int, index: int, nodes: list[bytes]) -> None:
        place = Place(level, index, len(nodes))
        tile = self._shelf.tile(level, index, len(nodes))
        for offset, (node, expected) in enumerate(zip(nodes, tile, strict=True)):
            if node != expected:
                span = 1 << 8 * level
                first = place.first_entry + offset * span
                raise VerificationError(
                    f"entries {first} to {first + span - 1} are not those in the tree (level {level})",
                    where=str(self._shelf.folder / place.path()),
                )
