"""The walk: each file once, nothing entered twice, and a word for what cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veracity.scan.gate.walk import Choice, Found, LeftOut, Unread, walk


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def walked(*paths: Path, choice: Choice | None = None) -> tuple[list[str], dict[str, str]]:
    found, unread = [], {}
    for one in walk([str(path) for path in paths], choice or Choice()):
        if isinstance(one, LeftOut):
            unread[os.path.relpath(one.path, paths[0])] = "left out"
        elif isinstance(one, Found):
            found.append(os.path.relpath(one.path, paths[0]) + (" again" if one.twin else ""))
        else:
            unread[os.path.relpath(one.path, paths[0])] = one.reason
    return found, unread


def test_all_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    put(tmp_path, "b/z.pt", "b/a.pt", "a.pt", ".hidden/c.pt")

    assert walked(tmp_path) == ([".hidden/c.pt", "a.pt", "b/a.pt", "b/z.pt"], {})


def test_patterns_choose_files_and_keep_folders_out(tmp_path: Path) -> None:
    put(tmp_path, "a.pt", "a.log", "logs/b.pt", "deep/logs/c.pt", "deep/d.pt")

    assert walked(tmp_path, choice=Choice(include=("*.pt",)))[0] == [
        "a.pt",
        "deep/d.pt",
        "deep/logs/c.pt",
        "logs/b.pt",
    ]
    assert walked(tmp_path, choice=Choice(exclude=("logs", "*.log")))[0] == ["a.pt", "deep/d.pt"]
    assert walked(tmp_path, choice=Choice(exclude=("deep/*",)))[0] == ["a.log", "a.pt", "logs/b.pt"]
    assert walked(tmp_path / "a.log", choice=Choice(exclude=("*.log",)))[0] == ["."]


def test_a_file_with_two_names_is_read_once(tmp_path: Path) -> None:
    put(tmp_path, "a.pt")
    os.link(tmp_path / "a.pt", tmp_path / "b.pt")
    (tmp_path / "c.pt").symlink_to("a.pt")

    assert walked(tmp_path) == (["a.pt", "b.pt again", "c.pt again"], {})


def test_a_link_to_a_folder_elsewhere_is_said_and_one_to_a_folder_here_is_not(tmp_path: Path) -> None:
    put(tmp_path, "here/lib/a.pt", "away/b.pt")
    (tmp_path / "here" / "lib64").symlink_to("lib")
    (tmp_path / "here" / "loop").symlink_to("..", target_is_directory=True)
    (tmp_path / "here" / "out").symlink_to(tmp_path / "away")

    found, unread = walked(tmp_path / "here")

    assert found == ["lib/a.pt"]
    assert sorted(unread) == ["loop", "out"]
    assert walked(tmp_path / "here", tmp_path / "away")[0] == ["lib/a.pt", "../away/b.pt"]


def test_what_is_no_file_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    put(tmp_path, "a.pt")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")

    found, unread = walked(tmp_path)

    assert found == ["a.pt"]
    assert unread["pipe"] == "is a pipe, not a file"
    assert "No such file" in unread["broken"]
    assert "symbolic links" in unread["circle"]


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    put(tmp_path, "shut/a.pt", "b.pt")
    (tmp_path / "shut").chmod(0)
    try:
        found, unread = walked(tmp_path)
    finally:
        (tmp_path / "shut").chmod(0o700)
    assert found == ["b.pt"]
    assert "Permission denied" in unread["shut"]


def test_names_that_are_no_utf8_and_names_that_are_not_there(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\xfe.pt"
    with open(odd, "wb") as file:
        file.write(b"x")

    assert [os.fsencode(one.path) for one in walk([str(tmp_path)], Choice())] == [odd]
    missing = list(walk([str(tmp_path / "nothing"), "nul\0"], Choice()))
    assert all(isinstance(one, Unread) for one in missing)
    assert len(missing) == 2


def test_a_folder_named_twice_is_read_once(tmp_path: Path) -> None:
    put(tmp_path, "a/b.pt")

    assert walked(tmp_path, tmp_path / "a")[0] == ["a/b.pt"]
