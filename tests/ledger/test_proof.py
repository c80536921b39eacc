"""Proofs of single entries: as C2SP tlog-proof has them, and worth nothing once a byte of them differs."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.growing import naive_leaf, naive_path, naive_root
from tests.ledger.witness.test_cosigned import SIGNERS, needing, seen
from veracity.core.errors import EvidenceError, ResourceLimitError, UsageError, VerificationError
from veracity.ledger.entry import Entry
from veracity.ledger.keys import SigningKey
from veracity.ledger.merkle import leaf_hash, tree_root
from veracity.ledger.note import parse_note
from veracity.ledger.proof import MAX_PATH, LogProof, prove, verify_proof
from veracity.ledger.tree_head import TreeHead
from veracity.ledger.witness.cosignature import WitnessKey, cosign
from veracity.ledger.witness.cosigned import Record
from veracity.ledger.witness.policy import Policy, PolicyLog

VECTORS = Path(__file__).parents[1] / "vectors" / "tlog-proof"
ORIGIN = "log.example/run"
KEY = SigningKey.generate("log.example")
ENTRIES = [Entry("note", {"number": number}).encode() for number in range(40)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


def head(size: int = 40, key: SigningKey = KEY, origin: str = ORIGIN) -> TreeHead:
    return TreeHead.sign(origin, size, tree_root(LEAVES[:size]), key)


def record() -> Record:
    return Record(KEY.verifier, ORIGIN, LEAVES)


def proof(index: int = 7, policy: Policy | None = None, *cosigned: TreeHead) -> LogProof:
    return prove(ENTRIES[index], index, record(), head(), cosigned, policy)


def seeded(name: str) -> SigningKey:
    return SigningKey(name, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


# --- vectors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("index", "size"), [(0, 1), (8, 13), (12, 13)])
def test_vectors(index: int, size: int) -> None:
    """Written by RFC 6962's own recursion and the words of the specification, not by the code under test."""
    log, witness = seeded("log.example"), seeded("witness.example")
    entries = [b'{"k":"note","number":%d}' % number for number in range(size)]
    leaves = [naive_leaf(entry) for entry in entries]
    body = f"log.example\n{size}\n{base64.b64encode(naive_root(leaves)).decode()}\n"
    at = 1_700_000_000
    lines = [
        (log, 1, b"", log.sign(body.encode())),
        (witness, 4, at.to_bytes(8, "big"), witness.sign(f"cosignature/v1\ntime {at}\n{body}".encode())),
    ]
    text = f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(entries[index]).decode()}\nindex {index}\n"
    text += "".join(base64.b64encode(node).decode() + "\n" for node in naive_path(index, leaves))
    text += f"\n{body}\n"
    for key, kind, before, signature in lines:
        name = key.verifier.name
        identity = hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key.verifier.raw).digest()[:4]
        text += f"\u2014 {name} {base64.b64encode(identity + before + signature).decode()}\n"
    data = (VECTORS / f"{index}-of-{size}.tlog-proof").read_bytes()
    assert data == text.encode()
    read = LogProof.decode(data)
    assert read.encode() == data
    said = verify_proof(read, [log.verifier], Policy.requiring([WitnessKey(witness.verifier)]))
    assert said == [
        f"log.example signed the tree head of log.example: {'1 entry' if size == 1 else f'{size:,} entries'}",
        "witness.example had seen this tree head by 2023-11-14 22:13:20 UTC",
        "1 of 1 witness cosigned it: enough",
        f"entry {index}, of kind note, is in that tree",
    ]


# --- what holds -----------------------------------------------------------------------------------------


@given(st.integers(0, 39), st.integers(1, 40))
def test_every_entry_of_every_tree_is_proved(index: int, size: int) -> None:
    index %= size
    made = prove(ENTRIES[index], index, Record(KEY.verifier, ORIGIN, LEAVES[:size]), head(size), [], None)
    assert LogProof.decode(made.encode()) == made
    verify_proof(made, [KEY.verifier])


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_PATH),
    st.one_of(st.none(), st.binary(max_size=300)),
)
def test_a_proof_is_read_as_it_was_written(index: int, path: list[bytes], extra: bytes | None) -> None:
    made = LogProof(index, tuple(path), head(), extra)
    assert LogProof.decode(made.encode()) == made


def test_the_largest_tree_that_is_witnessed_is_taken() -> None:
    """The end of the record may be nobody's yet."""
    heads = [seen(head(20), SIGNERS[0]), seen(head(20), SIGNERS[1]), seen(head(30), SIGNERS[0])]
    assert proof(7, needing(1), *heads).head.size == 30
    made = proof(7, needing(2), *heads)
    assert made.head.size == 20
    verify_proof(made, [KEY.verifier], needing(2))
    assert proof(25, needing(2), *heads).head.size == 40
    assert proof(7, None, *heads).head.size == 40
    with pytest.raises(VerificationError, match="too few"):
        verify_proof(proof(25, needing(2), *heads), [KEY.verifier], needing(2))
    whole = seen(head(), *SIGNERS)
    assert proof(7, needing(3), *heads, whole).head == whole


# --- what does not --------------------------------------------------------------------------------------


def test_every_altered_byte_is_refused() -> None:
    """There is no byte in it that does not count."""
    policy = needing(1)
    data = proof(7, policy, seen(head(), SIGNERS[0])).encode()
    for at in range(len(data)):
        for other in {data[at] ^ 1, data[at] ^ 0x20, 0x0A, 0x41} - {data[at]}:
            altered = data[:at] + bytes([other]) + data[at + 1 :]
            with pytest.raises((EvidenceError, VerificationError)):
                verify_proof(LogProof.decode(altered), [KEY.verifier], policy)


@pytest.mark.parametrize("count", [1, 2, 5, 60])
def test_what_is_cut_off_or_put_behind_is_refused(count: int) -> None:
    data = proof().encode()
    for altered in (data[:-count], data[count:], data + b"x" * count, data + b"\n" * count):
        with pytest.raises((EvidenceError, VerificationError)):
            verify_proof(LogProof.decode(altered), [KEY.verifier])


def test_what_is_another_proofs() -> None:
    made, other = proof(7), proof(8)
    foreign = TreeHead.sign("log.example/other", 40, tree_root(LEAVES[::-1]), KEY)
    for index, path, signed, extra in (
        (7, other.path, made.head, made.extra),
        (8, made.path, made.head, made.extra),
        (7, made.path, made.head, other.extra),
        (7, made.path, foreign, made.extra),
        (7, made.path[:-1], made.head, made.extra),
        (7, (*made.path, made.path[0]), made.head, made.extra),
        (40, made.path, made.head, made.extra),
        (7, made.path, head(39), made.extra),
        # An inner node passed off as an entry: its two hashes, one after the other.
        (3, made.path[1:], made.head, LEAVES[6] + LEAVES[7]),
    ):
        with pytest.raises(VerificationError):
            verify_proof(LogProof(index, path, signed, extra), [KEY.verifier])


def test_keys_that_are_not_the_logs() -> None:
    twin = SigningKey.generate("log.example")
    elsewhere = SigningKey("other.example", KEY._private)
    for keys in ([], [twin.verifier], [elsewhere.verifier]):
        with pytest.raises(VerificationError, match="no known key"):
            verify_proof(proof(), keys)
    verify_proof(proof(), [twin.verifier, KEY.verifier])
    by_another = LogProof(7, proof().path, head(key=SigningKey("other.example", KEY._private)), ENTRIES[7])
    with pytest.raises(VerificationError, match="no known key"):
        verify_proof(by_another, [elsewhere.verifier])


def test_witnesses_that_are_too_few() -> None:
    made = proof(7, needing(1), seen(head(), SIGNERS[0]))
    verify_proof(made, [KEY.verifier], needing(1))
    with pytest.raises(VerificationError, match=r"w1.example has not cosigned it"):
        verify_proof(made, [KEY.verifier], needing(2))
    twice = seen(made.head, SIGNERS[0], at=5)
    with pytest.raises(VerificationError, match="too few"):
        verify_proof(LogProof(7, made.path, twice, made.extra), [KEY.verifier], needing(2))
    old = cosign(parse_note(head(39).signed).text, 5, SIGNERS[1])
    moved = TreeHead.parse(made.head.signed + old.encode())
    with pytest.raises(VerificationError, match="does not hold"):
        verify_proof(LogProof(7, made.path, moved, made.extra), [KEY.verifier], needing(1))
    other = Policy("none", logs=(PolicyLog(SigningKey.generate("log.example").verifier),))
    with pytest.raises(VerificationError, match="not about the log"):
        verify_proof(made, [KEY.verifier], other)


def test_a_fork_that_a_witness_has_seen_is_told() -> None:
    fork = TreeHead.sign(ORIGIN, 40, tree_root(LEAVES[::-1]), KEY)
    with pytest.raises(VerificationError, match="cosigned another record"):
        proof(7, needing(1), seen(fork, SIGNERS[0]))
    with pytest.raises(UsageError, match="no entry 40"):
        prove(b"", 40, record(), head(), [], None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"c2sp.org/tlog-proof@v1\n", b"c2sp.org/tlog-proof@v2\n"),
        (b"c2sp.org/tlog-proof@v1\n", b""),
        (b"index 7\n", b""),
        (b"index 7\n", b"index 07\n"),
        (b"index 7\n", b"index -7\n"),
        (b"index 7\n", b"index 7 \n"),
        (b"index 7\n", b"index 7\nindex 7\n"),
        (b"index 7\n", b"index 99999999999999999999\n"),
        (b"index 7\n", b"index 9223372036854775808\n"),
        (b"index 7\n", b"index 7\nAAAA\n"),
        (b"index 7\n", b"index 7\r\n"),
        (b"index 7\n", b"index 7\n\n"),
        (b"extra ", b"extra  "),
        (b"extra ", b"extra AAAA\nextra "),
        (b"extra ", b"Extra "),
        (b"extra ", b"extra \xff"),
        (b"\n\nlog", b"\nlog"),
    ],
)
def test_what_is_no_proof(old: bytes, new: bytes) -> None:
    data = proof().encode()
    assert old in data
    with pytest.raises(EvidenceError):
        LogProof.decode(data.replace(old, new, 1))


def test_limits() -> None:
    line = base64.b64encode(bytes(32)) + b"\n"
    with pytest.raises(EvidenceError, match="at most 63"):
        LogProof.decode(proof().encode().replace(b"index 7\n", b"index 7\n" + line * 64))
    with pytest.raises(ResourceLimitError):
        LogProof.decode(bytes(1 << 20))
    with pytest.raises(ResourceLimitError):
        LogProof.decode(LogProof(7, (), head(), bytes(200_000)).encode())
    with pytest.raises(EvidenceError, match="does not carry"):
        verify_proof(LogProof(7, proof().path, head()), [KEY.verifier])


@given(st.binary(max_size=300))
def test_whatever_is_read_is_a_proof_or_refused(data: bytes) -> None:
    for text in (data, b"c2sp.org/tlog-proof@v1\n" + data, b"c2sp.org/tlog-proof@v1\nindex 1\n\n" + data):
        try:
            read = LogProof.decode(text)
        except EvidenceError:
            continue
        assert LogProof.decode(read.encode()) == read
