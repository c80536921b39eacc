from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ledger.growing import ORIGIN, check, entry, grow, naive_leaf, naive_root
from veracity.core.errors import (
    EvidenceError,
    ResourceLimitError,
    TransportError,
    UsageError,
    VerificationError,
)
from veracity.ledger.files import Files
from veracity.ledger.keys import SigningKey
from veracity.ledger.reader import Reader
from veracity.ledger.store import ROOM, Ledger
from veracity.ledger.tile import MAX_ENTRY


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 512, 700])
def test_a_ledger_is_written_and_read(tmp_path: Path, signer: SigningKey, count: int) -> None:
    entries = grow(tmp_path / "ledger", signer, count)
    assert check(tmp_path / "ledger", signer) == entries


def test_the_second_level_of_tiles(tmp_path: Path, signer: SigningKey) -> None:
    folder = tmp_path / "ledger"
    entries = grow(folder, signer, 65_536 + 300, each=4096)
    assert (folder / "tile/1/000").stat().st_size == 8192
    assert (folder / "tile/2/000.p/1").stat().st_size == 32
    with Ledger.open(folder, signer) as ledger:
        ledger.append(b"one more")
        assert ledger.root() == naive_root([naive_leaf(one) for one in [*entries, b"one more"]])
    assert check(folder, signer) == [*entries, b"one more"]


def test_the_files_are_those_of_the_specification(tmp_path: Path, signer: SigningKey) -> None:
    folder = tmp_path / "ledger"
    grow(folder, signer, 600)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    partial = {name for name in files if ".p/" in name}
    # Of each size that was published, until the full tile took their place.
    assert partial >= {"tile/0/002.p/88", "tile/entries/002.p/88", "tile/1/000.p/2"}
    assert {name.rpartition("/")[0] for name in partial} == {
        "tile/0/002.p",
        "tile/entries/002.p",
        "tile/1/000.p",
    }
    assert files - partial == {
        "checkpoint",
        "journal",
        "lock",
        "tile/0/000",
        "tile/0/001",
        "tile/entries/000",
        "tile/entries/001",
    }
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in files} == {0o600}
    text = (folder / "checkpoint").read_text()
    assert text.startswith(f"{ORIGIN}\n600\n")


def test_what_is_committed_is_durable_and_read_before_it_is_published(
    tmp_path: Path, signer: SigningKey
) -> None:
    folder = tmp_path / "ledger"
    with Ledger.create(folder, ORIGIN, signer) as ledger:
        for index in range(300):
            ledger.append(entry(index))
        with Reader(folder) as reader:
            assert reader.size == 0
        head = ledger.commit()
        assert (ledger.head, ledger.size, ledger.origin) == (head, 300, ORIGIN)
        ledger.append(b"not committed")
        with Reader(folder) as reader:
            assert (reader.size, reader.unpublished, reader.tree_head) == (300, 300, head)
            assert list(reader.entries(250, 260)) == [entry(index) for index in range(250, 260)]
            reader.verify_tree(signer.verifier)
        assert ledger.commit(publish=True) != head
        with Reader(folder) as reader:
            assert (reader.size, reader.unpublished) == (301, 0)


def test_a_commit_of_nothing_writes_nothing(tmp_path: Path, signer: SigningKey) -> None:
    folder = tmp_path / "ledger"
    with Ledger.create(folder, ORIGIN, signer) as ledger:
        ledger.append(b"one")
        head = ledger.commit(publish=True)
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        assert ledger.commit() == head
        assert ledger.commit(publish=True) == head
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_journal_is_trimmed_once_its_entries_are_settled(tmp_path: Path, signer: SigningKey) -> None:
    folder = tmp_path / "ledger"
    longest = 0
    with Ledger.create(folder, ORIGIN, signer, journal_limit=50_000) as ledger:
        for index in range(5000):
            ledger.append(entry(index))
            if index % 20 == 0:
                ledger.commit()
                longest = max(longest, (folder / "journal").stat().st_size)
    assert longest < 70_000 + ROOM
    assert (folder / "journal").stat().st_size < 10_000
    assert check(folder, signer) == [entry(index) for index in range(5000)]


def test_only_one_process_writes(tmp_path: Path, signer: SigningKey) -> None:
    folder = tmp_path / "ledger"
    with Ledger.create(folder, ORIGIN, signer) as ledger:
        ledger.append(b"mine")
        with pytest.raises(UsageError, match="another process writes") as caught:
            Ledger.open(folder, signer)
        assert "reading works" in caught.value.diagnostics().remedy
        with pytest.raises(UsageError, match="another process writes"):
            Ledger.create(folder, ORIGIN, signer)
    Ledger.open(folder, signer).close()
    assert check(folder, signer) == [b"mine"]


def test_a_child_that_outlives_the_writer_does_not_keep_the_lock(tmp_path: Path, signer: SigningKey) -> None:
    ledger = Ledger.create(tmp_path / "ledger", ORIGIN, signer)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        ledger.close()
        Ledger.open(tmp_path / "ledger", signer).close()
    finally:
        child.communicate(b"\n")


def test_misuse_is_told(tmp_path: Path, signer: SigningKey) -> None:
    folder = tmp_path / "ledger"
    with pytest.raises(EvidenceError, match="no ledger"):
        Ledger.open(folder, signer)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvidenceError, match="no ledger"):
        Ledger.open(tmp_path / "empty", signer)
    assert list((tmp_path / "empty").iterdir()) == []
    with pytest.raises(UsageError, match="not an origin"):
        Ledger.create(folder, "two\nlines", signer)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EvidenceError, match="cannot be written"):
        Ledger.create(tmp_path / "file" / "ledger", ORIGIN, signer)
    with Ledger.create(folder, ORIGIN, signer) as ledger:
        with pytest.raises(ResourceLimitError, match="65536 bytes"):
            ledger.append(bytes(MAX_ENTRY + 1))
        assert ledger.append(bytes(MAX_ENTRY)) == 0
    ledger.close()
    for act in (ledger.commit, lambda: ledger.append(b"late")):
        with pytest.raises(UsageError, match="is closed"):
            act()
    with pytest.raises(UsageError, match="a ledger already"):
        Ledger.create(folder, ORIGIN, signer)
    assert check(folder, signer) == [bytes(MAX_ENTRY)]


def test_too_much_without_a_commit_is_refused(tmp_path: Path, signer: SigningKey) -> None:
    with Ledger.create(tmp_path / "ledger", ORIGIN, signer) as ledger:
        held = (64 << 20) // (2 + MAX_ENTRY)
        for _ in range(held):
            ledger.append(bytes(MAX_ENTRY))
        with pytest.raises(ResourceLimitError, match="waiting for a commit"):
            ledger.append(bytes(MAX_ENTRY))
        assert ledger.size == held
        ledger.commit()
        ledger.append(b"goes on")
    assert len(check(tmp_path / "ledger", signer)) == held + 1


def test_another_s_key_does_not_open_a_ledger(tmp_path: Path, signer: SigningKey) -> None:
    grow(tmp_path / "ledger", signer, 3)
    for name in (ORIGIN, "other"):
        with pytest.raises(VerificationError, match="not signed by"):
            Ledger.open(tmp_path / "ledger", SigningKey.generate(name))


class FailingFiles(Files):
    """Raises an error in one kind of operation, after half of it was done, as often as told."""

    def __init__(self) -> None:
        self.failing = ""
        self.times = 0

    def fail(self, name: str, number: int = errno.ENOSPC) -> None:
        if name == self.failing and self.times:
            self.times -= 1
            raise OSError(number, os.strerror(number))

    def write(self, path: Path, data: bytes) -> None:
        if path.name == ".draft":
            self.fail("write")
        super().write(path, data)

    def write_at(self, handle: int, data: bytes, offset: int) -> None:
        if self.failing == "write_at" and self.times:
            os.pwrite(handle, data[: len(data) // 2], offset)
        self.fail("write_at")
        super().write_at(handle, data, offset)

    def truncate(self, handle: int, length: int) -> None:
        self.fail("truncate", errno.EIO)
        super().truncate(handle, length)


@pytest.mark.parametrize("failing", ["write_at", "write"])
def test_a_full_disk_loses_nothing_and_can_be_survived(
    tmp_path: Path, signer: SigningKey, failing: str
) -> None:
    folder, files = tmp_path / "ledger", FailingFiles()
    ledger = Ledger.create(folder, ORIGIN, signer, files=files)
    for index in range(300):
        ledger.append(entry(index))
    files.failing, files.times = failing, 2
    for _ in range(2):
        with pytest.raises(EvidenceError, match="No space left") as caught:
            ledger.commit(publish=True)
        assert "free space" in caught.value.diagnostics().remedy
        assert ledger.head.size == (0 if failing == "write_at" else ledger.size)
        ledger.append(b"meanwhile")
        # What was acknowledged before can be read all the time.
        check(folder, signer)
    assert ledger.commit(publish=True).size == 302
    ledger.close()
    assert len(check(folder, signer)) == 302


@pytest.mark.parametrize("failing", ["fdatasync", "fsync"])
def test_a_disk_that_fails_to_sync_stops_the_ledger(
    tmp_path: Path, signer: SigningKey, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ledger"
    ledger = Ledger.create(folder, ORIGIN, signer)
    for index in range(300):
        ledger.append(entry(index))

    def broken(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, failing, broken)
    with pytest.raises(EvidenceError, match="must be opened anew"):
        ledger.commit(publish=True)
    monkeypatch.undo()
    # A sync that failed once may succeed the next time without having written anything: no second try.
    for act in (ledger.commit, lambda: ledger.append(b"late")):
        with pytest.raises(EvidenceError, match="must be opened anew"):
            act()
    ledger.close()  # lets go of the lock, whatever happened
    with Ledger.open(folder, signer) as again:
        assert again.size == 300
    assert len(check(folder, signer)) == 300


def test_a_commit_that_can_neither_be_written_nor_removed_stops_the_ledger(
    tmp_path: Path, signer: SigningKey
) -> None:
    folder = tmp_path / "ledger"

    class Worse(FailingFiles):
        def truncate(self, handle: int, length: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    files = Worse()
    ledger = Ledger.create(folder, ORIGIN, signer, files=files)
    ledger.append(b"kept")
    ledger.commit()
    ledger.append(b"lost")
    files.failing, files.times = "write_at", 1
    with pytest.raises(EvidenceError, match="No space left"):
        ledger.commit()
    with pytest.raises(EvidenceError, match="could not be written whole"):
        ledger.commit()
    ledger.close()
    with Ledger.open(folder, signer) as again:
        assert again.size == 1
    assert check(folder, signer) == [b"kept"]


def test_the_draft_of_a_new_journal_may_fail_and_be_tried_again(tmp_path: Path, signer: SigningKey) -> None:
    folder, files = tmp_path / "ledger", FailingFiles()
    ledger = Ledger.create(folder, ORIGIN, signer, files=files, journal_limit=1)
    for index in range(256):
        ledger.append(entry(index))
    original = ledger._draft_journal
    calls = []

    def draft() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original()

    ledger._draft_journal = draft  # type: ignore[method-assign]
    with pytest.raises(EvidenceError, match="No space left"):
        ledger.commit()
    assert ledger.commit().size == 256
    assert len(calls) == 2
    ledger.close()
    assert len(check(folder, signer)) == 256


class Interrupting(Files):
    """Ctrl-C arrives within one kind of operation, before or after it is done."""

    def __init__(self, within: str, late: bool) -> None:
        self.within = within
        self.late = late
        self.armed = False

    def interrupt(self, name: str, late: bool) -> None:
        if self.armed and (self.within, self.late) == (name, late):
            raise KeyboardInterrupt

    def write_at(self, handle: int, data: bytes, offset: int) -> None:
        self.interrupt("write_at", late=False)
        super().write_at(handle, data, offset)
        self.interrupt("write_at", late=True)

    def sync_data(self, handle: int) -> None:
        self.interrupt("sync_data", late=False)
        super().sync_data(handle)
        self.interrupt("sync_data", late=True)

    def rename(self, draft: Path, path: Path) -> None:
        self.interrupt("rename", late=False)
        super().rename(draft, path)
        self.interrupt("rename", late=True)


@pytest.mark.parametrize("within", ["write_at", "sync_data", "rename"])
@pytest.mark.parametrize("late", [False, True])
def test_an_interrupted_commit_leaves_a_sound_ledger(
    tmp_path: Path, signer: SigningKey, within: str, late: bool
) -> None:
    folder, files = tmp_path / "ledger", Interrupting(within, late)
    with Ledger.create(folder, ORIGIN, signer, files=files) as ledger:
        ledger.append(entry(0))
        ledger.commit(publish=True)
        for index in range(1, 300):
            ledger.append(entry(index))
        files.armed = True
        with pytest.raises(KeyboardInterrupt):
            ledger.commit(publish=True)
        files.armed = False
        with pytest.raises(EvidenceError, match="interrupted: the ledger must be opened anew"):
            ledger.append(b"more")
    found = check(folder, signer)
    assert found in ([entry(0)], [entry(index) for index in range(300)])
    with Ledger.open(folder, signer) as again:
        assert again.append(b"more") == len(found)
    assert check(folder, signer) == [*found, b"more"]


def test_a_signer_that_fails_can_be_asked_again(tmp_path: Path, signer: SigningKey) -> None:
    class Agent:
        verifier = signer.verifier
        away = False

        def sign(self, message: bytes) -> bytes:
            if self.away:
                raise TransportError("the agent does not answer")
            return signer.sign(message)

    agent = Agent()
    with Ledger.create(tmp_path / "ledger", ORIGIN, agent) as ledger:
        ledger.append(b"one")
        agent.away = True
        with pytest.raises(TransportError):
            ledger.commit()
        agent.away = False
        ledger.append(b"two")
        assert ledger.commit().size == 2
    assert check(tmp_path / "ledger", signer) == [b"one", b"two"]


def test_opening_writes_missing_tiles_again(tmp_path: Path, signer: SigningKey) -> None:
    folder = tmp_path / "ledger"
    ledger = Ledger.create(folder, ORIGIN, signer)
    for index in range(600):
        ledger.append(entry(index))
    ledger.commit(publish=True)
    ledger._release()  # as kill -9 would
    for name in ("tile/0/001", "tile/entries/000", "tile/entries/002.p/88", "tile/1/000.p/2"):
        (folder / name).unlink()
    (folder / "tile/0/002.p/88").write_bytes(b"torn")
    with pytest.raises(EvidenceError, match="entries 0 to 255"):
        check(folder, signer)
    with Reader(folder) as reader:
        assert len(list(reader.entries())) == 600  # the journal has them all
    with Ledger.open(folder, signer) as again:
        assert again.size == 600
    assert len(check(folder, signer)) == 600
    assert (folder / "tile/0/001").stat().st_size == 8192
