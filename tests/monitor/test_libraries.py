"""Libraries in the memory of a real process, beside a seal."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.observe.test_native import extension, replaced
from veracity.core.errors import EvidenceError
from veracity.core.observation import Gap, LibraryMapped
from veracity.monitor import libraries
from veracity.monitor.code import Code
from veracity.monitor.libraries import Libraries
from veracity.observe.native import mapped_code
from veracity.seal.lookup import SealedFiles


class Sealed:
    """What a seal has: path → SHA-256; all else lies outside."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.broken = False

    def standing(self, path: str, sha256: str, large: str = "") -> str:
        if self.broken:
            raise EvidenceError("the manifest is gone")
        sealed = self.files.get(path)
        return "outside" if sealed is None else "same" if sealed == sha256 else "differs"


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sealed = Sealed()
        self.environment = False

    def library(self, name: str = "libmapped.so") -> Path:
        """A library of this process's own, as sealed."""
        path = self.folder / name
        shutil.copy(extension(), path)
        self.sealed.files[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return path

    def looked(self, *, started_at: int = 2**62, seal: bool = True) -> list[LibraryMapped | Gap]:
        code = SimpleNamespace(
            sealed=cast(SealedFiles, self.sealed) if seal else None,
            seals_environment=self.environment,
            folders=lambda: [str(self.folder)],
        )
        one = Libraries(cast(Code, code), started_at)
        found: list[LibraryMapped | Gap] = []
        try:
            one.look([os.getpid()])
            deadline = time.monotonic() + 60
            while (one.pending or not found) and time.monotonic() < deadline:
                found += one.poll()
                time.sleep(0.01)
                if not one.pending:
                    break
            self.named = [library.path for library in one.all()]
        finally:
            one.close()
        return found

    def one(self, path: Path, started_at: int = 2**62) -> LibraryMapped:
        (found,) = (
            one
            for one in self.looked(started_at=started_at)
            if isinstance(one, LibraryMapped) and one.path == str(path)
        )
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path.resolve())
    real = mapped_code

    def own(pid: int) -> object:
        """Of the many that this process maps those of the test, and the interpreter."""
        program = os.path.realpath(sys.executable)
        return [one for one in real(pid) or () if one.path.startswith((str(made.folder), program))]

    monkeypatch.setattr(libraries, "mapped_code", own)
    return made


def test_as_sealed(place: Place) -> None:
    path = place.library()
    ctypes.CDLL(str(path))
    found = place.one(path)
    assert (found.sealed, found.memory, found.made) == ("same", "", False)
    assert found.sha256 == place.sealed.files[str(path)]
    assert str(path) in place.named


def test_another_one_at_its_place(place: Place) -> None:
    path = place.library()
    replaced(path, lambda data: data.extend(b"planted"))  # PLANTED: before it is mapped
    ctypes.CDLL(str(path))
    assert place.one(path).sealed == "differs"


def test_exchanged_and_put_back(place: Place) -> None:
    """What lies at the path is as sealed again, and what is mapped is another file's code."""
    path = place.library()
    kept = path.read_bytes()
    size = len(kept)

    def planted(data: bytearray) -> None:
        (mapped,) = [one for one in mapped_code(os.getpid()) or () if one.path == str(probe)]
        begin, end, offset = mapped.code[0]
        data[offset + (end - begin) // 4] ^= 1

    probe = place.folder / "probe.so"
    shutil.copy(path, probe)
    ctypes.CDLL(str(probe))
    replaced(path, planted)
    ctypes.CDLL(str(path))
    replaced(path, lambda data: data.__setitem__(slice(0, size), kept))
    found = place.one(path)
    assert (found.sealed, found.memory) == ("same", "differs")


def test_installed_again_while_it_is_mapped(place: Place) -> None:
    path = place.library()
    ctypes.CDLL(str(path))
    replaced(path, lambda data: None)
    found = place.one(path)
    assert (found.sealed, found.memory) == ("same", "same")


def test_gone_since_it_was_mapped(place: Place) -> None:
    path = place.library("libgone.so")
    ctypes.CDLL(str(path))
    path.unlink()
    assert place.one(path).sealed == "missing"


def test_outside_of_a_seal_that_has_the_environment(place: Place) -> None:
    path = place.library()
    ctypes.CDLL(str(path))
    place.sealed.files.clear()
    assert place.one(path).standing == ""
    place.environment = True
    found = place.one(path, started_at=1)
    assert (found.sealed, found.standing, found.made) == ("outside", "none", True)
    assert not place.one(path).made
    assert found.whose == ("root" if os.getuid() == 0 else "job")
    if os.getuid() == 0:
        os.chown(path, 4242, -1)
        assert place.one(path).whose == "other"


def test_without_a_seal_nothing_is_told(place: Place) -> None:
    path = place.library()
    ctypes.CDLL(str(path))
    assert place.looked(seal=False) == []
    assert str(path) in place.named


def test_a_seal_that_cannot_be_read_any_more_is_one_gap(place: Place) -> None:
    for name in ("a.so", "b.so"):
        ctypes.CDLL(str(place.library(name)))
    place.sealed.broken = True
    (gap,) = place.looked()
    assert isinstance(gap, Gap)
    assert (gap.law, gap.stops) == ("sealed-libraries", True)
