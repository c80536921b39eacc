"""The Merkle tree of RFC 6962: roots, inclusion and consistency, over SHA-256.

A leaf is ``SHA-256(0x00 || entry)``, an inner node ``SHA-256(0x01 || left || right)``; the two prefixes keep
an inner node from passing as an entry. A tree of n leaves splits at the largest power of two below n.
The two ``verify_*`` functions follow RFC 9162, sections 2.1.3.2 and 2.1.4.2, walking the proof once with two
counters instead of recursing. Everything here is pure; hashes are 32 raw bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from ..core.errors import UsageError, VerificationError

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without leaves (RFC 6962, section 2.1)."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry as a leaf."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node over two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over ``hashes``, taken as the nodes of one level from left to right.

    Pairing level by level and carrying an odd last node up unchanged gives the same tree as splitting at the
    largest power of two.
    """
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        paired = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]


class Frontier:
    """The right edge of a growing tree: one hash per complete subtree, at most 64 of them.

    Enough to append leaves and to know the root at any time without keeping the leaves.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []
        self._size = 0

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self.append_node(0, leaf)

    def append_node(self, height: int, node: bytes) -> None:
        """Add a complete subtree of ``2**height`` leaves by its root.

        Raises UsageError unless the tree so far is a whole number of such subtrees.
        """
        if self._size & ((1 << height) - 1):
            raise UsageError(f"a subtree of height {height} does not fit after {self._size} leaves")
        self._size += 1 << height
        peaks = self._peaks
        while peaks and peaks[-1][0] == height:
            node = sha256(b"\x01" + peaks.pop()[1] + node).digest()
            height += 1
        peaks.append((height, node))

    def root(self, behind: bytes | None = None) -> bytes:
        """The root over all leaves so far.

        ``behind`` is the root of a further, incomplete subtree that is smaller than every complete one here.
        """
        root = behind
        for _, peak in reversed(self._peaks):
            root = peak if root is None else sha256(b"\x01" + peak + root).digest()
        return EMPTY_ROOT if root is None else root

    def copy(self) -> Frontier:
        """An independent frontier at the same size."""
        twin = Frontier()
        twin._peaks = list(self._peaks)
        twin._size = self._size
        return twin


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings that lead from leaf ``index`` to the root over ``leaves``, lowest first."""
    if not 0 <= index < len(leaves):
        raise UsageError(f"leaf {index} is not in a tree of {len(leaves)}")
    proof: list[bytes] = []
    level = list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        level = [tree_root(level[i : i + 2]) for i in range(0, len(level), 2)]
        index //= 2
    return proof


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf`` is leaf ``index`` of the tree of ``size`` leaves with that ``root``.

    Raises VerificationError otherwise.
    """
    if not 0 <= index < size:
        raise VerificationError(f"entry {index} is not in a tree of {size}")
    place, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise VerificationError(f"inclusion proof of entry {index} is too long")
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            # The last node of a level may have been carried up through levels where it had no sibling.
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise VerificationError(f"inclusion proof of entry {index} is too short")
    if node != root:
        raise VerificationError(f"inclusion proof of entry {index} leads to another root")


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """The nodes that show the tree over the first ``old_size`` leaves to be a prefix of the one over all.

    Empty when either tree is empty or both are the same (RFC 6962, section 2.1.2).
    """
    new_size = len(leaves)
    if not 0 <= old_size <= new_size:
        raise UsageError(f"a tree of {new_size} has no prefix of {old_size}")
    if old_size in (0, new_size):
        return []
    proof: list[bytes] = []
    start, stop, old = 0, new_size, old_size
    whole = True  # the old tree itself is a subtree the verifier already knows
    while old != stop - start:
        split = 1 << (stop - start - 1).bit_length() - 1
        if old <= split:
            proof.append(tree_root(leaves[start + split : stop]))
            stop = start + split
        else:
            proof.append(tree_root(leaves[start : start + split]))
            start, old, whole = start + split, old - split, False
    if not whole:
        proof.append(tree_root(leaves[start:stop]))
    proof.reverse()
    return proof


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of ``new_size`` with ``new_root`` only appended to that of ``old_size``.

    Raises VerificationError otherwise.
    """
    step = f"from tree size {old_size} to {new_size}"
    if not 0 <= old_size <= new_size:
        raise VerificationError(f"a log cannot go {step}")
    if old_size in (0, new_size):
        if proof:
            raise VerificationError(f"consistency proof {step} must be empty")
        if old_root != (EMPTY_ROOT if old_size == 0 else new_root):
            raise VerificationError(f"two different roots at tree size {old_size}")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise VerificationError(f"consistency proof {step} is empty")
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old, new = path[0], path[0]
    for node in path[1:]:
        if last == 0:
            raise VerificationError(f"consistency proof {step} is too long")
        if place & 1 or place == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, node)
        place, last = place >> 1, last >> 1
    if last:
        raise VerificationError(f"consistency proof {step} is too short")
    if old != old_root or new != new_root:
        raise VerificationError(f"consistency proof {step} does not connect the two roots")
