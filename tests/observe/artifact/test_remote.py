"""Files behind URLs: in pieces, with changes seen and failures told, on fsspec's own filesystems."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, UsageError
from veracity.observe.artifact import remote
from veracity.observe.artifact.remote import MAX_PIECES, Listed, RemoteFolder, RemoteSource, check_url

PIECE = 1 << 10


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """fsspec's filesystem in memory, empty before and after; small pieces."""
    monkeypatch.setattr(remote, "PIECE", PIECE)
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    yield memory
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


DATA = bytes(range(256)) * 40 + b"end"


@given(st.integers(0, len(DATA) + 10), st.integers(-1, len(DATA) + 10))
def test_every_part_is_what_the_file_has(at: int, length: int) -> None:
    fsspec.filesystem("memory").pipe_file("/a.bin", DATA)
    source = RemoteSource("memory://a.bin")
    assert source.size == len(DATA)
    assert source.read(at, length) == DATA[at : at + max(0, length)]
    source.close()


def test_no_more_is_held_than_a_few_pieces(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(PIECE * (MAX_PIECES + 20)))
    source = RemoteSource(f"file://{tmp_path}/large")
    for at in range(0, source.size, PIECE // 2):
        source.read(at, 10)
    assert len(source._pieces) == MAX_PIECES
    assert source.read(0, source.size) == bytes(source.size)
    source.close()


def test_a_change_is_seen(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    store.pipe_file("/a", b"one")
    (tmp_path / "a").write_bytes(b"one")
    sources = [RemoteSource("memory://a"), RemoteSource(f"file://{tmp_path}/a")]
    assert [one.has_changed() for one in sources] == [False, False]
    store.pipe_file("/a", b"two")
    (tmp_path / "a").write_bytes(b"two")
    os.utime(tmp_path / "a", ns=(1, 1))
    assert [one.has_changed() for one in sources] == [True, True]
    store.rm("/a")
    with pytest.raises(EvidenceError, match="FileNotFoundError"):
        sources[0].has_changed()


def test_a_file_that_becomes_shorter_is_no_shorter_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    source = RemoteSource(f"file://{tmp_path}/a")
    os.truncate(tmp_path / "a", 100)
    with pytest.raises(EvidenceError, match="became shorter"):
        source.read(PIECE, 5)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"type": "file", "size": None}, "how long"),
        ({"type": "file", "size": "7"}, "how long"),
        ({"type": "directory", "size": 0}, "a folder"),
        ({"type": "other", "size": 0}, "something else"),
    ],
)
def test_what_is_no_file_of_a_length_is_not_opened(
    store: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, info: Mapping[str, object], said: str
) -> None:
    monkeypatch.setattr(type(store), "info", lambda self, path: info)
    with pytest.raises(EvidenceError, match=said):
        RemoteSource("memory://a")


def test_a_failure_of_any_kind_is_told_without_secrets(
    store: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, path: str) -> Mapping[str, object]:
        raise KeyError(f"no access to memory://me:hidden@{path}")

    monkeypatch.setattr(type(store), "info", broken)
    with pytest.raises(EvidenceError) as error:
        RemoteSource("memory://me:hidden@a")
    assert "hidden" not in str(error.value)
    assert "KeyError" in str(error.value)


def test_folders_are_listed_in_order_and_only_what_lies_in_them(
    store: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.pipe({"/m/b.pt": b"1", "/m/a.pt": b"22", "/m/in/c.pt": b"3"})
    folder = RemoteFolder("memory://m")
    assert folder.kind().kind == "directory"
    assert [(one.name, one.kind) for one in folder.names("")] == [
        ("a.pt", "file"),
        ("b.pt", "file"),
        ("in", "directory"),
    ]
    assert folder.names("in") == [Listed("c.pt", "file", 1)]
    listing = [{"name": "/m", "type": "directory"}, {"name": "/etc/passwd", "type": "file", "size": 1}]
    monkeypatch.setattr(type(store), "ls", lambda self, path, detail: listing)
    assert [one.name for one in folder.names("")] == [""]
    monkeypatch.setattr(type(store), "ls", lambda self, path, detail: ["no", "table"])
    with pytest.raises(EvidenceError, match="AttributeError"):
        folder.names("")

    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    found = {one.name: one.kind for one in RemoteFolder(f"file://{tmp_path}").names("")}
    assert found == {"real": "file", "link": "file", "loop": "other", "pipe": "other"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nothing-known://x", "no filesystem"),
        ("simplecache::memory://x", "through other URLs"),
        ("zip://a.pt::memory://x.zip", "through other URLs"),
        ("filecache://x", "copied to disk"),
    ],
)
def test_what_cannot_be_read_at_all_is_a_mistake_of_the_caller(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_url(url)


def test_without_the_package_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError) as error:
        check_url("memory://me:hidden@x")
    assert error.value.diagnostics().remedy == "pip install 'veracity[fsspec]'"
    assert "hidden" not in str(error.value)
