"""Objects are what their ids say, whatever somebody wrote into the store."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.observe.git.repos import commit, git, make
from veracity.core.errors import EvidenceError, ResourceLimitError, VerificationError
from veracity.observe.git import objects
from veracity.observe.git.command import Git, program
from veracity.observe.git.objects import FILE, FOLDER, Objects, Tracked, headers, object_id

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"\0" not in name and b"/" not in name and name not in (b".", b"..")
)
MODES = st.sampled_from([FILE, FOLDER, objects.EXECUTABLE, objects.LINK, objects.SUBMODULE])


def reader(folder: Path, algorithm: str = "sha1") -> Objects:
    found = program()
    assert found is not None
    return Objects(Git(found, str(folder)), algorithm)


def tree_of(folder: Path) -> str:
    return git(folder, "rev-parse", "HEAD^{tree}")


def loose(folder: Path, name: str) -> Path:
    return folder / ".git" / "objects" / name[:2] / name[2:]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_files_of_a_commit(tmp_path: Path, algorithm: str) -> None:
    folder = make(tmp_path / "r", {"a b\n": "1", "sub/deep/x": "2", "sub/y": "3"}, algorithm=algorithm)
    of = reader(folder, algorithm)
    found = dict(of.files(tree_of(folder)))
    assert found[b"sub/deep/x"] == Tracked(FILE, object_id(algorithm, "blob", b"2"))
    assert set(found) == {b"a b\n", b"sub/deep/x", b"sub/y"}
    assert of.at(tree_of(folder), [b"sub", b"y"]) == Tracked(FILE, git(folder, "rev-parse", "HEAD:sub/y"))
    assert of.at(tree_of(folder), [b"sub", b"y", b"z"]) is None
    assert of.at(tree_of(folder), [b"none"]) is None


def test_an_exchanged_folder_in_the_store_is_found(tmp_path: Path) -> None:
    """git itself does not notice, and checks the other files out."""
    folder = make(tmp_path / "r")
    top, was = tree_of(folder), git(folder, "rev-parse", "HEAD:pkg")
    (folder / "pkg" / "adamw.py").write_text("beta = 0\n")
    commit(folder)
    other = git(folder, "rev-parse", "HEAD:pkg")
    path = loose(folder, was)
    path.chmod(0o644)
    path.write_bytes(loose(folder, other).read_bytes())
    assert git(folder, "rev-parse", "HEAD:pkg/adamw.py") in git(folder, "ls-tree", "-r", top)
    with pytest.raises(VerificationError, match="other bytes than its id says"):
        list(reader(folder).files(top))


def test_what_is_missing_or_of_another_kind(tmp_path: Path) -> None:
    folder = make(tmp_path / "r")
    of = reader(folder)
    with pytest.raises(EvidenceError, match="lacks the object"):
        of.one("0" * 40, "tree")
    with pytest.raises(EvidenceError, match="no tree but a blob"):
        of.one(git(folder, "rev-parse", "HEAD:train.py"), "tree")
    with pytest.raises(EvidenceError, match="not known"):
        reader(folder, "md5")


def test_folders_that_hold_each_other_many_times_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten folders in each of ten in each of ten: a few objects, a thousand and more paths."""
    folder = make(tmp_path / "r")
    inner = git(folder, "rev-parse", "HEAD:pkg")
    for _ in range(3):
        content = b"".join(b"40000 %d\0" % number + bytes.fromhex(inner) for number in range(10))
        inner = object_id("sha1", "tree", content)
        loose(folder, inner).parent.mkdir(exist_ok=True)
        loose(folder, inner).write_bytes(zlib.compress(b"tree %d\0" % len(content) + content))
    assert len(list(reader(folder).files(inner))) == 1_000
    monkeypatch.setattr(objects, "MAX_FOLDERS", 500)
    with pytest.raises(ResourceLimitError, match="too many files"):
        list(reader(folder).files(inner))
    monkeypatch.setattr(objects, "MAX_DEPTH", 2)
    monkeypatch.setattr(objects, "MAX_FOLDERS", 5_000)
    with pytest.raises(ResourceLimitError, match="too deep"):
        list(reader(folder).files(inner))


@given(st.lists(st.tuples(MODES, NAMES, st.binary(min_size=20, max_size=20)), max_size=5))
def test_trees_are_read_as_written(entries: list[tuple[int, bytes, bytes]]) -> None:
    data = b"".join(b"%o %b\0%b" % entry for entry in entries)
    read = list(Objects(Git("git", "/"), "sha1").entries(data))
    assert read == [(name, Tracked(mode, one.hex())) for mode, name, one in entries]


@given(st.binary(max_size=80))
def test_no_bytes_crash_the_readers(data: bytes) -> None:
    list(headers(data))
    try:
        list(Objects(Git("git", "/"), "sha256").entries(data))
    except EvidenceError:
        return


def test_headers_of_a_commit() -> None:
    data = b"tree 1\nparent 2\ngpgsig -----BEGIN\n line\n \n end\nauthor x\n\ngpgsig in the text\n"
    assert dict(headers(data))[b"gpgsig"] == b"-----BEGIN\nline\n\nend"
    assert [name for name, _ in headers(data)] == [b"tree", b"parent", b"gpgsig", b"author"]
