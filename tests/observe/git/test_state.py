"""The state of a working tree, and of hostile ones that would like to run something."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from veracity.observe.git import GitState, command, read_git
from veracity.observe.git import state as states

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def run(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    run(folder, "init", "-q", "-b", "main")
    (folder / "train.py").write_text("lr = 1\n")
    (folder / ".gitignore").write_text("ignored.py\n")
    run(folder, "add", ".")
    run(folder, "commit", "-q", "-m", "first")
    return folder


def state(folder: Path) -> GitState:
    found = read_git(str(folder))
    assert isinstance(found, GitState), found
    return found


def test_clean(tree: Path) -> None:
    found = state(tree / "sub")
    assert (found.root, found.branch, len(found.commit)) == (str(tree), "main", 40)
    assert (found.dirty, found.untracked, found.diff, found.truncated) == ([], [], [], False)


def test_dirty(tree: Path) -> None:
    (tree / "train.py").write_text("lr = 2\n")
    (tree / "nëw file.py").write_text("")
    (tree / "ignored.py").write_text("")
    (tree / "notes.txt").write_text("")
    run(tree, "remote", "add", "origin", "https://git.example/r.git")
    found = state(tree)
    assert (found.dirty, found.untracked) == (["train.py"], ["nëw file.py"])
    assert [line for line in found.diff if line[:2] in ("-l", "+l")] == ["-lr = 1", "+lr = 2"]
    assert found.remotes == ["https://git.example/r.git"]


def test_before_the_first_commit_and_detached(tmp_path: Path, tree: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    run(empty, "init", "-q", "-b", "main")
    (empty / "a.py").write_text("x\n")
    run(empty, "add", ".")
    found = state(empty)
    assert (found.commit, found.branch, found.dirty) == ("", "main", ["a.py"])
    run(tree, "checkout", "-q", "--detach")
    assert state(tree).branch == ""


def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_git(str(tmp_path)) == "not in a git working tree"
    assert "not a folder" in str(read_git(str(tmp_path / "gone")))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_git(str(tmp_path)) == "git is not installed"


def test_nothing_a_repository_configures_is_run(tree: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\necho "$0 $@" >> {mark}\ncat\n')
    script.chmod(0o755)
    for name in (
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "pager.diff",
        "diff.external",
        "diff.mine.command",
        "diff.mine.textconv",
        "filter.mine.clean",
        "filter.mine.process",
        "filter.odd.name.clean",
    ):
        run(tree, "config", name, str(script))
    run(tree, "config", "filter.mine.required", "true")
    hook = tree / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    shutil.copy(script, hook)
    (tree / ".gitattributes").write_text("*.py filter=mine diff=mine\n*.txt filter=odd.name\n")
    (tree / "train.py").write_text("lr = 2\n")
    os.utime(tree / "train.py", (1, 1))
    found = state(tree)
    assert "+lr = 2" in found.diff
    assert not mark.exists()


def test_environment_of_the_caller_does_not_matter(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "/bin/false")
    assert state(tree).branch == "main"


def test_output_and_time_are_bounded(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "train.py").write_text("x\n" * 20_000)
    found = state(tree)
    assert (len(found.diff), found.truncated) == (states.MAX_DIFF_LINES, True)
    monkeypatch.setattr(command, "MAX_OUTPUT", 1_000)
    assert state(tree).truncated
    monkeypatch.setattr(command, "SECONDS", 0.0)
    assert "took longer" in str(read_git(str(tree)))
