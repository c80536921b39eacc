from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.digest import Digest
from veracity.core.errors import EvidenceError, ResourceLimitError, VerificationError
from veracity.ledger import blobs as module
from veracity.ledger.blobs import Blobs


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "run" / "blobs")


def test_what_is_put_comes_back(blobs: Blobs, tmp_path: Path) -> None:
    assert blobs.size_bytes() == 0
    one, two = blobs.put(b"one"), blobs.put(b"", sync=True)
    assert one == Digest.of(b"one")
    assert (blobs.get(one, 3), blobs.get(two, 0)) == (b"one", b"")
    assert blobs.size_bytes() == 3
    path = tmp_path / "run" / "blobs" / one.value
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([one.value, two.value])


@given(data=st.binary(max_size=200))
def test_any_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    blobs = Blobs(tmp_path_factory.getbasetemp() / "shared")
    assert blobs.get(blobs.put(data), len(data)) == data


def test_a_blob_is_written_once(blobs: Blobs, tmp_path: Path) -> None:
    path = tmp_path / "run" / "blobs" / blobs.put(b"same").value
    before = path.stat().st_ino
    blobs.put(b"same")
    assert path.stat().st_ino == before
    path.write_bytes(b"torn")  # the same length: left alone, and seen when read
    blobs.put(b"same")
    with pytest.raises(VerificationError, match="was altered"):
        blobs.get(Digest.of(b"same"), 100)
    path.write_bytes(b"t")  # torn off by a crash: written anew
    blobs.put(b"same")
    assert blobs.get(Digest.of(b"same"), 100) == b"same"


def test_bounds_and_absence_are_told(blobs: Blobs) -> None:
    digest = blobs.put(b"12345")
    with pytest.raises(ResourceLimitError, match="longer than 4"):
        blobs.get(digest, 4)
    blobs.remove(digest)
    blobs.remove(digest)
    with pytest.raises(EvidenceError, match="No such file"):
        blobs.get(digest, 5)
    with pytest.raises(EvidenceError, match="named by sha256"):
        blobs.get(Digest("blake2b-256", "0" * 64), 5)


def test_what_stands_in_a_blob_s_place_is_not_followed(blobs: Blobs, tmp_path: Path) -> None:
    digest = blobs.put(b"first")
    path = tmp_path / "run" / "blobs" / digest.value
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(EvidenceError, match="not a regular file"):
        blobs.get(digest, 10)
    blobs.put(b"first")
    assert blobs.get(digest, 10) == b"first"


def test_a_full_disk_leaves_nothing_half_written(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put(b"before")

    def full(handle: int, data: bytes) -> None:
        os.write(handle, data[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_all", full)
    with pytest.raises(EvidenceError, match="No space left") as caught:
        blobs.put(b"after")
    assert "free space" in caught.value.diagnostics().remedy
    assert [file.name for file in (tmp_path / "run" / "blobs").iterdir()] == [Digest.of(b"before").value]
