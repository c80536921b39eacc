"""Single files asked of a seal."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from veracity.core.tree import CHUNK
from veracity.ledger.keys import SigningKey
from veracity.seal.folder import create_folder
from veracity.seal.lookup import SealedFiles
from veracity.seal.paths import Wanted, make_seal

A = hashlib.sha256(b"a").hexdigest()
OTHER = hashlib.sha256(b"b").hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "code" / "pkg").mkdir(parents=True)
    (root / "code" / "pkg" / "a.py").write_bytes(b"a")
    (root / "code" / "left" / "out").mkdir(parents=True)
    (root / "code" / "left" / "out" / "a.py").write_bytes(b"a")
    (root / "code" / "link.py").symlink_to("pkg/a.py")
    (root / "code" / "linked").symlink_to("pkg")
    (root / "code" / "away").symlink_to("../other")
    (root / "code" / "round").symlink_to("round")
    with (root / "code" / "large.py").open("wb") as file:
        file.truncate(CHUNK + 1)
    (root / "other").mkdir()
    (root / "other" / "a.py").write_bytes(b"a")
    (root / "single.py").write_bytes(b"a")
    return root


@pytest.fixture
def sealed(root: Path, tmp_path: Path) -> Iterator[SealedFiles]:
    folder = create_folder(tmp_path / "home", 1)
    paths = {"code": root / "code", "single": root / "single.py"}
    wanted = Wanted(paths, {"code": [root / "code" / "left" / "out"]})
    found = SealedFiles(folder, make_seal(folder, wanted, SigningKey.generate("k")))
    yield found
    found.close()


@pytest.mark.parametrize(
    ("path", "digest", "standing"),
    [
        ("code/pkg/a.py", A, "same"),
        ("code/pkg/a.py", OTHER, "differs"),
        ("code/./pkg/../pkg/a.py", A, "same"),
        ("code/pkg/new.py", A, "added"),
        ("code/new/a.py", A, "added"),
        ("code/pkg/a.py/b.py", A, "added"),
        ("code/pkg", A, "differs"),
        ("code/link.py", A, "same"),
        ("code/linked/a.py", A, "same"),
        ("code/linked/a.py", OTHER, "differs"),
        ("code/linked/new.py", A, "added"),
        ("code/away/a.py", A, "outside"),
        ("code/round/a.py", A, "differs"),
        ("code/large.py", A, "unknown"),
        ("code/left/out/a.py", A, "outside"),
        ("other/a.py", A, "outside"),
        ("code2/a.py", A, "outside"),
        ("single.py", A, "same"),
        ("single.py", OTHER, "differs"),
    ],
)
def test_where_a_file_stands(root: Path, sealed: SealedFiles, path: str, digest: str, standing: str) -> None:
    assert sealed.standing(str(root / path), digest) == standing


def test_a_link_that_leads_elsewhere_since_is_told(root: Path, sealed: SealedFiles) -> None:
    (root / "code" / "linked").unlink()
    (root / "code" / "linked").symlink_to(root / "other")
    assert sealed.standing(str(root / "code/linked/a.py"), A) == "differs"
    (root / "code" / "linked").unlink()
    (root / "code" / "linked").mkdir()
    assert sealed.standing(str(root / "code/linked/a.py"), A) == "differs"


def test_a_part_is_found_through_links_above_it(root: Path, sealed: SealedFiles, tmp_path: Path) -> None:
    os.symlink(root, tmp_path / "named")
    assert sealed.standing(str(tmp_path / "named/code/pkg/a.py"), A) == "same"
    assert sealed.standing(str(tmp_path / "named/code/pkg/a.py"), OTHER) == "differs"
