"""Digests of files, of storages inside torch zips, and of mapped libraries."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.observe import torchzip
from veracity.observe.native import NativeLibraries, mapped_code
from veracity.observe.torchzip import FileDigest, digest_file, storage_digests


def write(path: Path, records: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return path


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_storages_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    records = {"ckpt/data.pkl": b"p", "ckpt/data/10": b"ten", "ckpt/data/2": b"two", "ckpt/version": b"3"}
    found = storage_digests(str(write(tmp_path / "c.pt", records)))
    assert (found.digests, found.reason) == ([sha(b"two"), sha(b"ten")], "")


def test_what_torch_writes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tensors = {"a": torch.arange(10.0), "b": torch.ones(3, dtype=torch.int64)}
    torch.save(tensors, tmp_path / "c.pt")
    found = storage_digests(str(tmp_path / "c.pt"))
    assert found.digests == [sha(tensor.numpy().tobytes()) for tensor in tensors.values()]


def test_other_files_have_a_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_bytes(b"hello")
    (tmp_path / "broken").write_bytes(b"PK\x03\x04" + b"\0" * 50)
    cases = {
        "gone": "No such file",
        "pipe": "not a regular file",
        "text": "not a torch zip",
        "broken": "not a readable zip",
    }
    write(tmp_path / "plain.zip", {"a.txt": b"x"})
    cases["plain.zip"] = "without torch storages"
    for name, reason in cases.items():
        found = storage_digests(str(tmp_path / name))
        assert found.digests == []
        assert reason in found.reason


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write(tmp_path / "c.pt", {f"c/data/{number}": b"12345678" for number in range(4)}))
    assert "larger than 31 bytes" in storage_digests(path, 31).reason
    assert len(storage_digests(path, 32).digests) == 4
    monkeypatch.setattr(torchzip, "MAX_STORAGES", 3)
    assert "more than 3" in storage_digests(path).reason
    monkeypatch.setattr(torchzip, "MAX_DIRECTORY", 10)
    assert "directory is too large" in storage_digests(path).reason


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_storage_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        archive.writestr("c/data/1", b"a")
        archive.writestr("c/data/1", b"b")
    assert "twice" in storage_digests(str(tmp_path / "c.pt")).reason


@given(st.data())
def test_damaged_archives_never_raise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = write(tmp_path_factory.mktemp("z") / "c.pt", {"c/data/0": b"abc", "c/data/1": b"defg"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    found = storage_digests(str(path))
    assert bool(found.digests) != bool(found.reason)


def test_file_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 3_000_000)
    found = digest_file(str(path))
    assert found == FileDigest(sha(b"x" * 3_000_000), 3_000_000, False)
    assert digest_file(str(path), 10) == "larger than 10 bytes"
    assert digest_file(str(tmp_path)) == "cannot be read: not a regular file"
    real = os.fstat
    calls = 0

    def grown(descriptor: int) -> os.stat_result:
        nonlocal calls
        calls += 1
        if calls == 3:  # somebody writes while the file is read
            with path.open("ab") as file:
                file.write(b"y")
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", grown)
    changed = digest_file(str(path))
    assert isinstance(changed, FileDigest)
    assert changed.changed


def test_mapped_libraries_are_read_once() -> None:
    libraries = NativeLibraries(budget=50 << 20)
    paths = [one.path for one in mapped_code(os.getpid()) or ()]
    found = [libraries.read(path) for path in paths]
    assert found
    assert all(bool(item.sha256) != bool(item.reason) for item in found)
    assert [libraries.read(path) for path in paths] == found


def test_libraries_that_are_not_read_say_why(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(b"x" * 10)
    assert "budget" in NativeLibraries(budget=9).read(str(path)).reason
    assert "gone from disk" in NativeLibraries().read(f"{path} (deleted)").reason
    assert "cannot be read" in NativeLibraries().read(str(tmp_path / "no.so")).reason
    libraries = NativeLibraries()
    first = libraries.read(str(path))
    path.write_bytes(b"y" * 10)
    os.utime(path, ns=(1, 1))
    assert libraries.read(str(path)).sha256 != first.sha256
