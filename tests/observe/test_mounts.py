"""Kinds of file systems, as the kernel names them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.observe.looking import Rereader, settle_soon
from veracity.observe import mounts
from veracity.observe.mounts import FileSystems
from veracity.observe.tree import read_tree


def kind_of(path: Path) -> str:
    handle = os.open(path, os.O_RDONLY)
    try:
        return FileSystems().kind(handle, os.fstat(handle).st_dev)
    finally:
        os.close(handle)


def test_the_kind_of_well_known_places(tmp_path: Path) -> None:
    assert kind_of(Path("/proc")) == "proc"
    assert kind_of(Path("/sys")) == "sysfs"
    assert kind_of(tmp_path)


def test_where_the_kernel_does_not_say_the_kind_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_read", lambda path, limit=0: b"pos: 0\n")
    assert kind_of(Path("/")) == ""


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A tree of which a folder lies on a tmpfs of its own."""
    place = tmp_path / "root" / "mounted"
    place.mkdir(parents=True)
    (tmp_path / "root" / "a").write_text("a")
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "none", place], capture_output=True).returncode
    ):
        pytest.skip("nothing can be mounted here")
    try:
        (place / "b").write_text("b")
        yield place
    finally:
        subprocess.run(["umount", place], capture_output=True)


def test_a_mount_below_is_judged_by_its_own_kind(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_soon(monkeypatch, mounted.parent)
    if kind_of(mounted.parent) == "tmpfs":
        pytest.skip("all is on one kind of file system here")
    tree = Rereader(mounted.parent.parent / "home", mounted.parent)
    tree.read()
    again = tree.read()
    assert "times on tmpfs do not tell of every change" in again.looked.because
    assert again.root == read_tree(mounted.parent, lambda digest, data: None).root


def test_a_mount_that_vanishes_is_a_change(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_soon(monkeypatch, mounted.parent)
    tree = Rereader(mounted.parent.parent / "home", mounted.parent)
    before = tree.read()
    subprocess.run(["umount", mounted], check=True)
    after = tree.read()
    assert after.root == read_tree(mounted.parent, lambda digest, data: None).root != before.root
    assert (after.files, after.unread) == (1, ())
