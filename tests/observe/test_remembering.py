"""Trees read again at weaker levels: the same digests as a reading of everything, with less read."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.observe.looking import Rereader, settle, settle_soon
from veracity.core.level import level_of
from veracity.observe import remembering
from veracity.observe.tree import MAX_DEPTH, read_tree


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rereader:
    """A tree of files, folders, links and a pipe."""
    settle_soon(monkeypatch, tmp_path)
    root = tmp_path / "root"
    for place in ("pkg/sub", "pkg/empty", "many"):
        (root / place).mkdir(parents=True)
    (root / "pkg" / "a.py").write_text("a = 1\n")
    (root / "pkg" / "sub" / "b.py").write_text("b = 1\n")
    for number in range(700):
        (root / "many" / f"{number:03}").write_text(str(number))
    os.symlink("a.py", root / "pkg" / "link")
    os.mkfifo(root / "pkg" / "pipe")
    return Rereader(tmp_path / "home", root)


def whole(root: Path) -> object:
    return read_tree(root, lambda digest, data: None).root


def test_what_has_not_changed_is_not_read_again(tree: Rereader) -> None:
    settle()
    first = tree.read()
    assert (first.looked.read, first.looked.by_stat, first.files) == (702, 0, 702)
    assert first.root == whole(tree.root)
    again = tree.read()
    assert (again.looked.read, again.looked.by_stat, again.looked.size) == (0, 702, 0)
    assert (again.root, again.files, again.size) == (first.root, first.files, first.size)


CHANGES: list[tuple[Callable[[Path], object], int]] = [
    (lambda root: (root / "pkg" / "a.py").write_text("a = 2\n"), 1),
    (lambda root: (root / "many" / "600").write_text("x"), 1),
    (lambda root: (root / "pkg" / "a.py").chmod(0o755), 1),
    (lambda root: (root / "many" / "new").write_text("x"), 1),
    (lambda root: (root / "many" / "007").unlink(), 0),
    (lambda root: (root / "pkg" / "link").unlink(), 0),
    (lambda root: retarget(root / "pkg" / "link", "sub"), 0),
    (lambda root: (root / "pkg" / "empty").rmdir(), 0),
    (lambda root: shutil.rmtree(root / "pkg"), 0),
    (lambda root: (root / "pkg" / "sub").chmod(0o700), 0),
    (lambda root: os.rename(root / "many", root / "more"), 700),
    (lambda root: os.replace(root / "many" / "001", root / "many" / "002"), 1),
    (lambda root: exchange(root / "many" / "001", root / "many" / "002"), 2),
]


def retarget(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


def exchange(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    os.rename(one, aside)
    os.rename(other, one)
    os.rename(aside, other)


@pytest.mark.parametrize(("act", "read"), CHANGES)
def test_whatever_is_changed_is_found_by_reading_it_alone(
    tree: Rereader, act: Callable[[Path], object], read: int
) -> None:
    settle()
    tree.read()
    act(tree.root)
    reading = tree.read()
    assert reading.root == whole(tree.root)
    assert reading.looked.read == read
    settle()
    assert tree.read().root == whole(tree.root)
    assert tree.read().looked.read == 0


def test_an_edit_whose_times_were_put_back_is_found(tree: Rereader) -> None:
    settle()
    tree.read()
    file = tree.root / "pkg" / "a.py"
    before = file.stat()
    with file.open("r+") as opened:
        opened.write("a = 9\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_mtime_ns, file.stat().st_size) == (before.st_mtime_ns, before.st_size)
    reading = tree.read()
    assert reading.root == whole(tree.root)
    assert reading.looked.read == 1


def test_what_was_changed_shortly_before_it_was_read_is_read_again(
    tree: Rereader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veracity.seal.memory.SETTLES", 60.0)
    assert tree.read().looked.read == 702
    again = tree.read()
    assert again.looked.read == 702
    assert any("shortly before" in one for one in again.looked.because)


def test_times_on_other_file_systems_are_not_believed(
    tree: Rereader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "KEEPS_CHANGE_TIMES", frozenset({"none"}))
    settle()
    tree.read()
    again = tree.read()
    assert again.looked.read == 702
    assert any("do not tell of every change" in one for one in again.looked.because)


@pytest.mark.parametrize("seed", range(6))
def test_many_changes_in_any_order(tree: Rereader, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(4):
        settle()
        tree.read()
        folders = [tree.root, *(path for path in tree.root.rglob("*") if path.is_dir())]
        for number in range(draw.randrange(5)):
            folder = draw.choice([one for one in folders if one.is_dir()])
            name = folder / draw.choice(["a.py", "b.py", "new", f"{draw.randrange(700):03}", f"d{number}"])
            if name.is_dir() and name != tree.root:
                shutil.rmtree(name)
            elif draw.random() < 0.3 and name.exists():
                name.unlink()
            elif draw.random() < 0.2 and not name.exists():
                name.mkdir()
            elif not name.is_dir():
                name.write_text(str(draw.random()))
        assert tree.read().root == whole(tree.root)


# --- a sample -------------------------------------------------------------------------------------------


def test_a_sample_is_drawn_by_the_key_and_read_whatever_it_looks_like(tree: Rereader) -> None:
    settle()
    tree.read()
    one, same, other = (tree.read("sample=20%", key) for key in (b"a" * 32, b"a" * 32, b"b" * 32))
    assert one.looked.read == same.looked.read
    assert 80 < one.looked.read < 220
    assert one.looked.files == other.looked.files == 702
    assert one.root == other.root == whole(tree.root)
    everything = tree.read("sample=100%")
    assert (everything.looked.read, everything.looked.by_stat) == (702, 0)


def test_a_sample_finds_what_looks_as_it_did(tree: Rereader, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the block device was written to: nothing of how the file looks has changed."""
    settle()
    before = tree.read()
    file = tree.root / "many" / "123"
    real = os.stat

    def looks_as_it_did(path: object, **options: object) -> os.stat_result:
        return unchanged if path == b"123" else real(path, **options)  # type: ignore[arg-type]

    unchanged = real(file)
    file.write_text("321")
    monkeypatch.setattr(os, "stat", looks_as_it_did)
    assert tree.read().root == before.root
    assert tree.read("sample=100%").root == whole(tree.root) != before.root


def test_draws_are_as_many_as_they_should_be(tree: Rereader) -> None:
    with_memory = tree.read()
    assert with_memory.files == 702
    walk = object.__new__(remembering.RememberingWalk)
    walk._level, walk._key = level_of("sample=1%"), b"k"
    drawn = sum(len(walk._drawn(b"%d" % number, 1000)) for number in range(200))
    assert 1_800 < drawn < 2_200


# --- roots, large files, what is unread ------------------------------------------------------------------


def test_a_root_that_is_a_file(tree: Rereader) -> None:
    alone = Rereader(tree.home, tree.root / "pkg" / "a.py")
    settle()
    first = alone.read()
    assert (first.looked.read, first.root) == (1, whole(alone.root))
    again = alone.read()
    assert (again.looked.read, again.looked.by_stat, again.root) == (0, 1, first.root)
    alone.root.write_text("a = 3\n")
    assert alone.read().root == whole(alone.root)


def test_the_chunks_of_a_large_file_are_there_when_they_are_wanted(
    tree: Rereader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("veracity.core.tree", "veracity.observe.tree", "veracity.observe.remembering"):
        monkeypatch.setattr(f"{module}.CHUNK", 1 << 21)
    (tree.root / "model.bin").write_bytes(os.urandom(5 << 20))
    settle()
    first = tree.read()
    assert tree.read().looked.read == 0
    nodes = dict(tree.nodes)
    tree.nodes.clear()
    again = tree.read()
    assert again.root == first.root
    assert again.looked.read == 1  # who has no chunks needs the file for them
    assert (again.looked.files, again.size) == (first.files, first.size)
    assert nodes.keys() == tree.nodes.keys()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_could_not_be_read_is_tried_again(tree: Rereader) -> None:
    (tree.root / "pkg" / "a.py").chmod(0)
    settle()
    assert [one.path for one in tree.read().unread] == ["pkg/a.py"]
    assert [one.path for one in tree.read().unread] == ["pkg/a.py"]


def test_folders_as_deep_as_they_may_be(tree: Rereader) -> None:
    deep = tree.root.joinpath(*["d"] * MAX_DEPTH)
    deep.mkdir(parents=True)
    (deep / "large").write_bytes(bytes(2 << 20))
    settle()
    for read in (703, 0):
        reading = tree.read()
        assert (reading.looked.read, reading.unread, reading.root) == (read, (), whole(tree.root))


def test_a_link_loop_is_a_link(tree: Rereader) -> None:
    (tree.root / "one").symlink_to("two")
    (tree.root / "two").symlink_to("one")
    (tree.root / "pkg" / "up").symlink_to("..")
    settle()
    assert tree.read().root == whole(tree.root)
    assert tree.read().root == whole(tree.root)


def test_names_that_are_no_text_or_differ_in_case_only(tree: Rereader) -> None:
    for name in (b"\xff\xfe", b"caf\xc3\xa9", b"Readme", b"README", b"a\nb", b"%41"):
        with open(os.path.join(os.fsencode(tree.root), name), "wb") as file:
            file.write(name)
    settle()
    tree.read()
    with open(os.path.join(os.fsencode(tree.root), b"\xff\xfe"), "wb") as file:
        file.write(b"other")
    reading = tree.read()
    assert (reading.root, reading.looked.read) == (whole(tree.root), 1)


def test_what_is_left_out_now_and_not_then(tree: Rereader) -> None:
    settle()
    tree.read()
    from veracity.observe.remembering import Again, reread_tree
    from veracity.seal.memory import TreeMemory

    for skip in ([tree.root / "pkg" / "sub"], []):
        with TreeMemory(tree.home, tree.root) as memory:
            again = Again(level_of("stat"), memory, b"k", tree.nodes.__contains__)
            found = reread_tree(tree.root, tree.nodes.__setitem__, again, skip=skip).root
        assert found == read_tree(tree.root, lambda digest, data: None, skip=skip).root
