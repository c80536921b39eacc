from __future__ import annotations

import dataclasses
import hashlib
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from veracity.core.errors import EvidenceError
from veracity.core.observation import CheckpointLoaded, CheckpointSaved, FileDigested, Gap, TensorDigest
from veracity.core.origin import Origin, Trust
from veracity.monitor import files as module
from veracity.monitor.files import LAW, CheckpointFiles
from veracity.monitor.lineage import Lineage, Recorded

RUN, OTHER = "run-20250301-080000-00000a", "run-20250302-080000-00000b"
TENSORS = [TensorDigest("model.w", "0" * 64, "float32", [2])]
Event = CheckpointSaved | CheckpointLoaded
Found = tuple[FileDigested | Gap | None, Recorded | None]


class Known(Lineage):
    """A lineage that holds what the test put there."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, RUN)
        self.records: list[Recorded] = []
        self.broken = False

    def by_digest(self, digest: str, *, search: bool = True) -> list[Recorded]:
        if self.broken:
            raise EvidenceError("the table is broken")
        return [one for one in self.records if one.digest == digest]

    def by_path(self, path: str) -> list[Recorded]:
        return [one for one in self.records if one.path == path]


class Checked:
    """Checkpoint files of one run, and events about them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lineage = Known(folder)
        self.files = CheckpointFiles(self.lineage, RUN)

    def write(self, name: str = "a.pt", data: bytes = b"weights") -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def saved(self, path: Path | str, *, inode: int = 0) -> CheckpointSaved:
        # Whatever the kernel's clock for files says, the record is made after the file was closed.
        origin = Origin("guard", Trust.USERLAND, 7, 0, 3, time.time_ns() + 50_000_000)
        return CheckpointSaved(origin, str(path), 2, TENSORS, False, inode)

    def loaded(self, path: Path | str) -> CheckpointLoaded:
        return CheckpointLoaded(
            Origin("guard", Trust.USERLAND, 7, 0, 3, time.time_ns()), str(path), 2, [], False
        )

    def look(self, event: Event) -> Found:
        assert self.files.submit(event) is None
        for _ in range(2000):
            found = list(self.files.poll())
            if found:
                assert self.files.pending == 0
                return found[0]
            time.sleep(0.005)
        raise AssertionError("the file was not read")


@pytest.fixture
def checked(tmp_path: Path) -> Iterator[Checked]:
    made = Checked(tmp_path)
    yield made
    made.files.close()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def gap_of(found: Found) -> Gap:
    assert isinstance(found[0], Gap)
    assert found[0].law == LAW
    assert found[1] is None or found[1].digest == ""
    return found[0]


def test_a_saved_file_is_digested_and_to_be_remembered(checked: Checked) -> None:
    path = checked.write()
    event = checked.saved(path)
    seen, remember = checked.look(event)
    assert isinstance(seen, FileDigested)
    assert (seen.event, seen.seq, seen.path, seen.size) == ("saved", 3, str(path), 7)
    assert seen.digest == digest(b"weights")
    assert (seen.known, seen.path_known, seen.storages) == ([], False, [])
    assert remember == Recorded(seen.digest, str(path), RUN, event.origin.at, TENSORS)


def test_the_storages_of_a_torch_zip_are_digested(checked: Checked) -> None:
    path = checked.folder / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data/1", b"second")
        archive.writestr("a/data/0", b"first")
        archive.writestr("a/data.pkl", b"")
    seen, _ = checked.look(checked.saved(path))
    assert isinstance(seen, FileDigested)
    assert seen.storages == [digest(b"first"), digest(b"second")]


def test_a_loaded_file_is_looked_up_by_digest_and_path(checked: Checked) -> None:
    path = checked.write()
    same = Recorded(digest(b"weights"), "/elsewhere.pt", OTHER, 4, TENSORS)
    before = Recorded(digest(b"other"), str(path), RUN, 5, [])
    checked.lineage.records = [same, before]
    seen, remember = checked.look(checked.loaded(path))
    assert isinstance(seen, FileDigested)
    assert (seen.event, seen.known, seen.saved_tensors) == ("loaded", [OTHER], TENSORS)
    assert (seen.path_known, seen.last_digest, seen.last_run) == (True, before.digest, RUN)
    assert remember is None


def test_a_lineage_that_cannot_be_read_is_a_gap_and_the_file_still_remembered(checked: Checked) -> None:
    checked.lineage.broken = True
    seen, remember = checked.look(checked.saved(checked.write()))
    assert isinstance(seen, Gap)
    assert "broken" in seen.reason
    assert remember is not None


def test_a_file_that_was_renamed_is_found_by_its_inode(checked: Checked) -> None:
    written = checked.write("a.pt.tmp")
    event = checked.saved(written, inode=written.stat().st_ino)
    renamed = written.rename(checked.folder / "a.pt")
    checked.write("a.pt.tmp", b"the next one")
    seen, remember = checked.look(event)
    assert isinstance(seen, FileDigested)
    assert (seen.path, seen.digest) == (str(renamed), digest(b"weights"))
    assert remember is not None
    assert remember.path == str(renamed)


@pytest.mark.parametrize(("inode", "reason"), [(0, "No such file"), (1, "no longer there")])
def test_a_file_that_is_gone_is_a_gap(checked: Checked, inode: int, reason: str) -> None:
    for path in (checked.folder / "gone.pt", checked.folder / "no" / "folder.pt"):
        assert reason in gap_of(checked.look(checked.saved(path, inode=inode))).reason


def test_a_crowded_folder_is_not_searched_for_ever(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SCAN", 3)
    for number in range(9):
        checked.write(f"{number}.pt")
    gap_of(checked.look(checked.saved(checked.folder / "gone.pt", inode=1)))


def test_a_file_changed_after_it_was_saved_is_not_taken_for_what_was_saved(checked: Checked) -> None:
    path = checked.write()
    event = checked.saved(path)
    later = event.origin.at + 10**9
    os.utime(path, ns=(later, later))
    assert "changed" in gap_of(checked.look(event)).reason
    # A file that is loaded may be as new as it likes.
    assert isinstance(checked.look(checked.loaded(path))[0], FileDigested)


@pytest.mark.parametrize("name", ["a\0b.pt", "\ud800.pt", "x" * 5000])
def test_names_no_file_can_have_are_gaps(checked: Checked, name: str) -> None:
    for event in (checked.saved(f"{checked.folder}/{name}"), checked.loaded(f"{checked.folder}/{name}")):
        gap_of(checked.look(event))


def test_a_file_whose_name_is_not_valid_unicode_is_read(checked: Checked) -> None:
    path = os.fsdecode(os.fsencode(checked.folder) + b"/\xff.pt")
    Path(path).write_bytes(b"weights")
    seen, _ = checked.look(checked.saved(path))
    assert isinstance(seen, FileDigested)
    assert seen.path == path


def test_what_is_no_regular_file_is_a_gap_and_never_waited_for(checked: Checked) -> None:
    os.mkfifo(checked.folder / "pipe")
    for path in (checked.folder / "pipe", checked.folder, Path("/dev/zero")):
        gap_of(checked.look(checked.loaded(path)))


def test_a_buffer_has_no_file(checked: Checked) -> None:
    gap = checked.files.submit(checked.saved(""))
    assert gap is not None
    assert "buffer" in gap.what
    assert checked.files.pending == 0


def test_files_that_wait_are_bounded(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    path = checked.write()
    events: list[Event] = [
        checked.loaded(path),
        checked.loaded(path),
        checked.saved(path),
        checked.loaded(path),
    ]
    for event in events:
        assert checked.files.submit(event) is None
    assert checked.files.pending == 2
    left = list(checked.files.poll(last=True))
    reasons = [gap.reason for gap, _ in left if isinstance(gap, Gap)]
    assert reasons.count("too many files were waiting") == 2
    assert [one for _, one in left if one is not None] == [
        Recorded("", str(path), RUN, events[2].origin.at, [])
    ]


def test_a_save_that_was_not_read_is_remembered_as_unknown(checked: Checked) -> None:
    path = checked.write()
    gone = checked.saved(checked.folder / "gone.pt")
    found = checked.look(gone)
    assert found[1] == Recorded("", gone.path, RUN, gone.origin.at, [])
    elsewhere = dataclasses.replace(checked.saved(path), elsewhere=True)
    assert checked.look(elsewhere) == (None, Recorded("", str(path), RUN, elsewhere.origin.at, []))
    checked.lineage.records = [found[1]]
    checked.write("gone.pt")
    seen, _ = checked.look(checked.loaded(checked.folder / "gone.pt"))
    assert isinstance(seen, FileDigested)
    assert (seen.known, seen.path_known, seen.last_digest) == ([], True, "")
