"""Who may put something else in the place of a file."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest

from veracity.observe import writers
from veracity.observe.writers import writers_of


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders below one for the owner alone; what is above it does not matter here."""
    top = tmp_path / "top"
    (top / "folder").mkdir(parents=True)
    (top / "folder" / "file.so").write_bytes(b"")
    for path in (top, top / "folder"):
        path.chmod(0o755)
    (top / "folder" / "file.so").chmod(0o644)
    real = os.lstat
    above = str(tmp_path.resolve())

    def lstat(path: str) -> os.stat_result:
        return real("/" if above == path or above.startswith(path.rstrip("/") + "/") else path)

    monkeypatch.setattr("veracity.observe.writers.os.lstat", lstat)
    return top / "folder" / "file.so"


def test_the_owner_alone(place: Path) -> None:
    assert writers_of(str(place)) == ""


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_file_and_each_folder_on_the_way_count(place: Path, depth: int) -> None:
    (place, *place.parents)[depth].chmod(0o777)
    assert writers_of(str(place)) == "everybody"


def test_a_sticky_folder_protects_what_is_there_and_not_what_is_not(place: Path) -> None:
    place.parent.chmod(0o1777)
    assert writers_of(str(place)) == ""
    assert writers_of(str(place.parent / "none/libx.so")) == "everybody"
    assert writers_of(str(place.parent.parent / "none/libx.so")) == ""


@pytest.mark.parametrize(
    ("name", "members", "ours", "told"),
    [
        ("team", ["other"], True, "the group team"),
        ("team", [], True, ""),
        ("users", [], True, "the group users"),
        ("me", ["other"], True, "the group me"),
        ("me", ["me"], True, ""),
        ("", [], True, ""),
        ("administrators", ["other"], False, ""),
    ],
)
def test_groups_that_colleagues_are_in(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, members: list[str], ours: bool, told: str
) -> None:
    """In the owner's own group and in one without members nobody else is."""
    place.parent.chmod(0o775)
    first = 1000 if name in ("me", "users") else 1
    monkeypatch.setattr(writers, "_group", lambda number: (name, members))
    monkeypatch.setattr(writers, "_user", lambda number: ("me", first))
    monkeypatch.setattr("veracity.observe.writers.os.getgroups", lambda: [1000] if ours else [])
    may_write = writers._may_write

    def shared(status: os.stat_result, sticky: bool) -> str:
        fields = list(status)
        fields[5] = 1000
        return may_write(os.stat_result(fields), sticky)

    monkeypatch.setattr(writers, "_may_write", shared)
    assert writers_of(str(place)) == told


def test_a_volume_that_root_mounted_for_everybody(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As containers have them: elsewhere than on the file system above, root's, and open to all."""
    folder = place.parent
    folder.chmod(0o777)
    real = os.lstat

    def mounted(path: str) -> os.stat_result:
        fields = list(real(path))
        if path == str(folder):
            fields[2], fields[4] = fields[2] + 1, 0
        return os.stat_result(fields)

    monkeypatch.setattr("veracity.observe.writers.os.lstat", mounted)
    assert writers_of(str(place)) == ""
    folder.chmod(0o757)
    assert writers_of(str(place)) == "everybody"


def test_numbers_without_a_name() -> None:
    unknown = 2_000_000_001
    assert all(one.gr_gid != unknown for one in grp.getgrall())
    assert writers._group(unknown) == ("", [])
    assert writers._user(unknown) == ("", -1)
