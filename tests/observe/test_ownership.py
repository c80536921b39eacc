"""Whose a file is: RECORD, egg-info, conda, dpkg, or nobody's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.observe.test_pyenv import install, recorded
from veracity.observe.ownership import NOBODY, Owner, Ownership
from veracity.observe.pyenv import RecordIndex

DATA = b"import sys\n"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    install(site, "setuptools", {"distutils-precedence.pth": DATA})
    return tmp_path


def owner(prefix: Path, relative: str, data: bytes = DATA, *, dpkg: Path | None = None) -> Owner:
    site = prefix / "lib" / "python3.11" / "site-packages"
    path = prefix / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    records = RecordIndex([str(site)])
    return Ownership(records, [str(prefix)], str(dpkg or prefix / "none")).of(str(path), data)


SITE = "lib/python3.11/site-packages"


def test_record(prefix: Path) -> None:
    assert owner(prefix, f"{SITE}/distutils-precedence.pth") == Owner("recorded", "setuptools", "pip")
    assert owner(prefix, f"{SITE}/distutils-precedence.pth", b"import x\n").standing == "altered"
    assert owner(prefix, f"{SITE}/other.pth") == NOBODY


def test_a_stale_record_beside_the_true_one(prefix: Path) -> None:
    stale = prefix / SITE / "setuptools-0.9.dist-info"
    stale.mkdir()
    (stale / "RECORD").write_text(f"distutils-precedence.pth,{recorded(b'old')},3\n")
    assert owner(prefix, f"{SITE}/distutils-precedence.pth").standing == "recorded"
    assert owner(prefix, f"{SITE}/distutils-precedence.pth", b"old").standing == "recorded"
    assert owner(prefix, f"{SITE}/distutils-precedence.pth", b"other").standing == "altered"


def test_record_of_a_file_outside_the_site_directory(prefix: Path) -> None:
    info = install(prefix / SITE, "openmp", {})
    with (info / "RECORD").open("a") as file:
        file.write(f"../../libiomp5.so,{recorded(DATA)},11\n")
    assert owner(prefix, "lib/libiomp5.so") == Owner("recorded", "openmp", "pip")
    assert owner(prefix, "lib/libiomp5.so", b"other").standing == "altered"
    assert owner(prefix, "lib/libother.so") == NOBODY


def test_older_installs(prefix: Path) -> None:
    info = prefix / SITE / "old.egg-info"
    info.mkdir()
    (info / "installed-files.txt").write_text("../old-nspkg.pth\n")
    assert owner(prefix, f"{SITE}/old-nspkg.pth") == Owner("listed", "old", "setuptools")


@pytest.mark.parametrize("detailed", [True, False])
def test_conda(prefix: Path, detailed: bool) -> None:
    meta = prefix / "conda-meta"
    meta.mkdir()
    name = f"{SITE}/sitecustomize.py"
    document: dict[str, object] = {"name": "tool", "files": [name]}
    if detailed:
        digest = hashlib.sha256(DATA).hexdigest()
        document["paths_data"] = {"paths": [{"_path": name, "sha256": "0" * 64, "sha256_in_prefix": digest}]}
    (meta / "tool-1.0-0.json").write_text(json.dumps(document))
    (meta / "broken.json").write_text("[")
    assert owner(prefix, name) == Owner("recorded", "tool", "conda")
    assert owner(prefix, name, b"other").standing == ("altered" if detailed else "recorded")


def test_dpkg(prefix: Path) -> None:
    dpkg = prefix / "dpkg"
    (dpkg / "info").mkdir(parents=True)
    file, settings = prefix / "usr" / "x.pth", prefix / "etc" / "sitecustomize.py"
    (dpkg / "info" / "tool:amd64.list").write_text(f"/.\n{file}\n{settings}\n")
    digest = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    (dpkg / "info" / "tool:amd64.md5sums").write_text(f"{digest}  {str(file)[1:]}\n")
    (dpkg / "status").write_text(f"Package: tool\nConffiles:\n {settings} {digest}\n")
    assert owner(prefix, "usr/x.pth", dpkg=dpkg) == Owner("recorded", "tool", "dpkg")
    assert owner(prefix, "usr/x.pth", b"other", dpkg=dpkg).standing == "altered"
    assert owner(prefix, "etc/sitecustomize.py", dpkg=dpkg) == Owner("recorded", "tool", "dpkg")
    assert owner(prefix, "etc/sitecustomize.py", b"edited", dpkg=dpkg) == NOBODY
    assert owner(prefix, "usr/y.pth", dpkg=dpkg) == NOBODY
