"""Debian's package database: whose a file is, and what it should be."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from veracity.observe.dpkg import Digests, digests_of, packages_of

A, B = "a" * 32, "b" * 32


def package(dpkg: Path, name: str, paths: list[str], sums: dict[str, str] | None = None) -> None:
    info = dpkg / "info"
    info.mkdir(exist_ok=True)
    (info / f"{name}.list").write_text("".join(f"{path}\n" for path in ["/.", *paths]))
    if sums is not None:
        (info / f"{name}.md5sums").write_text("".join(f"{md5}  {path}\n" for path, md5 in sums.items()))


def test_whose_a_file_is(tmp_path: Path) -> None:
    package(tmp_path, "libc6:amd64", ["/lib/libc.so.6", "/usr/lib/libm.so.6"], {"lib/libc.so.6": A})
    package(tmp_path, "unsummed", ["/usr/lib/libz.so.1"])
    package(tmp_path, "other", ["/usr/lib/libother.so"], {"usr/lib/libother.so": B})
    asked = ["/usr/lib/libc.so.6", "/usr/lib/libm.so.6", "/usr/lib/libz.so.1", "/usr/lib/lib.so", "/opt/x"]
    assert packages_of(asked, str(tmp_path)) == {
        "/usr/lib/libc.so.6": ("libc6", A),
        "/usr/lib/libm.so.6": ("libc6", ""),
        "/usr/lib/libz.so.1": ("unsummed", ""),
    }
    assert packages_of(asked, str(tmp_path / "none")) == {}


def test_a_package_without_sums_does_not_take_them_from_another(tmp_path: Path) -> None:
    """As where a file is diverted, or replaced by another package's."""
    package(tmp_path, "first", ["/usr/lib/libx.so"], {"usr/lib/libx.so": A})
    package(tmp_path, "second", ["/usr/lib/libx.so"])
    assert packages_of(["/usr/lib/libx.so"], str(tmp_path)) == {"/usr/lib/libx.so": ("first", A)}
    package(tmp_path, "third", ["/usr/lib/libx.so"], {"usr/lib/libx.so": B})
    assert packages_of(["/usr/lib/libx.so"], str(tmp_path)) == {"/usr/lib/libx.so": ("third", B)}


@pytest.mark.parametrize("size", [0, 5, (1 << 20) + 1])
def test_both_digests(tmp_path: Path, size: int) -> None:
    path = tmp_path / "lib.so"
    data = b"x" * size
    path.write_bytes(data)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert digests_of(str(path), max(size, 1)) == Digests(hashlib.sha256(data).hexdigest(), md5)
    assert digests_of(str(path), size - 1) is None or not size


def test_what_is_no_file_has_no_digests(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent", "with\0zero"):
        assert digests_of(str(path), 100) is None
