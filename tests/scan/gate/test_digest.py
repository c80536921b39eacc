"""A digest is that of the whole file, whatever readers read of it, and hardly anything is read twice."""

from __future__ import annotations

import hashlib
import os
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError
from veracity.observe.artifact.input import FileSource, open_file
from veracity.scan.gate import file
from veracity.scan.gate.digest import Digesting
from veracity.scan.gate.file import SMALL, Settings, scan_file

DATA = random.Random(1).randbytes(300_000)


class Counting(FileSource):
    """A file that counts the bytes that are read of it."""

    read_in_all = 0

    def read(self, at: int, length: int) -> bytes:
        found = super().read(at, length)
        Counting.read_in_all += len(found)
        return found

    def read_into(self, block: memoryview, at: int) -> int:
        count = super().read_into(block, at)
        Counting.read_in_all += count
        return count


@given(st.lists(st.tuples(st.integers(0, 310_000), st.integers(0, 120_000)), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_reading_gives_the_bytes_and_the_digest(tmp_path: Path, reads: list[tuple[int, int]]) -> None:
    path = tmp_path / "a"
    path.write_bytes(DATA)
    source = open_file(path)
    digesting = Digesting(source)
    try:
        for at, length in reads:
            assert digesting.read(at, length) == DATA[at : at + length]
        assert digesting.size == len(DATA)
        assert digesting.digest() == hashlib.sha256(DATA).hexdigest()
    finally:
        source.close()


def test_what_is_read_in_order_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    numbers = random.Random(2).randbytes(400_000)
    with zipfile.ZipFile(path, "w") as archive:
        for name in range(12):
            archive.writestr(f"{name}.bin", numbers[name:])
    size = path.stat().st_size
    assert size > SMALL
    monkeypatch.setattr(file, "open_file", lambda where: Counting(os.open(where, os.O_RDONLY), str(where)))

    plain = scan_file(str(path), Settings())
    without, Counting.read_in_all = Counting.read_in_all, 0
    result = scan_file(str(path), Settings(digest=True))

    assert plain.inputs == result.inputs == 13
    assert result.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    # The directory is read before the members, and again when the digest has come to it.
    assert without > size
    assert Counting.read_in_all < without + (1 << 16)


@pytest.mark.parametrize("size", [0, 10, SMALL, SMALL + 1, 3 * SMALL])
def test_a_file_of_any_size_has_its_digest(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(size))

    assert scan_file(str(path), Settings(digest=True)).sha256 == hashlib.sha256(bytes(size)).hexdigest()
    assert scan_file(str(path), Settings()).sha256 == ""


def test_what_was_found_is_told_when_the_digest_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"cos\nsystem\n(X\x01\0\0\0atR." + bytes(2 * SMALL))

    class Failing(Counting):
        def read_into(self, block: memoryview, at: int) -> int:
            raise EvidenceError("cannot be read: I/O error")

    monkeypatch.setattr(file, "open_file", lambda where: Failing(os.open(where, os.O_RDONLY), str(where)))
    result = scan_file(str(path), Settings(digest=True))

    assert [one.rule for one in result.findings] == ["checkpoint-pickle-executes"]
    assert result.sha256 == ""
    assert "I/O error" in result.missed[-1].reason


def test_a_file_that_becomes_shorter_has_none(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(DATA)
    source = open_file(path)
    digesting = Digesting(source)
    digesting.read(0, 1000)
    os.truncate(path, 2000)

    with pytest.raises(EvidenceError, match="became shorter"):
        digesting.digest()
    source.close()
