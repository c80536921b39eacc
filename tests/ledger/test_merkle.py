from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.growing import naive_leaf, naive_path, naive_proof, naive_root
from veracity.core.errors import UsageError, VerificationError
from veracity.ledger import merkle
from veracity.ledger.merkle import Frontier

# The inputs and roots that implementations of RFC 6962 share as their test vector.
VECTOR_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
VECTOR_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [naive_leaf(b"%d" % index) for index in range(300)]
sizes = st.integers(1, 300)


@pytest.mark.parametrize("size", range(9))
def test_the_published_vectors_hold(size: int) -> None:
    leaves = [merkle.leaf_hash(bytes.fromhex(text)) for text in VECTOR_LEAVES[:size]]
    assert merkle.tree_root(leaves).hex() == VECTOR_ROOTS[size]


@given(st.integers(0, 300))
def test_roots_are_those_of_the_definition(size: int) -> None:
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf)
    assert frontier.size == size
    assert merkle.tree_root(LEAVES[:size]) == naive_root(LEAVES[:size])
    assert frontier.root() == naive_root(LEAVES[:size])


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 3))
def test_a_frontier_takes_whole_subtrees(heights: list[int], behind: int) -> None:
    frontier = Frontier()
    at = 0
    for height in sorted(heights, reverse=True):
        frontier.append_node(height, naive_root(LEAVES[at : at + (1 << height)]))
        at += 1 << height
    if heights and behind and behind < 1 << min(heights):
        incomplete = naive_root(LEAVES[at : at + behind])
        assert frontier.root(incomplete) == naive_root(LEAVES[: at + behind])
    twin = frontier.copy()
    twin.append(LEAVES[at])
    assert (frontier.size, twin.size) == (at, at + 1)
    assert frontier.root() == naive_root(LEAVES[:at])
    assert twin.root() == naive_root(LEAVES[: at + 1])


def test_a_subtree_that_does_not_fit_is_refused() -> None:
    frontier = Frontier()
    frontier.append(LEAVES[0])
    with pytest.raises(UsageError, match="height 1 does not fit after 1"):
        frontier.append_node(1, LEAVES[1])


@given(sizes, st.data())
def test_inclusion_holds_and_nothing_else_does(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = LEAVES[:size]
    root = naive_root(leaves)
    proof = merkle.inclusion_proof(leaves, index)
    assert proof == naive_path(index, leaves)
    merkle.verify_inclusion(leaves[index], index, size, proof, root)
    other = data.draw(st.integers(0, 300).filter(lambda value: value != index))
    # A proof of another length, leaf, index, root or sibling does not hold.
    wrong: list[tuple[bytes, int, int, list[bytes], bytes]] = [
        (LEAVES[-1] if index != 299 else LEAVES[0], index, size, proof, root),
        (leaves[index], other, size, proof, root),
        (leaves[index], index, size, [*proof, LEAVES[0]], root),
        (leaves[index], index, size, proof, naive_leaf(b"another root")),
    ]
    if proof:
        wrong.append((leaves[index], index, size, proof[:-1], root))
        changed = list(proof)
        changed[data.draw(st.integers(0, len(proof) - 1))] = naive_leaf(b"another sibling")
        wrong.append((leaves[index], index, size, changed, root))
    for case in wrong:
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(*case)


@given(sizes, st.data())
def test_consistency_holds_and_nothing_else_does(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, size))
    leaves = LEAVES[:size]
    old_root, root = naive_root(leaves[:old]), naive_root(leaves)
    proof = merkle.consistency_proof(leaves, old)
    if old:
        assert proof == naive_proof(old, leaves)
    merkle.verify_consistency(old, size, old_root, root, proof)
    forked = naive_root([*leaves[: old - 1], naive_leaf(b"fork")]) if old else naive_leaf(b"fork")
    wrong: list[tuple[int, int, bytes, bytes, list[bytes]]] = [
        (old, size, forked, root, proof),
        (old, size, old_root, root, [*proof, LEAVES[0]]),
        (size + 1, size, root, root, proof),
        (-1, size, root, root, proof),
    ]
    if proof:
        wrong.append((old, size, old_root, naive_leaf(b"fork"), proof))
        wrong.append((old, size, old_root, root, proof[:-1]))
        changed = list(proof)
        changed[data.draw(st.integers(0, len(proof) - 1))] = naive_leaf(b"another node")
        wrong.append((old, size, old_root, root, changed))
    for case in wrong:
        with pytest.raises(VerificationError):
            merkle.verify_consistency(*case)


@given(st.integers(-2, 40), st.integers(-2, 40), st.lists(st.sampled_from(LEAVES), max_size=8))
def test_any_proof_is_accepted_or_refused(first: int, second: int, proof: list[bytes]) -> None:
    with pytest.raises(VerificationError):
        merkle.verify_inclusion(LEAVES[0], first, second, proof, naive_leaf(b"unknown"))
    with pytest.raises(VerificationError):
        merkle.verify_consistency(first, second, LEAVES[0], naive_leaf(b"unknown"), proof)


def test_what_is_not_in_the_tree_has_no_proof() -> None:
    for index in (-1, 3):
        with pytest.raises(UsageError, match="not in a tree of 3"):
            merkle.inclusion_proof(LEAVES[:3], index)
    for size in (-1, 4):
        with pytest.raises(UsageError, match="no prefix"):
            merkle.consistency_proof(LEAVES[:3], size)
