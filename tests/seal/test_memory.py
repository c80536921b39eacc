"""What a home remembers of trees: nobody else's word, and nothing under a clock that was set."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from tests.observe.looking import Rereader, settle, settle_soon
from veracity.core.errors import UsageError
from veracity.observe.mounts import write_back_seconds
from veracity.seal import memory
from veracity.seal.memory import KEY_FILE, SETTLES, TreeMemory, cache_of


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rereader:
    """A tree that was read and is remembered."""
    settle_soon(monkeypatch, tmp_path)
    root = tmp_path / "root"
    (root / "pkg").mkdir(parents=True)
    for name in ("a", "b", "pkg/c", "pkg/d"):
        (root / name).write_text(name)
    made = Rereader(tmp_path / "home", root)
    settle()
    made.read()
    return made


def database(tree: Rereader) -> Path:
    (found,) = cache_of(tree.home).glob("read-*.sqlite")
    return found


def test_a_memory_is_its_owners_alone(tree: Rereader) -> None:
    assert tree.read().looked.read == 0
    for path in (database(tree), cache_of(tree.home) / KEY_FILE):
        assert path.stat().st_mode & 0o777 == 0o600
    assert cache_of(tree.home).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("place", ["", "cache", f"cache/{KEY_FILE}"])
def test_what_others_can_write_is_refused(tree: Rereader, place: str) -> None:
    (tree.home / place).chmod(0o777)
    with pytest.raises(UsageError, match="others"):
        tree.read()


def test_another_key_remembers_nothing(tree: Rereader) -> None:
    (cache_of(tree.home) / KEY_FILE).unlink()
    assert tree.read().looked.read == 4


def test_a_key_of_another_length_is_refused(tree: Rereader) -> None:
    (cache_of(tree.home) / KEY_FILE).write_bytes(b"short")
    with pytest.raises(UsageError, match="no key"):
        tree.read()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE folders SET payload = payload || x'00'",
        "UPDATE folders SET code = zeroblob(32)",
        "UPDATE folders SET code = 'text'",
        "DELETE FROM folders WHERE first != x''",
        "DELETE FROM folders WHERE first = x''",
        "INSERT OR REPLACE INTO folders SELECT x'706b67', first, payload, code FROM folders WHERE path = x''",
        "UPDATE folders SET payload = (SELECT payload FROM clock), code = (SELECT code FROM clock)",
        "DELETE FROM clock",
        "UPDATE clock SET code = zeroblob(32)",
    ],
)
def test_rows_that_others_wrote_count_for_nothing(tree: Rereader, statement: str) -> None:
    with sqlite3.connect(database(tree)) as opened:
        opened.execute(statement)
    opened.close()
    assert tree.read().looked.read in (2, 4)
    assert tree.read().looked.read == 0


def test_an_older_row_that_is_put_back_speaks_of_another_file(tree: Rereader) -> None:
    """Whoever can write the file without the key can only put back what was true once."""
    before = database(tree).read_bytes()
    (tree.root / "a").write_text("A")
    (tree.root / "new").write_text("new")
    settle()
    changed = tree.read().root
    database(tree).write_bytes(before)
    assert tree.read().root == changed


def test_a_memory_of_another_tree_says_nothing(tree: Rereader, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.symlink_to(tree.root)
    assert Rereader(tree.home, copy).read().looked.read == 0  # the same tree by another name
    os.rename(tree.root, tmp_path / "moved")
    assert Rereader(tree.home, tmp_path / "moved").read().looked.read == 4


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_memory_is_begun_anew(tree: Rereader, content: bytes) -> None:
    database(tree).write_bytes(content)
    assert tree.read().looked.read == 4
    assert tree.read().looked.read == 0


def test_a_link_in_the_place_of_a_memory_is_not_followed(tree: Rereader, tmp_path: Path) -> None:
    path = database(tree)
    os.rename(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    reading = tree.read()
    assert reading.looked.read == 4
    assert any("could not be opened" in one for one in reading.looked.because)


def test_a_memory_that_somebody_else_writes_is_left_alone(tree: Rereader) -> None:
    (tree.root / "a").write_text("A")
    opened = sqlite3.connect(database(tree), isolation_level=None)
    try:
        opened.execute("BEGIN EXCLUSIVE")
        reading = tree.read()
    finally:
        opened.close()
    assert reading.looked.read == 4
    assert any("could not be used" in one for one in reading.looked.because)


# --- clocks ---------------------------------------------------------------------------------------------


def test_under_a_clock_that_was_set_back_nothing_counts(tree: Rereader) -> None:
    with TreeMemory(tree.home, tree.root, now=time.time_ns() - 3600 * 10**9) as remembered:
        assert remembered.recall(b"") is None
        assert remembered.notes == ["the clock is before the time of the last reading"]


def test_under_a_clock_that_was_set_forward_nothing_counts(tree: Rereader) -> None:
    """Back in time it was, and here again: the time since the machine's start has not jumped with it."""
    with TreeMemory(tree.home, tree.root, now=time.time_ns() + 3600 * 10**9) as remembered:
        assert remembered.recall(b"") is None
        assert remembered.notes == ["the clock was set since the last reading"]


def test_after_another_start_the_clock_may_be_anywhere_later(
    tree: Rereader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_since_start", lambda now=None: ("another", 0))
    assert tree.read().looked.read == 0


def test_on_a_kernel_that_does_not_write_back_nothing_settles(
    tree: Rereader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "write_back_seconds", lambda: None)
    (tree.root / "a").write_text("A")
    settle()
    assert tree.read().looked.read == 1
    assert tree.read().looked.read == 1


def test_nothing_settles_before_dirty_pages_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write_back_seconds() is None or write_back_seconds() > 0  # type: ignore[operator]
    now = time.time_ns()
    for waits, seconds in ((1.0, SETTLES), (100.0, 200.0)):
        monkeypatch.setattr(memory, "write_back_seconds", lambda waits=waits: waits)
        with TreeMemory(tmp_path / "home", tmp_path, now=now) as remembered:
            assert now - remembered.settled_before == int(seconds * 10**9)


# --- what is gone ---------------------------------------------------------------------------------------


def test_folders_that_are_gone_are_forgotten(tree: Rereader) -> None:
    (tree.root / "pkg" / "c").unlink()
    (tree.root / "pkg" / "d").unlink()
    (tree.root / "pkg").rmdir()
    tree.read()
    with sqlite3.connect(database(tree)) as opened:
        assert {path for (path,) in opened.execute("SELECT path FROM folders")} == {b""}
    opened.close()


def test_only_what_changed_is_written(tree: Rereader) -> None:
    def rows() -> dict[tuple[bytes, bytes], bytes]:
        opened = sqlite3.connect(database(tree))
        found = opened.execute("SELECT path, first, code FROM folders").fetchall()
        opened.close()
        return {(path, first): code for path, first, code in found}

    for number in range(2_000):
        (tree.root / "pkg" / f"{number:04}").touch()
    settle()
    tree.read()
    before = rows()
    (tree.root / "pkg" / "1000").write_text("x")
    settle()
    tree.read()
    changed = {place for place, code in rows().items() if before.get(place) != code}
    assert len(before) > 6
    assert len(changed) == 3  # the names about the file, its folder, and the folder above
