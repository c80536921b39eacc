"""The guard's code is a function of its archive and the interpreter; what is kept is looked at first."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from veracity.core.digest import Digest
from veracity.guard.compiled import tag
from veracity.monitor.archive import build_archive
from veracity.monitor.guardcode import build_code, kept_code, made_of


@pytest.fixture(scope="module")
def archive() -> bytes:
    return build_archive()[0]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="members of sets are in any order there")
def test_the_same_archive_gives_the_same_bytes_in_any_process(archive: bytes) -> None:
    code = (
        "import email.mime.text, hashlib, xml.dom.minidom\n"
        "from veracity.monitor.archive import build_archive\n"
        "from veracity.monitor.guardcode import build_code\n"
        "print(hashlib.sha256(build_code(build_archive()[0])).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(build_code(archive)).hexdigest()
    assert made_of(build_code(archive)) == str(Digest.of(archive))


def kept(cache: Path) -> Path:
    return cache / f"guard-{tag(0)}"


def test_it_is_compiled_once(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kept_code(tmp_path / "cache", archive)
    assert kept(tmp_path / "cache").stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr("veracity.monitor.guardcode.build_code", lambda archive: b"compiled again")
    assert kept_code(tmp_path / "cache", archive) == first
    assert kept_code(tmp_path / "cache", b"another archive") == b"compiled again"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def edited(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def digested_nonsense(path: Path) -> None:
    path.write_bytes(b"no code" + hashlib.sha256(b"no code").digest())


def writable_by_all(path: Path) -> None:
    path.chmod(0o666)


def linked(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("elsewhere")))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def of_another_owner(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 65534, 65534)


ALTERED = [cut, edited, emptied, digested_nonsense, writable_by_all, linked, a_pipe, of_another_owner]


@pytest.mark.parametrize("alter", ALTERED)
def test_what_is_not_as_it_was_kept_is_compiled_again(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alter: Callable[[Path], None]
) -> None:
    kept_code(tmp_path, archive)
    alter(kept(tmp_path))
    monkeypatch.setattr("veracity.monitor.guardcode.build_code", lambda archive: b"compiled again")
    assert kept_code(tmp_path, archive) == b"compiled again"


def test_a_home_that_cannot_be_written_costs_a_compile(archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file in the folder's place")
    assert made_of(kept_code(tmp_path / "cache", archive)) == str(Digest.of(archive))
