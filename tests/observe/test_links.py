"""Other names of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veracity.observe import links
from veracity.observe.links import Links, Names, store_of
from veracity.observe.tree import read_tree


def read(*places: Path) -> Links:
    found = Links()
    for place in places:
        read_tree(place, lambda *_: None, named=found.named(str(place)))
    return found


def test_names_here_and_elsewhere(tmp_path: Path) -> None:
    code, more = tmp_path / "code", tmp_path / "more"
    for folder in (code / "sub", more, tmp_path / "away"):
        folder.mkdir(parents=True)
    (code / "a.py").write_text("a")
    (code / "alone.py").write_text("b")
    (code / "large").write_bytes(b"c" * 3_000_000)
    os.link(code / "a.py", code / "sub" / "a.py")
    os.link(code / "a.py", more / "b.py")
    os.link(code / "a.py", tmp_path / "away" / "c.py")
    os.link(code / "large", tmp_path / "away" / "large")
    os.symlink("a.py", code / "link")
    found = read(code, more)
    here = tuple(bytes(path) for path in (code / "sub" / "a.py", more / "b.py"))
    assert found.of(bytes(code / "a.py")) == Names(here, 1)
    assert found.of(bytes(code / "large")) == Names((), 1)
    assert found.of(bytes(code / "alone.py")) == found.of(bytes(code / "link")) == Names()
    assert len(list(found.elsewhere())) == 4
    assert read(code / "large").of(bytes(code / "large")) == Names((), 1)


def test_too_many_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("a")
    os.link(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(links, "MAX_FILES", 1)
    assert read(tmp_path).cut


def test_who_links_files_in(tmp_path: Path) -> None:
    for name in ("uv", "venv", "conda"):
        (tmp_path / name / "lib" / "site-packages").mkdir(parents=True)
    (tmp_path / "uv" / "pyvenv.cfg").write_text("home = /usr/bin\nuv = 0.9.1\n")
    (tmp_path / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (tmp_path / "conda" / "conda-meta").mkdir()
    found = [
        store_of(bytes(tmp_path / name / "lib" / "site-packages" / "x.py"))
        for name in ("uv", "venv", "conda")
    ]
    assert found == ["uv's cache", "", "conda's packages"]
