"""Timestamps by a real authority on the loopback, and those of something else or by somebody else."""

from __future__ import annotations

import functools
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.authority import Authority
from tests.ledger.test_bundle import Record, check, edited, make
from veracity.core.errors import EvidenceError, TransportError, UsageError, VerificationError
from veracity.ledger.bundle import STAMPED, Beside, write_bundle
from veracity.ledger.handover import verify_bundle
from veracity.ledger.keys import SigningKey
from veracity.ledger.reader import Reader
from veracity.ledger.timestamp import (
    ask_authority,
    check_address,
    request_for,
    verify_timestamp,
    verify_timestamps,
)
from veracity.ledger.tree_head import TreeHead

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
KEY = SigningKey.generate("log.example")
HEAD = TreeHead.sign("log.example/run", 5, bytes(32), KEY)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture
def url(authority: Authority) -> Iterator[str]:
    authority.says, authority.status = None, 200
    with authority.serving() as address:
        yield address
    authority.says, authority.status = None, 200


def test_a_head_is_stamped(authority: Authority, url: str) -> None:
    before = time.time()
    token = ask_authority(url, HEAD)
    at = verify_timestamp(token, HEAD, authority.certificates)
    assert before - 2 <= at <= time.time() + 2
    (sentence,) = verify_timestamps([token], HEAD, authority.certificates)
    assert sentence.startswith("a time-stamping authority that you named had seen the tree head by 20")


def test_the_timestamp_of_another_head(authority: Authority, url: str) -> None:
    token = ask_authority(url, HEAD)
    for other in (
        TreeHead.sign("log.example/run", 6, bytes(32), KEY),
        TreeHead.sign("log.example/other", 5, bytes(32), KEY),
        TreeHead.sign("log.example/run", 5, bytes(32), SigningKey.generate("log.example")),
    ):
        with pytest.raises(VerificationError, match="imprint mismatch"):
            verify_timestamp(token, other, authority.certificates)
        with pytest.raises(VerificationError):
            verify_timestamps([token], other, authority.certificates)
    with pytest.raises(VerificationError, match="no timestamp"):
        verify_timestamps([], HEAD, authority.certificates)


def test_an_authority_that_nobody_named(authority: Authority, url: str, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other")
    with other.serving() as address:
        token = ask_authority(address, HEAD)
    with pytest.raises(VerificationError):
        verify_timestamp(token, HEAD, authority.certificates)
    assert len(verify_timestamps([token, ask_authority(url, HEAD)], HEAD, authority.certificates)) == 1


def test_an_edited_timestamp(authority: Authority, url: str) -> None:
    """But for what nobody signed around the token, such as the status, no byte of it may differ."""
    token = ask_authority(url, HEAD)
    at = verify_timestamp(token, HEAD, authority.certificates)
    draw = random.Random(3)
    for place in draw.sample(range(20, len(token)), 40):
        other = token[:place] + bytes([token[place] ^ 1]) + token[place + 1 :]
        try:
            assert verify_timestamp(other, HEAD, authority.certificates) == at
        except (VerificationError, EvidenceError):
            continue
    for junk in (b"", b"junk", token[:-1], token[:100]):
        with pytest.raises((VerificationError, EvidenceError)):
            verify_timestamp(junk, HEAD, authority.certificates)


def test_the_text_around_a_token_says_no_time(authority: Authority, url: str) -> None:
    """The status of an answer is signed by nobody: a line in it that looks like a time is not read."""
    token = ask_authority(url, HEAD)
    at = verify_timestamp(token, HEAD, authority.certificates)
    assert token[4:9] == bytes.fromhex("3003020100")
    words = b"\nTime stamp: Jan  1 00:00:00 2001 GMT\n"
    text = b"\x30" + bytes([len(words) + 2]) + b"\x0c" + bytes([len(words)]) + words
    status = b"\x30" + bytes([3 + len(text)]) + b"\x02\x01\x00" + text
    inside = status + token[9:]
    forged = b"\x30\x82" + len(inside).to_bytes(2, "big") + inside
    assert verify_timestamp(forged, HEAD, authority.certificates) == at


def test_certificates_that_cannot_be_read(authority: Authority, url: str, tmp_path: Path) -> None:
    token = ask_authority(url, HEAD)
    with pytest.raises(EvidenceError):
        verify_timestamp(token, HEAD, tmp_path / "absent")
    (tmp_path / "junk").write_text("no certificate")
    with pytest.raises(VerificationError):
        verify_timestamp(token, HEAD, tmp_path / "junk")


def test_answers_that_are_not_kept(authority: Authority, url: str) -> None:
    old = ask_authority(url, HEAD)
    for says, word in (
        (old, "not about what was asked"),
        (b"", "is none"),
        (b"<html>", "is none"),
        (b"\x30\x80", "is none"),
        (b"\x30\x05\x30\x03\x02\x01\x02", "refuses, with status 2"),
        (b"\x30\x05\x30\x03\x02\x01\x00", "not about what was asked"),
        (bytes(100_000), "answers 200 and"),
    ):
        authority.says = says
        with pytest.raises(TransportError, match=word):
            ask_authority(url, HEAD)
    authority.says, authority.status = None, 500
    with pytest.raises(TransportError, match="answers 500"):
        ask_authority(url, HEAD)
    with pytest.raises(TransportError, match="cannot be reached"):
        ask_authority("http://127.0.0.1:9/", HEAD)


@given(st.binary(max_size=200), st.integers(1 << 62, (1 << 63) - 1))
def test_requests_are_as_the_specification_has_them(data: bytes, nonce: int) -> None:
    """Version, imprint with SHA-256, nonce, certificates wanted; openssl reads it in the other tests."""
    made = request_for(data, nonce)
    assert made[:2] == b"\x30\x43"
    assert len(made) == 0x45
    assert made[2:7] == bytes.fromhex("0201013031")
    assert made[-13:-11] == b"\x02\x08"
    assert int.from_bytes(made[-11:-3], "big", signed=True) == nonce
    assert made[-3:] == b"\x01\x01\xff"


def test_addresses() -> None:
    check_address("http://127.0.0.1:318/tsr?x=1")
    for url in ("", "ftp://h", "http://", "http://h:x", "http://[h", "http://h/a b", "http://h/\n"):
        with pytest.raises(UsageError):
            check_address(url)


# --- in bundles -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return make(tmp_path_factory.mktemp("record") / "run", entries=3)


def test_bundles_carry_timestamps(record: Record, authority: Authority, url: str, tmp_path: Path) -> None:
    with Reader(record.folder / "ledger") as reader:
        head = reader.tree_head
    target = tmp_path / "case.zip"
    stamps = [ask_authority(url, head)]
    key = record.key.verifier
    beside = Beside(timestamps=stamps)
    write_bundle(target, record.folder / "ledger", record.folder / "blobs", key, {}, beside)
    said, _ = verify_bundle(target, None, None, [], authority.certificates)
    assert any("had seen the tree head by" in one for one in said)
    assert check(target)[0] == 0

    other = TreeHead.sign(head.origin, head.size, bytes(32), record.key)
    renamed = head.signed.rpartition(b"\n\n")[0] + b"\n\n" + other.signed.rpartition(b"\n\n")[2]
    name = "timestamps/1.tsr"
    foreign = ask_authority(url, other)
    # Whoever has an older head stamped, or words that the key never signed, has a timestamp that holds.
    for junk, word in ((other.signed, "another tree head"), (renamed, "does not hold")):
        stamped = ask_authority(url, TreeHead.parse(junk))
        put = functools.partial(dict.update, **{STAMPED: junk, name: stamped})
        with pytest.raises(VerificationError, match=word):
            verify_bundle(edited(target, tmp_path / "x.zip", put), None, None, [], authority.certificates)
    changed = edited(target, tmp_path / "x.zip", lambda members: members.update({name: foreign}))
    with pytest.raises(VerificationError, match="imprint mismatch"):
        verify_bundle(changed, None, None, [], authority.certificates)
    changed = edited(target, tmp_path / "x.zip", lambda members: members.pop(name))
    with pytest.raises(VerificationError, match="no timestamp"):
        verify_bundle(changed, None, None, [], authority.certificates)
