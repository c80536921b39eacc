"""Inputs: windows of files, what is no file, files that change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError
from veracity.observe.artifact.input import FileSource, Input, open_file


@given(
    data=st.binary(max_size=200),
    start=st.integers(-10, 220),
    size=st.integers(-10, 220),
    at=st.integers(-10, 220),
    length=st.integers(-10, 220),
)
def test_a_window_never_shows_what_lies_outside_it(
    data: bytes, start: int, size: int, at: int, length: int
) -> None:
    part = Input.of_bytes("file", data).part("part", start, size)

    inside = data[max(0, start) : max(0, start) + max(0, size)]
    expected = inside[at : at + max(0, length)] if at >= 0 else b""
    assert part.read(at, length) == expected
    assert part.name == "file!part"
    assert part.depth == 1
    assert b"".join(part.windows(7)) == inside


def test_a_file_is_read_by_its_descriptor_whatever_its_name_leads_to(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"first")
    source = open_file(path)
    os.replace(_written(tmp_path / "other", b"second"), path)
    try:
        assert Input.of("model.pt", source).whole(100) == b"first"
    finally:
        source.close()


def test_a_file_that_becomes_shorter_is_an_error_and_one_that_grows_has_changed(tmp_path: Path) -> None:
    path = _written(tmp_path / "model.pt", b"0123456789")
    source = open_file(path)
    try:
        assert not source.has_changed()
        os.truncate(path, 4)
        with pytest.raises(EvidenceError, match="became shorter"):
            source.read(0, 10)
        assert source.has_changed()
    finally:
        source.close()


def test_pipes_folders_devices_and_links_are_said_to_be_so_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(_written(tmp_path / "model.pt", b"x"))
    for path, said in (
        (tmp_path / "pipe", "a pipe"),
        (tmp_path, "a folder"),
        (Path("/dev/zero"), "a character"),
    ):
        with pytest.raises(EvidenceError, match=said):
            open_file(path)
    with pytest.raises(EvidenceError, match="cannot be opened"):
        open_file(tmp_path / "link", follow=False)
    opened: FileSource = open_file(tmp_path / "link")
    opened.close()


def test_more_than_the_limit_is_not_held() -> None:
    with pytest.raises(EvidenceError, match="no more than 3"):
        Input.of_bytes("file", b"1234").whole(3)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
