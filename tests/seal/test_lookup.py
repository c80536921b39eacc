"""Single files asked of a seal."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from veracity.core.tree import CHUNK
from veracity.ledger.keys import SigningKey
from veracity.observe.tree import read_tree
from veracity.seal.folder import create_folder
from veracity.seal.lookup import SealedFiles
from veracity.seal.paths import Wanted, check_seal, make_seal, read_seal

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


def test_large_files_by_the_digest_of_their_chunks(root: Path, sealed: SealedFiles) -> None:
    path = root / "code/large.py"
    large = read_tree(path, lambda digest, data: None).root.digest
    assert sealed.standing(str(path), A, large) == "same"
    assert sealed.standing(str(path), A, OTHER) == "differs"


def test_what_was_sealed_at_a_path(root: Path, sealed: SealedFiles) -> None:
    for path, digest in {
        "code/pkg/a.py": A,
        "code/linked/a.py": A,
        "code/large.py": "",
        "code/pkg": "",
        "code/none.py": "",
        "other/a.py": "",
    }.items():
        assert sealed.sealed(str(root / path)) == digest


def test_parts_of_single_files(root: Path, tmp_path: Path) -> None:
    """Other files of their folders are no part of the seal, and links on the way are."""
    root = root.resolve()
    library, link = root / "other/libz.so.1.2", root / "other/libz.so.1"
    library.write_bytes(b"z")
    link.symlink_to("libz.so.1.2")
    only = [str(link), str(library), str(root / "none.so")]
    folder = create_folder(tmp_path / "home", 1)
    key = SigningKey.generate("k")
    wanted = Wanted({"code": root / "code"}, further=lambda trees: {"native": only})
    made = make_seal(folder, wanted, key)
    seal = read_seal(folder, key.verifier)
    assert seal.parts == made.parts
    assert seal.parts[1].only == tuple(only)
    found = SealedFiles(folder, seal)
    z = hashlib.sha256(b"z").hexdigest()
    assert found.standing(str(library), z) == found.standing(str(link), z) == "same"
    assert found.standing(str(library), A) == "differs"
    assert found.standing(str(root / "other/a.py"), A) == "outside"
    assert found.standing(str(root / "code/pkg/a.py"), A) == "same"
    found.close()

    def changed() -> list[str]:
        native = next(one for one in check_seal(folder, seal, {}) if one.part == "native")
        return [f"{one.change.value} {os.path.basename(os.fsdecode(one.path))}" for one in native.changed]

    assert changed() == []
    (root / "other/a.py").write_bytes(b"of no interest")
    assert changed() == []
    library.write_bytes(b"y")
    assert changed() == ["content changed libz.so.1.2"]
    library.write_bytes(b"z")
    link.unlink()
    link.symlink_to("a.py")
    assert changed() == ["link leads elsewhere libz.so.1"]
