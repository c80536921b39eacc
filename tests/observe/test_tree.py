"""Trees of files as they lie on a disk that somebody else writes to."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import shutil
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from veracity.core.errors import EvidenceError
from veracity.core.tree import (
    CHUNK,
    FILE,
    FOLDER,
    LARGE,
    LINK,
    UNREAD,
    Chunks,
    Folder,
    Node,
    TreeEntry,
    node_of,
)
from veracity.observe import tree
from veracity.observe.tree import MAX_DEPTH, Reading, Unread, read_chosen, read_tree


class Read:
    """One reading and its nodes."""

    def __init__(self, path: Path, **options: object) -> None:
        self.nodes: dict[str, bytes] = {}
        self.reading: Reading = read_tree(path, self.nodes.__setitem__, **options)  # type: ignore[arg-type]

    def node(self, entry: TreeEntry) -> Node:
        return node_of(self.nodes[entry.digest])

    def entries(self, entry: TreeEntry | None = None) -> dict[bytes, TreeEntry]:
        node = self.node(entry or self.reading.root)
        assert isinstance(node, Folder)
        return {one.name: one for one in node.entries}

    def at(self, *names: bytes) -> TreeEntry:
        entry = self.reading.root
        for name in names:
            entry = self.entries(entry)[name]
        return entry


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


def test_all_kinds_of_names(folder: Path) -> None:
    (folder / "a.py").write_bytes(b"x = 1\n")
    (folder / "a.py").chmod(0o755)
    (folder / "empty").mkdir()
    (folder / "sub" / "deeper").mkdir(parents=True)
    (folder / "sub" / "deeper" / "weights").write_bytes(b"w" * 3_000_000)
    os.symlink("sub/../a.py", folder / "link")
    os.symlink("nowhere at all", folder / "broken")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        read = Read(folder)
    assert read.reading.unread == ()
    assert (read.reading.files, read.reading.size) == (2, 3_000_006)
    root = read.reading.root
    assert (root.kind, root.name, root.size) == (FOLDER, b"root", 9)
    assert read.at(b"a.py") == TreeEntry(FILE, 0o755, 6, b"a.py", sha(b"x = 1\n"))
    assert read.at(b"sub", b"deeper", b"weights").digest == sha(b"w" * 3_000_000)
    assert read.entries(read.at(b"empty")) == {}
    assert (read.at(b"link").kind, read.at(b"link").target) == (LINK, b"sub/../a.py")
    assert read.at(b"broken").target == b"nowhere at all"
    assert [read.at(name).kind for name in (b"pipe", b"socket")] == ["p", "s"]


def test_names_that_are_no_text_or_differ_in_case_only(folder: Path) -> None:
    names = [b"\xff\xfe", b"new\nline", b"sp ace", b"README", b"readme", "é".encode(), b"100%"]
    for number, name in enumerate(names):
        (Path(os.fsdecode(bytes(folder) + b"/" + name))).write_bytes(bytes([number]))
    read = Read(folder)
    assert {name: entry.digest for name, entry in read.entries().items()} == {
        name: sha(bytes([number])) for number, name in enumerate(names)
    }


def test_times_and_owners_are_no_part_of_it(folder: Path) -> None:
    (folder / "a").write_bytes(b"1")
    before = Read(folder).reading.root
    os.utime(folder / "a", (1, 1))
    assert Read(folder).reading.root == before
    (folder / "a").write_bytes(b"2")
    os.utime(folder / "a", (1, 1))
    assert Read(folder).reading.root != before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a").chmod(0o744),
        lambda folder: (folder / "more").mkdir(),
        lambda folder: (folder / "sub").chmod(0o700),
        lambda folder: (folder / "sub" / "b").rename(folder / "sub" / "c"),
        lambda folder: os.replace(folder / "other", folder / "l"),
        lambda folder: ((folder / "sub" / "b").unlink(), (folder / "sub" / "b").mkdir()),
    ],
)
def test_whatever_is_changed_changes_the_root(folder: Path, change: Callable[[Path], object]) -> None:
    (folder / "sub").mkdir()
    (folder / "a").write_bytes(b"1")
    (folder / "sub" / "b").write_bytes(b"")
    os.symlink("a", folder / "l")
    os.symlink("elsewhere", folder / "other")
    before = Read(folder).reading.root
    change(folder)
    assert Read(folder).reading.root.digest != before.digest


def test_a_hard_link_is_a_file_of_its_own(folder: Path) -> None:
    (folder / "a").write_bytes(b"same")
    os.link(folder / "a", folder / "b")
    entries = Read(folder).entries()
    assert entries[b"a"].digest == entries[b"b"].digest == sha(b"same")


def test_large_files_are_digested_in_parts(folder: Path) -> None:
    with (folder / "model").open("wb") as file:
        file.truncate(CHUNK + 7)
        file.seek(CHUNK)
        file.write(b"weights")
    (folder / "exact").write_bytes(b"")
    os.truncate(folder / "exact", CHUNK)
    read = Read(folder)
    model = read.at(b"model")
    assert (model.kind, model.size) == (LARGE, CHUNK + 7)
    assert read.node(model) == Chunks(CHUNK + 7, (sha(bytes(CHUNK)), sha(b"weights")))
    assert read.at(b"exact") == TreeEntry(FILE, 0o644, CHUNK, b"exact", sha(bytes(CHUNK)))


def test_the_root_may_be_a_file_or_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "a").write_bytes(b"1")
    os.symlink(folder, tmp_path / "way")
    assert Read(tmp_path / "way").reading.root == Read(folder).reading.root
    assert Read(folder / "a").reading.root == TreeEntry(FILE, 0o644, 1, b"a", sha(b"1"))


def test_nothing_at_the_root(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="No such file"):
        Read(tmp_path / "absent")


def test_what_is_to_be_left_out(folder: Path) -> None:
    (folder / "a").write_bytes(b"1")
    whole = Read(folder).reading.root
    (folder / "out").mkdir()
    (folder / "out" / "seal").write_bytes(b"")
    assert Read(folder, skip=[folder / "out"]).reading.root == whole


def test_folders_too_deep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_DEPTH", 3)
    (folder / "1" / "2" / "3" / "4").mkdir(parents=True)
    read = Read(folder)
    assert read.reading.unread == (Unread("1/2/3/4", "folders lie more than 3 deep"),)
    assert read.at(b"1", b"2", b"3", b"4").digest == UNREAD


# --- somebody writes meanwhile ---------------------------------------------------------------------------


class Meddler:
    """Does something between the opening of a file and its reading."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], times: int) -> None:
        self._left, self._act, self._fstat = times, act, os.fstat
        monkeypatch.setattr(tree.os, "fstat", self)  # type: ignore[attr-defined]

    def __call__(self, handle: int) -> os.stat_result:
        status = self._fstat(handle)
        if self._left and stat.S_ISREG(status.st_mode):
            self._left -= 1
            self._act()
        return status


def after_listing(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Does something when a folder has been listed."""
    scandir = os.scandir

    def listed(handle: int) -> contextlib.nullcontext[list[os.DirEntry[str]]]:
        items = list(scandir(handle))
        act()
        return contextlib.nullcontext(items)

    monkeypatch.setattr(tree.os, "scandir", listed)  # type: ignore[attr-defined]


def grow(path: Path) -> Callable[[], object]:
    def act() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    return act


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_a_file_that_comes_to_rest_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    (folder / "log").write_bytes(bytes(size))
    Meddler(monkeypatch, grow(folder / "log"), 1)
    read = Read(folder)
    assert read.reading.unread == ()
    assert read.at(b"log").digest == sha(bytes(size) + b"more")


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_a_file_that_goes_on_changing_is_unread(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    (folder / "log").write_bytes(bytes(size))
    (folder / "still").write_bytes(b"1")
    Meddler(monkeypatch, grow(folder / "log"), 1000)
    read = Read(folder)
    assert [one.reason for one in read.reading.unread if one.path == "log"] == [
        "it changed while it was read"
    ]
    assert read.at(b"log").digest == UNREAD


def test_a_file_put_in_the_place_of_a_link_or_folder_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Between listing and opening, what was a file becomes a link to another one."""
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "a").write_bytes(b"1")

    def swap() -> None:
        (folder / "a").unlink()
        os.symlink(tmp_path / "secret", folder / "a")

    after_listing(monkeypatch, swap)
    read = Read(folder)
    assert [one.path for one in read.reading.unread] == ["a"]
    assert read.at(b"a").digest == UNREAD


def test_a_file_that_vanishes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a").write_bytes(b"1")
    after_listing(monkeypatch, (folder / "a").unlink)
    assert [one.path for one in Read(folder).reading.unread] == ["a"]


def test_folders_that_vanish_while_others_are_read(folder: Path) -> None:
    """As when a mount goes: what was not read yet is unread, and the rest is as it was."""
    for name in ("a", "b", "c"):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)

    def gone(files: int, size: int) -> None:
        for name in ("a", "b", "c"):
            if files == 1:
                shutil.rmtree(folder / name, ignore_errors=True)

    read = Read(folder, progress=gone)
    assert len(read.reading.unread) == 2
    assert {one.digest == UNREAD for one in read.entries().values()} == {True, False}


def test_links_in_a_circle_are_links(folder: Path) -> None:
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    (folder / "up").symlink_to("..")
    (folder / "self").symlink_to("self")
    read = Read(folder)
    assert {one.kind for one in read.entries().values()} == {LINK}
    assert (read.reading.files, read.reading.unread) == (0, ())


def test_folders_as_deep_as_they_may_be(folder: Path) -> None:
    """With a file that a thread reads at the bottom, so that every folder waits for it."""
    deep = folder.joinpath(*["d"] * MAX_DEPTH)
    deep.mkdir(parents=True)
    (deep / "large").write_bytes(bytes(2 << 20))
    read = Read(folder)
    assert (read.reading.files, read.reading.unread) == (1, ())
    (deep / "d").mkdir()
    assert [one.reason for one in Read(folder).reading.unread] == [f"folders lie more than {MAX_DEPTH} deep"]


def test_no_descriptor_is_left_open(folder: Path) -> None:
    for number in range(40):
        (folder / f"{number}").write_bytes(bytes(1_100_000))
    before = len(os.listdir("/proc/self/fd"))
    assert Read(folder).reading.files == 40
    assert len(os.listdir("/proc/self/fd")) == before


def test_content_is_handed_on_once(folder: Path) -> None:
    data = bytes(range(256)) * 12_000
    (folder / "sub").mkdir()
    (folder / "sub" / "large").write_bytes(data)
    (folder / "small").write_bytes(b"x")
    (folder / "empty").write_bytes(b"")
    taken = {}
    read_tree(
        folder,
        lambda *_: None,
        content=lambda path, size, blocks: taken.update({path: (size, b"".join(blocks))}),
    )
    assert taken == {b"sub/large": (len(data), data), b"small": (1, b"x"), b"empty": (0, b"")}


def test_a_file_in_the_place_of_a_folder_that_is_left_out_hides_none_of_its_names(folder: Path) -> None:
    (folder / ".git").write_text("import os")
    os.link(folder / ".git", folder / "sitecustomize.py")
    assert set(Read(folder, skip=[folder / ".git"]).entries()) == {b".git", b"sitecustomize.py"}


def test_chosen_paths_alone(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/libz.so.1.2").write_bytes(b"z")
    (tmp_path / "usr/lib/libz.so.1").symlink_to("libz.so.1.2")
    (tmp_path / "usr/lib/other.so").write_bytes(b"other")
    (tmp_path / "lib").symlink_to("usr/lib")
    nodes: dict[str, bytes] = {}
    chosen = ["/lib", "usr/lib/libz.so.1", "usr/lib/libz.so.1.2", "lib/behind", "usr/none", "usr/lib/none/x"]
    found = read_chosen(tmp_path, chosen, nodes.__setitem__)
    assert (found.files, found.size, found.unread) == (1, 1, ())
    named = sorted(
        entry.name
        for data in nodes.values()
        for entry in node_of(data).entries  # type: ignore[union-attr]
    )
    assert named == [b"lib", b"lib", b"libz.so.1", b"libz.so.1.2", b"usr"]
    (tmp_path / "usr/lib/other.so").write_bytes(b"edited")
    assert read_chosen(tmp_path, chosen, nodes.__setitem__).root == found.root
    (tmp_path / "usr/lib/libz.so.1.2").write_bytes(b"!")
    assert read_chosen(tmp_path, chosen, nodes.__setitem__).root != found.root
    with pytest.raises(EvidenceError, match="cannot be read"):
        read_chosen(tmp_path / "none", chosen, nodes.__setitem__)


def test_large_files_at_every_depth(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that wait for files are closed one after the other, not one within the other."""
    monkeypatch.setattr(tree, "AT_ONCE", 0)
    monkeypatch.setattr(tree, "MAX_OPEN", 3)
    place = folder
    for depth in range(MAX_DEPTH - 1):
        (place / "before").write_bytes(b"%d" % depth)
        place = place / "down"
        place.mkdir()
        (place / "file").write_bytes(b"-%d" % depth)
    limit = sys.getrecursionlimit()
    told: list[bytes] = []
    try:
        sys.setrecursionlimit(len(inspect.stack(0)) + 6 * MAX_DEPTH)
        read = Read(folder, threads=1, seen=lambda path, entries: told.append(path))
    finally:
        sys.setrecursionlimit(limit)
    assert read.reading.unread == ()
    assert read.reading.files == 2 * (MAX_DEPTH - 1)
    expected = [b"/".join([b"down"] * depth) for depth in reversed(range(MAX_DEPTH))]
    assert told == expected  # inner folders first
    names = [b"down"] * (MAX_DEPTH - 1)
    assert read.at(*names, b"file").digest == sha(b"-%d" % (MAX_DEPTH - 2))
    assert read.at(*names[:50], b"before").digest == sha(b"50")


def test_however_many_threads_read_it_is_one_tree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        place = folder / f"part{number % 5}" / f"deeper{number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        (place / str(number)).write_bytes(b"%d" % number * (number * 10_000))
    (folder / "many").write_bytes(b"m" * 1_000_000)
    monkeypatch.setattr(tree, "CHUNK", 100_000)
    roots = set()
    for at_once, most, threads in [
        (0, 1, 1),
        (0, 4, 3),
        (50_000, 2, 1),
        (1 << 20, 9, 2),
        (128 << 10, 128, 0),
    ]:
        monkeypatch.setattr(tree, "AT_ONCE", at_once)
        monkeypatch.setattr(tree, "MAX_OPEN", most)
        read = Read(folder, threads=threads)
        assert (read.reading.files, read.reading.unread) == (41, ())
        if at_once <= 50_000:  # what is read at once has no chunks, whatever CHUNK is here
            roots.add(read.reading.root)
    assert len(roots) == 1


def test_a_large_file_that_shrinks_is_unread_and_closed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of its chunks are read by threads, some by whoever waits, and some by nobody."""
    monkeypatch.setattr(tree, "CHUNK", 1000)
    (folder / "weights").write_bytes(b"w" * 300_000)
    (folder / "other").write_bytes(b"o" * 300_000)
    digest = tree._digest

    def shrinking(handle: int, offset: int, length: int) -> str:
        os.truncate(folder / "weights", 10_000)
        return digest(handle, offset, length)

    monkeypatch.setattr(tree, "_digest", shrinking)
    before = len(os.listdir("/proc/self/fd"))
    read = Read(folder)
    assert [one.path for one in read.reading.unread] in (["weights"], [])
    assert read.at(b"other").size == 300_000
    assert len(os.listdir("/proc/self/fd")) == before
