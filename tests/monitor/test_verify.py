from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.monitor.frames import frame_of
from veracity.core import wire
from veracity.core.digest import Digest
from veracity.core.errors import Error, EvidenceError, VerificationError
from veracity.ledger.blobs import Blobs
from veracity.ledger.entry import Entry
from veracity.ledger.keys import SigningKey
from veracity.ledger.store import Ledger
from veracity.monitor.decode import read_header
from veracity.monitor.folder import RunFolder
from veracity.monitor.recorder import Recorder
from veracity.monitor.verify import verify_run


def flip(path: Path, at: int = -1, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


def newest(folder: Path) -> Path:
    """The widest partial tile of a folder."""
    return max(folder.iterdir(), key=lambda path: int(path.name))


def test_a_run_that_nobody_touched_holds(finished: Path) -> None:
    sentences = verify_run(finished)
    assert len(sentences) >= 3
    assert any("signed by veracity.local" in sentence for sentence in sentences)


EDITS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "entry bundle": (lambda run: newest(run / "ledger" / "tile" / "entries" / "000.p"), "entr"),
    "tile": (lambda run: newest(run / "ledger" / "tile" / "0" / "000.p"), "entr"),
    "tree head": (lambda run: run / "ledger" / "checkpoint", "head|checkpoint|signature|signed|root"),
    "blob": (lambda run: next((run / "blobs").iterdir()), "payload of entry"),
}


@pytest.mark.parametrize("what", EDITS)
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_one_edited_byte_is_found_and_named(run: Path, what: str, place: float) -> None:
    find, named = EDITS[what]
    path = find(run)
    flip(path, int(place * path.stat().st_size))
    with pytest.raises(Error, match=named):
        verify_run(run)


def test_an_edited_journal_is_found(run: Path) -> None:
    journal = run / "ledger" / "journal"
    flip(journal, journal.stat().st_size // 3)
    with pytest.raises(Error):
        verify_run(run)


def test_a_blob_that_was_edited_is_a_failed_verification_and_one_that_is_gone_is_not(run: Path) -> None:
    (blob,) = (run / "blobs").iterdir()
    flip(blob)
    with pytest.raises(VerificationError, match="altered"):
        verify_run(run)
    blob.unlink()
    with pytest.raises(EvidenceError, match="no longer kept"):
        verify_run(run)


@pytest.mark.parametrize("data", [None, b"", b"\xff\xfe", b"veracity.local+00000000+AAAA\n"])
def test_without_its_key_nothing_is_verified(run: Path, data: bytes | None) -> None:
    key = RunFolder(run).verifier
    key.unlink()
    if data is not None:
        key.write_bytes(data)
    with pytest.raises(Error):
        verify_run(run)


def test_another_key_signed_nothing(run: Path) -> None:
    other = SigningKey.generate("veracity.local")
    RunFolder(run).verifier.write_text(other.verifier.vkey + "\n")
    with pytest.raises(Error):
        verify_run(run)


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError):
        verify_run(tmp_path)


class Made:
    """A run that the test writes itself."""

    def __init__(self, path: Path) -> None:
        self.folder = RunFolder(path)
        path.mkdir(parents=True)
        self.signer = SigningKey.generate("veracity.local")
        self.ledger = Ledger.create(self.folder.ledger, "veracity.local/run", self.signer)
        self.folder.verifier.write_text(self.signer.verifier.vkey + "\n")
        self.recorder = Recorder(self.ledger, Blobs(self.folder.blobs))

    def take(self, data: bytes, stream: str = "7-00000abc") -> None:
        found = wire.unpack(data)
        assert found is not None
        self.recorder.record(stream, 0, 7, read_header(found[0]), found[0])

    def verify(self) -> list[str]:
        self.recorder.commit(publish=True)
        return verify_run(self.folder.path)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    one = Made(tmp_path / "runs" / "run-20250301-080000-00000a")
    yield one
    one.ledger.close()


def test_records_of_processes_stand_in_order(made: Made) -> None:
    made.take(frame_of("hello", 0))
    made.take(frame_of("hello", 0), stream="8-00000abc")
    made.take(frame_of("step", 2))
    assert any("records of 2 processes" in sentence for sentence in made.verify())


@pytest.mark.parametrize("seq", [0, 2])
def test_a_record_put_in_twice_is_found(made: Made, seq: int) -> None:
    made.take(frame_of("hello", 2))
    made.take(frame_of("bye", seq))
    with pytest.raises(VerificationError, match="entry 1 is out of order"):
        made.verify()


def test_an_entry_that_names_no_digest_is_said(made: Made) -> None:
    made.ledger.append(Entry("record", {"frame": "../../etc/passwd"}).encode())
    with pytest.raises(EvidenceError, match="digest"):
        made.verify()


def test_the_first_payload_that_is_gone_is_named(made: Made) -> None:
    made.take(frame_of("hello", 0))
    made.take(frame_of("step", 1))
    Blobs(made.folder.blobs).remove(Digest.of(frame_of("step", 1)))
    with pytest.raises(EvidenceError, match="that of entry 1"):
        made.verify()
