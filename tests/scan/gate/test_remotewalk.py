"""``veracity scan`` of URLs: the same answers as of files, and nothing told that lets somebody in."""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from veracity.cli.main import main
from veracity.scan.gate import remotewalk
from veracity.scan.gate.remotewalk import walk_url
from veracity.scan.gate.walk import Choice, Found, LeftOut, Unread

Captured = pytest.CaptureFixture[str]
BAD = b"cos\nsystem\n(Vtrue\ntR."  # marked: would run a program that does nothing
GOOD = pickle.dumps({"a": 1})


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """fsspec's filesystem in memory, with a few files, and a folder to be in."""
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    memory.pipe({"/m/bad.txt": BAD, "/m/in/good.pkl": GOOD, "/m/in/notes.log": b"hello", "/m/out/x.pkl": BAD})
    yield memory
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def scanned(capsys: Captured, *arguments: str) -> tuple[int, dict[str, str]]:
    code = main(["scan", *arguments, "--format", "json"])
    return code, {one["path"]: one["status"] for one in json.loads(capsys.readouterr().out)["files"]}


def test_a_url_is_read_like_a_folder(capsys: Captured) -> None:
    code, files = scanned(capsys, "memory://m", "--exclude", "out")
    assert (code, files) == (
        1,
        {
            "memory://m/bad.txt": "findings",
            "memory://m/in/good.pkl": "clean",
            "memory://m/in/notes.log": "clean",
        },
    )
    assert scanned(capsys, "memory://m/", "--include", "*.pkl", "--exclude", "out") == (
        0,
        {"memory://m/in/good.pkl": "clean"},
    )
    assert scanned(capsys, "memory://m/in/good.pkl") == (0, {"memory://m/in/good.pkl": "clean"})
    assert scanned(capsys, "memory://gone") == (2, {"memory://gone": "incomplete"})


def test_what_lets_somebody_in_is_in_no_form_of_output(
    capsys: Captured, store: fsspec.AbstractFileSystem
) -> None:
    store.pipe_file("/key:hidden@m/bad.txt", BAD)  # this filesystem takes all of it for a path
    for form in ("text", "json", "sarif", "junit", "markdown"):
        assert main(
            ["scan", "memory://key:hidden@m/bad.txt?sig=hidden", "memory://key:hidden@m", "--format", form]
        )
        said = capsys.readouterr()
        assert "memory://m/bad.txt" in said.out
        assert "hidden" not in said.out + said.err


def test_large_files_are_read_in_pieces_and_digested_alike(
    capsys: Captured, tmp_path: Path, store: fsspec.AbstractFileSystem
) -> None:
    many = pickle.dumps([os.urandom(1000) for _ in range(9000)]) + BAD
    store.pipe_file("/large.pkl", many)
    (tmp_path / "large.pkl").write_bytes(many)
    before = set(tmp_path.rglob("*"))
    told = {}
    for name in ("large.pkl", "memory://large.pkl", f"file://{tmp_path}/large.pkl"):
        assert main(["scan", name, "--digest", "--format", "json"]) == 1
        (one,) = json.loads(capsys.readouterr().out)["files"]
        told[name] = (one["sha256"], one["formats"], one["size"], [each["rule"] for each in one["findings"]])
    assert len({str(each) for each in told.values()}) == 1
    assert set(tmp_path.rglob("*")) == before


def test_what_lies_in_archives_is_found_through_a_url(capsys: Captured, tmp_path: Path) -> None:
    import torch

    torch.save({"weight": torch.zeros(3)}, tmp_path / "model.pt")
    assert scanned(capsys, f"file://{tmp_path}/model.pt") == (0, {f"file://{tmp_path}/model.pt": "clean"})


def test_names_that_are_odd_and_what_is_no_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    os.mkfifo(tmp_path / "f" / "pipe")
    (tmp_path / "f" / "link").symlink_to("/")
    (tmp_path / "f" / "a b.pkl").write_bytes(GOOD)
    url = f"file://{tmp_path}/f"
    found = list(walk_url(url, Choice(exclude=("x*",))))
    assert found == [
        Found(f"{url}/a b.pkl", len(GOOD)),
        Unread(f"{url}/link", "is neither a file nor a folder"),
        Unread(f"{url}/pipe", "is neither a file nor a folder"),
    ]
    assert [type(one) for one in walk_url(url, Choice(exclude=("*",)))] == [LeftOut] * 3


@pytest.mark.parametrize(
    "url", ["https://host", "http://me:hidden@host/", "HTTP://host/models/", "https://host/?a=b"]
)
def test_a_page_is_no_folder(url: str) -> None:
    (one,) = walk_url(url, Choice())
    assert isinstance(one, Unread)
    assert "is a page" in one.reason
    assert "hidden" not in one.path


def test_a_listing_that_ends_or_never_ends_is_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotewalk, "SILENCE", 0.2)
    monkeypatch.setattr(remotewalk, "_below", lambda url, choice: time.sleep(60))
    (one,) = walk_url("memory://m", Choice())
    assert isinstance(one, Unread)
    assert "did not say" in one.reason
    monkeypatch.setattr(remotewalk, "_below", lambda url, choice: os._exit(3))
    (one,) = walk_url("memory://m", Choice())
    assert isinstance(one, Unread)
    assert "ended" in one.reason


def test_the_worker_that_ends_on_a_url_tells_no_secret(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, store: fsspec.AbstractFileSystem
) -> None:
    store.pipe_file("/key:hidden@m/a.pkl", GOOD)
    monkeypatch.setattr(type(store), "_open", lambda *_, **__: os._exit(3))
    assert main(["scan", "memory://key:hidden@m/a.pkl"]) == 2
    said = capsys.readouterr()
    assert "its reader ended" in said.out
    assert "hidden" not in said.out + said.err


def test_a_file_of_this_machine_does_not_speak_for_a_url(
    capsys: Captured, tmp_path: Path, store: fsspec.AbstractFileSystem
) -> None:
    source = (
        b"import torch\n\n\ndef train(model, optimizer, x):\n    for step in x:\n        loss = model(step)\n"
    )
    source += b"        loss.backward()\n        for p in model.parameters():\n            p.grad.mul_(-1)\n"
    source += b"        optimizer.step()\n"
    store.pipe_file("/s/bad.py", source)
    comment = b"  # veracity: ignore[code-gradient-edited]: reviewed\n"
    (tmp_path / "memory:" / "s").mkdir(parents=True)
    (tmp_path / "memory:" / "s" / "bad.py").write_bytes(source.replace(b"\n", comment))
    assert scanned(capsys, "memory://s/bad.py")[0] == 1


def test_mistakes_are_told_before_anything_is_read(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["scan", "nothing-known://x"]) == 2
    assert "no filesystem" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert main(["scan", "memory://m"]) == 2
    assert "pip install 'veracity[fsspec]'" in capsys.readouterr().err
