"""Manifest files: what was written is found again, and nothing else is taken for it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import random
import resource
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, ResourceLimitError, VerificationError
from veracity.core.tree import FOLDER, TreeEntry, add_folder
from veracity.observe.tree import read_tree
from veracity.seal.compare import Change, Changed, compare
from veracity.seal.nodes import HEAD, Nodes, NodeWriter


def sealed(folder: Path, manifest: Path) -> TreeEntry:
    """The root of a folder whose nodes are added to the manifest."""
    writer = NodeWriter.at(manifest)
    root = read_tree(folder, writer.keep).root
    writer.close()
    return root


def changes(before: TreeEntry, after: TreeEntry, manifest: Path) -> dict[str, Change]:
    with Nodes(manifest) as nodes:
        return {os.fsdecode(one.path): one.change for one in compare(before, nodes, after, nodes)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    for place in ("pkg/sub", "pkg/empty", "data"):
        (made / place).mkdir(parents=True)
    (made / "pkg" / "a.py").write_text("a = 1\n")
    (made / "pkg" / "sub" / "b.py").write_text("b = 1\n")
    (made / "data" / "x").write_bytes(b"x" * 100)
    os.symlink("x", made / "data" / "latest")
    return made


def test_a_tree_is_walked_from_its_manifest(folder: Path, tmp_path: Path) -> None:
    root = sealed(folder, tmp_path / "manifest")
    with Nodes(tmp_path / "manifest") as nodes:
        assert [path.decode() for path, _ in nodes.walk(root)] == [
            *("data", "data/latest", "data/x"),
            *("pkg", "pkg/a.py", "pkg/empty", "pkg/sub", "pkg/sub/b.py"),
        ]
    assert root.size == 8


def test_sealing_again_what_has_not_changed_writes_nothing(folder: Path, tmp_path: Path) -> None:
    root = sealed(folder, tmp_path / "manifest")
    size = (tmp_path / "manifest").stat().st_size
    assert sealed(folder, tmp_path / "manifest") == root
    assert (tmp_path / "manifest").stat().st_size == size
    assert (tmp_path / "manifest").stat().st_mode & 0o777 == 0o600


def test_each_kind_of_change_has_its_word(folder: Path, tmp_path: Path) -> None:
    before = sealed(folder, tmp_path / "manifest")
    (folder / "pkg" / "a.py").write_text("a = 2\n")
    (folder / "pkg" / "sub" / "b.py").chmod(0o755)
    (folder / "data" / "latest").unlink()
    os.symlink("y", folder / "data" / "latest")
    (folder / "pkg" / "empty").rmdir()
    (folder / "pkg" / "empty").write_bytes(b"")
    (folder / "data" / "x").unlink()
    (folder / "new" / "in").mkdir(parents=True)
    (folder / "new" / "in" / "c").write_bytes(b"c")
    (folder / "data").chmod(0o700)
    after = sealed(folder, tmp_path / "manifest")
    assert changes(before, after, tmp_path / "manifest") == {
        "data": Change.MODE,
        "data/latest": Change.LINK,
        "data/x": Change.REMOVED,
        "new": Change.ADDED,
        "new/in": Change.ADDED,
        "new/in/c": Change.ADDED,
        "pkg/a.py": Change.CONTENT,
        "pkg/empty": Change.KIND,
        "pkg/sub/b.py": Change.EXECUTABLE,
    }
    assert changes(after, after, tmp_path / "manifest") == {}
    back = changes(after, before, tmp_path / "manifest")
    assert back["pkg/sub/b.py"] is Change.MODE
    assert back["new/in/c"] is Change.REMOVED


@given(st.integers(0, 2**32), st.integers(0, 40))
def test_a_comparison_finds_what_differs_and_nothing_else(seed: int, edits: int) -> None:
    """Folders of so many entries that they have pages; against a comparison entry by entry."""
    draw = random.Random(seed)
    before = {b"%05d" % draw.randrange(10**5): draw.randbytes(32).hex() for _ in range(draw.choice([5, 900]))}
    after = dict(before)
    for _ in range(edits):
        name = draw.choice([*before]) if draw.random() < 0.6 else b"%05d" % draw.randrange(10**5)
        if draw.random() < 0.3:
            after.pop(name, None)
        else:
            after[name] = draw.randbytes(32).hex()
    nodes = InMemory()
    roots = []
    for content in (before, after):
        entries = [TreeEntry("f", 0o644, 1, name, digest) for name, digest in content.items()]
        digest, below = add_folder(entries, nodes.keep)
        roots.append(TreeEntry(FOLDER, 0o755, below, b"root", digest))
    found = {one.path for one in nodes.compared(*roots)}
    assert found == {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


class InMemory:
    """Nodes that were never written to a file."""

    def __init__(self) -> None:
        self._nodes: dict[str, bytes] = {}

    def keep(self, digest: str, data: bytes) -> None:
        self._nodes[digest] = data

    def compared(self, before: TreeEntry, after: TreeEntry) -> list[Changed]:
        with tempfile.TemporaryDirectory() as folder:
            writer = NodeWriter.at(Path(folder) / "manifest")
            for digest, data in self._nodes.items():
                writer.keep(digest, data)
            writer.close()
            with Nodes(Path(folder) / "manifest") as nodes:
                return list(compare(before, nodes, after, nodes))


# --- damage ---------------------------------------------------------------------------------------------


def test_a_byte_that_was_changed_is_a_failed_verification(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest"
    root = sealed(folder, manifest)
    data = manifest.read_bytes()
    at = data.index(b" a.py\n") - 3
    manifest.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with Nodes(manifest) as nodes, pytest.raises(VerificationError):
        list(nodes.walk(root))


@pytest.mark.parametrize("cut", [1, 40, 80, 200])
def test_a_record_that_was_not_written_to_its_end_is_written_again(
    folder: Path, tmp_path: Path, cut: int
) -> None:
    manifest = tmp_path / "manifest"
    root = sealed(folder, manifest)
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-cut])
    with Nodes(manifest) as nodes, pytest.raises(EvidenceError):
        list(nodes.walk(root))
    assert sealed(folder, manifest) == root
    with Nodes(manifest) as nodes:
        assert len(list(nodes.walk(root))) == 8


@given(st.binary(max_size=400))
def test_what_is_no_manifest_is_an_error_and_nothing_else(data: bytes) -> None:
    for content in (data, HEAD + data):
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            try:
                with Nodes(Path(file.name)) as nodes:
                    for digest in nodes.digests():
                        list(nodes.entries(digest))
            except (EvidenceError, VerificationError):
                continue


def test_a_node_that_is_missing_is_told(folder: Path, tmp_path: Path) -> None:
    root = sealed(folder, tmp_path / "manifest")
    sealed(folder / "data", tmp_path / "other")
    with Nodes(tmp_path / "other") as nodes, pytest.raises(EvidenceError, match="does not hold"):
        list(nodes.walk(root))


def test_a_page_in_the_place_of_another_is_told(tmp_path: Path) -> None:
    """The digests hold; what they name does not fit together."""
    kept: dict[str, bytes] = {}
    entries = [TreeEntry("f", 0o644, 0, b"%04d" % number, "0" * 64) for number in range(3000)]
    digest, _ = add_folder(entries, kept.__setitem__)
    lines = kept[digest].split(b"\n")
    first, second = lines[1].split(b" "), lines[2].split(b" ")
    lines[1] = b" ".join([first[0], second[1], first[2]])
    forged = b"\n".join(lines)
    writer = NodeWriter.at(tmp_path / "manifest")
    for one, data in kept.items():
        writer.keep(one, data)
    root = hashlib.sha256(forged).hexdigest()
    writer.keep(root, forged)
    writer.close()
    with Nodes(tmp_path / "manifest") as nodes, pytest.raises(EvidenceError, match="page"):
        list(nodes.entries(root))


# --- size, and who writes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "begin", "said"),
    [
        (2 << 30, HEAD, "damaged at byte"),
        (2 << 30, HEAD + b"0" * 64 + b" 2000000000\n", "larger than 64 MiB"),
        (2 << 30, b"", "no manifest"),
        (9 << 30, HEAD, "larger than 8 GiB"),
    ],
)
def test_a_manifest_of_gigabytes_is_refused_at_once(
    tmp_path: Path, size: int, begin: bytes, said: str
) -> None:
    """Sparse, so that it costs no room here; to its reader it is as large."""
    with (tmp_path / "manifest").open("wb") as file:
        file.write(begin)
        file.truncate(size)
    with pytest.raises(EvidenceError, match=said):
        Nodes(tmp_path / "manifest")


def test_a_manifest_of_too_many_nodes_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(folder, tmp_path / "manifest")
    monkeypatch.setattr("veracity.seal.nodes.MAX_NODES", 3)
    with pytest.raises(ResourceLimitError, match="more than 3 nodes"):
        Nodes(tmp_path / "manifest")


def test_a_full_disk_is_an_error_and_no_unread_file(folder: Path, tmp_path: Path) -> None:
    """Where it is met in the middle of a tree: a limit on the size of files stands for the disk's."""
    for number in range(6_000):
        (folder / "data" / f"{number:05}{'x' * 200}").touch()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, before[1]))
    try:
        with pytest.raises(EvidenceError, match="cannot be written"):
            sealed(folder, tmp_path / "manifest")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_two_do_not_write_one_manifest(folder: Path, tmp_path: Path) -> None:
    writer = NodeWriter.at(tmp_path / "manifest")
    try:
        with pytest.raises(EvidenceError, match="cannot be written"):
            NodeWriter.at(tmp_path / "manifest")
    finally:
        writer.close()
    NodeWriter.at(tmp_path / "manifest").close()


def test_where_there_are_no_locks_no_manifest_is_gone_on_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed(folder, tmp_path / "earlier")

    def none(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    writer = NodeWriter.going_on(tmp_path / "manifest", tmp_path / "earlier")
    root = read_tree(folder, writer.keep).root
    writer.close()
    assert not (tmp_path / "manifest").samefile(tmp_path / "earlier")
    with Nodes(tmp_path / "manifest") as nodes:
        assert len(list(nodes.walk(root))) == 8


@pytest.mark.parametrize("kind", ["whole", "damaged", "locked", "link", "missing", "none"])
def test_a_manifest_is_gone_on_with_when_it_holds(folder: Path, tmp_path: Path, kind: str) -> None:
    earlier, manifest = tmp_path / "earlier", tmp_path / "manifest"
    sealed(folder, earlier)
    held = None
    if kind == "damaged":
        earlier.write_bytes(earlier.read_bytes()[:-1] + b"\0")
    if kind == "locked":
        held = NodeWriter.at(earlier)
    if kind == "link":
        os.rename(earlier, tmp_path / "elsewhere")
        earlier.symlink_to(tmp_path / "elsewhere")
    if kind == "missing":
        earlier.unlink()
    if kind == "none":
        earlier.write_bytes(b"something else that is long enough")
    content = earlier.read_bytes() if earlier.exists() else b""
    (folder / "pkg" / "a.py").write_text("a = 2\n")
    writer = NodeWriter.going_on(manifest, earlier)
    root = read_tree(folder, writer.keep).root
    writer.close()
    if held is not None:
        held.close()
    with Nodes(manifest) as nodes:
        assert len(list(nodes.walk(root))) == 8
    assert (earlier.exists() and earlier.samefile(manifest)) == (kind == "whole")
    assert not earlier.exists() or earlier.read_bytes().startswith(content)
