"""Reading and auditing: a sound ledger verifies wherever it lies, and each edit is named."""

from __future__ import annotations

import os
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from tests.ledger.growing import ORIGIN, check, entry, grow
from veracity.core.errors import EvidenceError, UsageError, VerificationError
from veracity.ledger import reader as reader_module
from veracity.ledger.keys import SigningKey
from veracity.ledger.merkle import leaf_hash, tree_root
from veracity.ledger.reader import Reader
from veracity.ledger.shelf import read_head
from veracity.ledger.store import Ledger
from veracity.ledger.tile import decode_bundle, encode_bundle
from veracity.ledger.tree_head import TreeHead

COUNT = 700
Attack = Callable[[Path], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, signer: SigningKey) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "ledger"
    grow(folder, signer, COUNT)
    return folder


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "copy"))


def verify(folder: Path, signer: SigningKey) -> None:
    with Reader(folder) as reader:
        reader.verify_tree(signer.verifier)


def edit(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(encode_bundle(change(decode_bundle(path.read_bytes()))))


def replace(index: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda entries: [*entries[:index], entries[index] + b"!", *entries[index + 1 :]]


# --- reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 1), (255, 257), (256, 512), (500, 700), (699, 700), (700, 700), (0, None)]
)
def test_any_range_can_be_read(copy: Path, start: int, stop: int | None) -> None:
    expected = [entry(index) for index in range(start, COUNT if stop is None else stop)]
    with Reader(copy) as reader:
        assert list(reader.entries(start, stop)) == expected
    (copy / "journal").unlink()
    with Reader(copy) as reader:
        assert list(reader.entries(start, stop)) == expected


def test_ranges_that_are_not_there_are_refused(sound: Path) -> None:
    with Reader(sound) as reader:
        for start, stop in ((-1, 5), (5, 4), (0, COUNT + 1)):
            with pytest.raises(UsageError, match="not in a ledger of 700"):
                list(reader.entries(start, stop))


def test_a_ledger_can_be_read_without_journal_and_lock(copy: Path, signer: SigningKey) -> None:
    (copy / "journal").unlink()
    (copy / "lock").unlink()
    assert check(copy, signer) == [entry(index) for index in range(COUNT)]


def test_reading_writes_nothing(copy: Path, signer: SigningKey) -> None:
    paths = [copy, *copy.rglob("*")]
    before = {path: path.stat().st_mtime_ns for path in paths}
    for path in paths:
        path.chmod(0o500 if path.is_dir() else 0o400)
    check(copy, signer)
    assert {path: path.stat().st_mtime_ns for path in [copy, *copy.rglob("*")]} == before


def test_partial_tiles_may_have_become_full_since_the_head_was_read(copy: Path, signer: SigningKey) -> None:
    with Reader(copy) as reader:
        with Ledger.open(copy, signer) as ledger:
            for index in range(COUNT, 1100):
                ledger.append(entry(index))
        assert not (copy / "tile/0/002.p").exists()
        assert (reader.size, len(list(reader.entries()))) == (COUNT, COUNT)
        reader.verify_tree(signer.verifier)
    assert len(check(copy, signer)) == 1100


def test_a_reader_can_audit_while_the_writer_appends(tmp_path: Path, signer: SigningKey) -> None:
    folder = tmp_path / "ledger"
    ledger = Ledger.create(folder, ORIGIN, signer, journal_limit=5000)

    def write() -> None:
        with ledger:
            for index in range(2000):
                ledger.append(entry(index))
                if index % 23 == 0:
                    ledger.commit(publish=index % 3 == 0)

    writer = Thread(target=write)
    writer.start()
    sizes = []
    while writer.is_alive():
        found = check(folder, signer)
        assert found == [entry(index) for index in range(len(found))]
        sizes.append(len(found))
    writer.join()
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 2
    assert len(check(folder, signer)) == 2000


def test_a_writer_that_begins_a_new_journal_in_between_is_no_fault(
    copy: Path, signer: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = [1, 400]

    def read_head_just_before(folder: Path) -> TreeHead | None:
        head = read_head(folder)
        if writes:
            with Ledger.open(folder, signer) as ledger:
                for index in range(ledger.size, ledger.size + writes.pop()):
                    ledger.append(entry(index))
        return head

    monkeypatch.setattr(reader_module, "read_head", read_head_just_before)
    with Reader(copy) as reader:
        assert (reader.size, reader.unpublished) == (COUNT + 401, 0)
        reader.verify_tree(signer.verifier)
        assert list(reader.entries()) == [entry(index) for index in range(COUNT + 401)]


def test_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="no ledger"):
        Reader(tmp_path)
    with pytest.raises(EvidenceError, match="no ledger"):
        Reader(tmp_path / "missing")


# --- attacks -----------------------------------------------------------------------------------------


def unpublish(folder: Path) -> None:
    (folder / "checkpoint").unlink()


def set_back(folder: Path) -> None:
    """Take away the last entries and every trace of them but the journal."""
    edit(folder / "tile/entries/002.p/188", lambda entries: entries[:100])
    tile = folder / "tile/0/002.p/188"
    tile.write_bytes(tile.read_bytes()[: 32 * 100])


def rewrite_consistently(folder: Path) -> None:
    """Edit an entry, its leaf, and the node above it."""
    edit(folder / "tile/entries/000", replace(3))
    leaves = [leaf_hash(one) for one in decode_bundle((folder / "tile/entries/000").read_bytes())]
    (folder / "tile/0/000").write_bytes(b"".join(leaves))
    for upper in (folder / "tile/1").rglob("*"):
        if upper.is_file():
            upper.write_bytes(tree_root(leaves) + upper.read_bytes()[32:])


def rewrite_leaf(folder: Path) -> None:
    edit(folder / "tile/entries/001", replace(44))
    leaves = [leaf_hash(one) for one in decode_bundle((folder / "tile/entries/001").read_bytes())]
    (folder / "tile/0/001").write_bytes(b"".join(leaves))


def higher(folder: Path) -> None:
    head = folder / "checkpoint"
    head.write_bytes(head.read_bytes().replace(b"\n700\n", b"\n701\n"))


def other_signature(folder: Path) -> None:
    """Another letter within the base64, so that it stays base64 whatever the key made of it."""
    data = bytearray((folder / "checkpoint").read_bytes())
    data[-10] = ord("B") if data[-10] == ord("A") else ord("A")
    (folder / "checkpoint").write_bytes(data)


def flip(name: str, at: int) -> Attack:
    def act(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[at] ^= 1
        (folder / name).write_bytes(data)

    return act


def cut(name: str, length: int) -> Attack:
    return lambda folder: os.truncate(folder / name, length)


def swap(entries: list[bytes]) -> list[bytes]:
    return [*entries[:10], entries[11], entries[10], *entries[12:]]


ATTACKS: list[tuple[Attack, type[Exception], str]] = [
    (lambda f: edit(f / "tile/entries/001", replace(44)), VerificationError, "entry 300 is not the one"),
    (lambda f: edit(f / "tile/entries/002.p/188", replace(0)), VerificationError, "entry 512 is not"),
    (lambda f: edit(f / "tile/entries/000", lambda e: e[:9] + e[10:]), VerificationError, "entry 9 is not"),
    (lambda f: edit(f / "tile/entries/000", lambda e: e[:-1]), EvidenceError, "entry 255 is missing"),
    (lambda f: edit(f / "tile/entries/000", lambda e: [*e, b""]), EvidenceError, "entries 0 to 255"),
    (lambda f: edit(f / "tile/entries/002.p/188", lambda e: [*e, b""]), EvidenceError, "entries 512 to 699"),
    (lambda f: edit(f / "tile/entries/001", swap), VerificationError, "entry 266 is not the one"),
    (cut("tile/entries/001", 1000), EvidenceError, "entries 256 to 511"),
    (cut("tile/entries/001", 0), EvidenceError, "entry 256 is missing"),
    (lambda f: (f / "tile/entries/001").unlink(), EvidenceError, "entries 256 to 511"),
    (flip("tile/0/001", 32 * 5), VerificationError, "entry 261 is not the one"),
    (cut("tile/0/001", 32 * 5), EvidenceError, "entries 256 to 511"),
    (cut("tile/0/001", 32 * 5 + 1), EvidenceError, "entries 256 to 511"),
    (lambda f: (f / "tile/0/000").unlink(), EvidenceError, "entries 0 to 255"),
    (flip("tile/1/000.p/2", 40), VerificationError, "entries 256 to 511 are not"),
    (lambda f: (f / "tile/1/000.p/2").unlink(), EvidenceError, "entries 0 to 131071|entries 0 to 511"),
    (rewrite_leaf, VerificationError, "entries 256 to 511 are not those in the tree"),
    (rewrite_consistently, VerificationError, "entries 0 to 699"),
    (set_back, EvidenceError, "entries 512 to 699|entry 612"),
    (higher, VerificationError, "signature"),
    (unpublish, EvidenceError, "tree head is gone"),
    (other_signature, VerificationError, "signature|not signed"),
    (cut("checkpoint", 40), EvidenceError, "note"),
    (flip("journal", -200), EvidenceError, "damaged at entry 512|journal"),
    (cut("journal", 10), EvidenceError, "journal"),
    (flip("journal", 6), EvidenceError, "header"),
]


@pytest.mark.parametrize(("attack", "kind", "message"), ATTACKS)
def test_each_edit_is_found_and_named(
    copy: Path, signer: SigningKey, attack: Attack, kind: type[Exception], message: str
) -> None:
    attack(copy)
    with pytest.raises(kind, match=message):
        verify(copy, signer)


def test_the_wrong_key_verifies_nothing(sound: Path) -> None:
    for name in (ORIGIN, "somebody.else"):
        with pytest.raises(VerificationError, match="not signed by"):
            verify(sound, SigningKey.generate(name))


def test_a_head_that_signs_more_than_there_is(copy: Path, tmp_path: Path, signer: SigningKey) -> None:
    longer = Path(shutil.copytree(copy, tmp_path / "longer"))
    with Ledger.open(longer, signer) as ledger:
        ledger.append(b"one more")
    shutil.copy(longer / "checkpoint", copy / "checkpoint")
    with pytest.raises(VerificationError, match="signs 701 entries, but entry 700 and"):
        verify(copy, signer)
    with pytest.raises(VerificationError, match="signs 701 entries, but entry 700 and"):
        Ledger.open(copy, signer)
    (copy / "journal").unlink()
    with pytest.raises(EvidenceError, match="entries 512 to 700"):
        verify(copy, signer)


def test_a_head_of_an_earlier_day(copy: Path, tmp_path: Path, signer: SigningKey) -> None:
    earlier = (copy / "checkpoint").read_bytes()
    with Ledger.open(copy, signer) as ledger:
        ledger.append(b"one more")
    (copy / "checkpoint").write_bytes(earlier)
    with pytest.raises(VerificationError, match="entry 700 and those after it were published before"):
        verify(copy, signer)
    with pytest.raises(VerificationError, match="set back"):
        Ledger.open(copy, signer)


def test_a_fork_under_the_same_key(copy: Path, tmp_path: Path, signer: SigningKey) -> None:
    other = tmp_path / "other"
    with Ledger.create(other, ORIGIN, signer) as ledger:
        for index in range(COUNT):
            ledger.append(entry(index) if index != 550 else b"another story")
    shutil.copy(other / "journal", copy / "journal")
    with pytest.raises(VerificationError, match="entry 550 in the journal is not the published one"):
        verify(copy, signer)
    with pytest.raises(VerificationError, match="none of the journal's"):
        Ledger.open(copy, signer)


def test_a_ledger_of_another_origin(copy: Path, tmp_path: Path, signer: SigningKey) -> None:
    other = tmp_path / "other"
    with Ledger.create(other, "log.example/run-2", signer) as ledger:
        for index in range(COUNT):
            ledger.append(entry(index))
    shutil.copy(other / "journal", copy / "journal")
    for act in (lambda: verify(copy, signer), lambda: Ledger.open(copy, signer)):
        with pytest.raises(VerificationError, match="run-2"):
            act()


@pytest.fixture
def killed(tmp_path: Path, signer: SigningKey) -> Path:
    """Five commits of 100 entries, the first three published, then the writer was killed."""
    folder = tmp_path / "killed"
    ledger = Ledger.create(folder, ORIGIN, signer)
    for index in range(500):
        ledger.append(entry(index))
        if index % 100 == 99:
            ledger.commit(publish=index < 300)
    ledger._release()
    os.truncate(folder / "journal", ledger._journal_length)  # so that the last commit ends where it ends
    return folder


def batches(journal: Path) -> list[int]:
    return [found.start() for found in re.finditer(rb"\x8cVJ\x82", journal.read_bytes())]


def test_what_a_killed_writer_committed_is_there(killed: Path, signer: SigningKey) -> None:
    with Reader(killed) as reader:
        assert (reader.size, reader.unpublished) == (500, 200)
    assert check(killed, signer) == [entry(index) for index in range(500)]


def test_an_edit_of_unpublished_entries_is_found(killed: Path, signer: SigningKey) -> None:
    journal = killed / "journal"
    data = journal.read_bytes()
    at = data.index(entry(450))
    journal.write_bytes(data[:at] + b"E" + data[at + 1 :])
    # In the last commit this looks like a torn write, and counts as never made: nobody saw its head.
    with Reader(killed) as reader:
        assert reader.size == 400
    # In any earlier one, a later signed commit shows that it was made.
    at = data.index(entry(350))
    journal.write_bytes(data[:at] + b"E" + data[at + 1 :])
    for act in (lambda: verify(killed, signer), lambda: Ledger.open(killed, signer)):
        with pytest.raises(VerificationError, match="damaged at entry 300: a signed commit of 500"):
            act()


def test_an_edit_with_a_right_checksum_is_found(killed: Path, signer: SigningKey) -> None:
    journal = killed / "journal"
    data = bytearray(journal.read_bytes())
    start = batches(journal)[-1]
    at = data.index(entry(450))
    data[at : at + 1] = b"E"
    data[-4:] = zlib.crc32(data[start:-4]).to_bytes(4, "big")
    journal.write_bytes(data)
    for act in (lambda: verify(killed, signer), lambda: Ledger.open(killed, signer)):
        with pytest.raises(VerificationError, match="entries 400 to 499 are not those their commit signed"):
            act()


def test_a_commit_taken_out_of_the_journal_is_found(killed: Path, signer: SigningKey) -> None:
    journal = killed / "journal"
    data, starts = journal.read_bytes(), batches(journal)
    journal.write_bytes(data[: starts[4]] + data[starts[5] :])
    for act in (lambda: verify(killed, signer), lambda: Ledger.open(killed, signer)):
        with pytest.raises(VerificationError, match="damaged at entry 300"):
            act()


def test_a_forged_head_in_the_journal_is_found(killed: Path, signer: SigningKey) -> None:
    forger = SigningKey.generate(ORIGIN)
    with Reader(killed) as reader:
        head = TreeHead.sign(ORIGIN, 500, reader.tree_head.root, forger)
        genuine = reader.tree_head.signed
    journal = killed / "journal"
    data, start = journal.read_bytes(), batches(journal)[-1]

    forged = data[start:-4].replace(genuine, head.signed)
    journal.write_bytes(data[:start] + forged + zlib.crc32(forged).to_bytes(4, "big"))
    for act in (lambda: verify(killed, signer), lambda: Ledger.open(killed, signer)):
        with pytest.raises(VerificationError, match="not signed by"):
            act()
