"""Ledgers to test with, and the tree as RFC 6962 defines it, word for word."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from veracity.ledger.keys import SigningKey
from veracity.ledger.reader import Reader
from veracity.ledger.store import Ledger

ORIGIN = "log.example/run-1"


def entry(index: int) -> bytes:
    return b"entry %d " % index + b"." * (index % 7)


def grow(folder: Path, signer: SigningKey, count: int, each: int = 50) -> list[bytes]:
    """A closed ledger of ``count`` entries, committed ``each`` at a time."""
    entries = [entry(index) for index in range(count)]
    with Ledger.create(folder, ORIGIN, signer) as ledger:
        for index, one in enumerate(entries):
            assert ledger.append(one) == index
            if index % each == each - 1:
                ledger.commit(publish=index % 3 == 0)
    return entries


def check(folder: Path, signer: SigningKey) -> list[bytes]:
    """The entries of a ledger that verifies."""
    with Reader(folder) as reader:
        reader.verify_tree(signer.verifier)
        found = list(reader.entries())
        assert reader.tree_head.root == naive_root([naive_leaf(one) for one in found])
        assert reader.size == len(found)
    return found


def naive_leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def naive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*naive_path(index, leaves[:split]), naive_root(leaves[split:])]
    return [*naive_path(index - split, leaves[split:]), naive_root(leaves[:split])]


def naive_proof(old: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """PROOF and SUBPROOF of RFC 6962, section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if old <= split:
        return [*naive_proof(old, leaves[:split], whole), naive_root(leaves[split:])]
    return [*naive_proof(old - split, leaves[split:], False), naive_root(leaves[:split])]
