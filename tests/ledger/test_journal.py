from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.growing import ORIGIN, entry
from veracity.core.errors import EvidenceError, ResourceLimitError, VerificationError
from veracity.ledger import journal as module
from veracity.ledger.journal import encode_batch, encode_header, read_journal
from veracity.ledger.keys import SigningKey
from veracity.ledger.merkle import leaf_hash
from veracity.ledger.reader import Reader
from veracity.ledger.store import Ledger
from veracity.ledger.tile import encode_bundle
from veracity.ledger.tree_head import TreeHead

SIGNER = SigningKey.generate(ORIGIN)


def head(size: int) -> bytes:
    return TreeHead.sign(ORIGIN, size, bytes(32), SIGNER).signed


def read(path: Path, data: bytes) -> module.Journal:
    path.write_bytes(data)
    handle = os.open(path, os.O_RDONLY)
    try:
        journal = read_journal(handle)
        for batch in journal.batches:
            journal.entries(batch)
        journal.verify_tail(SIGNER.verifier)
        return journal
    finally:
        os.close(handle)


WHOLE = (
    encode_header(0, ())
    + encode_batch(0, b"", head(0))
    + encode_batch(2, encode_bundle([b"one", b"two"]), head(2))
    + encode_batch(1, encode_bundle([b"three"]), head(3))
)


def test_a_journal_reads_back(tmp_path: Path) -> None:
    journal = read(tmp_path / "j", WHOLE)
    assert (journal.base, journal.upper, journal.settled) == (0, (), 0)
    assert [(batch.first, batch.count, batch.stop) for batch in journal.batches] == [
        (0, 0, 0),
        (0, 2, 2),
        (2, 1, 3),
    ]
    assert journal.head.size == 3
    assert journal.end == journal.length == len(WHOLE)


@given(base=st.integers(0, 1 << 34).map(lambda value: value * 256))
def test_the_header_says_where_it_starts(tmp_path_factory: pytest.TempPathFactory, base: int) -> None:
    upper: list[tuple[bytes, ...]] = []
    while count := base >> 8 * (len(upper) + 1):
        upper.append(tuple(leaf_hash(b"%d" % i) for i in range(count % 256)))
    path = tmp_path_factory.getbasetemp() / "header"
    journal = read(path, encode_header(base, upper) + encode_batch(0, b"", head(base)))
    assert (journal.base, journal.upper) == (base, tuple(upper))
    assert journal.begun == journal.length


@given(st.integers(0, len(WHOLE)), st.binary(max_size=30))
def test_a_torn_end_is_dropped(tmp_path_factory: pytest.TempPathFactory, cut: int, tail: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "torn"
    ends = [*(batch.offset for batch in read(path, WHOLE).batches[1:]), len(WHOLE)]
    whole = [end for end in ends if end <= cut]
    try:
        journal = read(path, WHOLE[:cut] + tail)
    except EvidenceError:
        assert not whole
        return
    assert journal.end in ends
    assert journal.end >= max(whole, default=0)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_never_overlooked(
    tmp_path_factory: pytest.TempPathFactory, at: int, change: int
) -> None:
    data = bytearray(WHOLE)
    data[at] ^= change
    path = tmp_path_factory.getbasetemp() / "changed"
    last = read(path, WHOLE).batches[-1].offset
    if at < last:
        with pytest.raises((EvidenceError, VerificationError)):
            read(path, bytes(data))
    else:
        assert read(path, bytes(data)).head.size == 2


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: WHOLE[: len(WHOLE) // 2] + tail))
def test_any_bytes_are_a_journal_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    try:
        journal = read(tmp_path_factory.getbasetemp() / "any", data)
    except (EvidenceError, VerificationError):
        return
    assert journal.end <= len(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no header"),
        (b"\x8cVJ\x81" + bytes(8) + b"\xff\xff\xff\xff", "no valid header"),
        (b"\x8cVJ\x81" + b"\xff" * 7 + b"\0" + bytes(4), "no valid header"),
        (encode_header(0, ())[:-1], "cut off"),
        (encode_header(0, ()), "no tree head"),
        (encode_header(256, ()) + encode_batch(0, b"", head(256)), "0 bytes of nodes instead of 32"),
        (encode_header(0, [[bytes(32)]]) + encode_batch(0, b"", head(0)), "32 bytes of nodes instead of 0"),
        (encode_header(0, ()) + encode_batch(1, b"", head(0)), "no tree head"),
        (encode_header(0, ()) + encode_batch(0, b"", b"no head"), "no tree head"),
        (encode_header(0, ()) + encode_batch(2, encode_bundle([b"a"]), head(2)), "entry 1 is missing"),
        (encode_header(0, ()) + encode_batch(1, encode_bundle([b"a", b"b"]), head(1)), "more than 1"),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(EvidenceError, match=message):
        read(tmp_path / "j", data)


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torn = WHOLE + b"\x8cVJ\x82" * 300
    with pytest.raises(EvidenceError, match="many commits behind it"):
        read(tmp_path / "j", torn)
    monkeypatch.setattr(module, "MAX_JOURNAL", len(WHOLE) - 1)
    with pytest.raises(ResourceLimitError, match="too long"):
        read(tmp_path / "j", WHOLE)


def test_a_lost_commit_is_found_across_search_borders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 5, 64):
        monkeypatch.setattr(module, "_SEARCH_STEP", step)
        last = read(tmp_path / "j", WHOLE).batches[-1].offset
        with pytest.raises(VerificationError, match="damaged at entry 0: a signed commit of 3"):
            read(tmp_path / "j", WHOLE[: read(tmp_path / "j", WHOLE).begun] + bytes(step * 7) + WHOLE[last:])


def test_commits_behind_the_end_that_are_older_or_foreign_are_no_loss(tmp_path: Path) -> None:
    older = encode_batch(0, b"", head(0))
    foreign = SigningKey.generate(ORIGIN)
    strange = encode_batch(7, b"", TreeHead.sign(ORIGIN, 9, bytes(32), foreign).signed)
    assert read(tmp_path / "j", WHOLE + b"torn" + older + strange).head.size == 3


LATER = b"".join(encode_batch(1, encode_bundle([b"entry %d" % size]), head(size)) for size in range(4, 400))


def test_a_writer_that_went_on_since_the_reading_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(WHOLE + LATER[:100] + bytes(len(LATER) - 100))
    handle = os.open(path, os.O_RDONLY)
    try:
        journal = read_journal(handle)
        path.write_bytes(WHOLE + LATER)
        journal.verify_tail(SIGNER.verifier)
        assert journal.head.size == 3
        # Who holds the lock knows that nobody else writes: what can be read now could be read before.
        with pytest.raises((VerificationError, EvidenceError), match=r"damaged|many commits"):
            journal.verify_tail(SIGNER.verifier, alone=True)
        for damaged in (0, len(LATER) // 2):
            path.write_bytes(WHOLE + LATER[:damaged] + b"?" + LATER[damaged + 1 :])
            with pytest.raises((VerificationError, EvidenceError), match=r"damaged|many commits"):
                journal.verify_tail(SIGNER.verifier)
    finally:
        os.close(handle)


def test_a_commit_that_becomes_whole_while_the_tail_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader finds it torn, then the one behind it whole: the writer was faster, nothing is damaged."""
    path = tmp_path / "j"
    torn = WHOLE + b"\0" + LATER[1:]
    path.write_bytes(torn[: len(WHOLE) + 700])
    handle = os.open(path, os.O_RDONLY)
    candidates = module._candidates

    def slow(descriptor: int, start: int, stop: int) -> Iterator[int]:
        for offset in candidates(descriptor, start, stop):
            path.write_bytes((WHOLE + LATER)[: len(torn)])
            yield offset

    try:
        journal = read_journal(handle)
        assert journal.head.size == 3
        monkeypatch.setattr(module, "_candidates", slow)
        journal.verify_tail(SIGNER.verifier)
    finally:
        os.close(handle)


def test_an_entry_that_holds_a_commit_is_an_entry(tmp_path: Path) -> None:
    """Whoever can have bytes recorded cannot make the ledger unreadable after a crash."""
    folder = tmp_path / "ledger"
    ledger = Ledger.create(folder, ORIGIN, SIGNER)
    ledger.append(entry(0))
    ledger.commit()
    recorded = (folder / "journal").read_bytes()[: ledger._journal_length]
    ledger.append(recorded)
    ledger.append(b"x" * 1000)
    ledger.commit()
    ledger._release()
    os.truncate(folder / "journal", ledger._journal_length - 500)
    with Reader(folder) as reader:
        reader.verify_tree(SIGNER.verifier)
        assert reader.size == 1
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    with Ledger.open(copy, SIGNER) as again:
        assert again.size == 1
