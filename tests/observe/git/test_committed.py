"""Files beside their commit: what differs, also where git is made not to see it, and what may differ."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.observe.git.repos import commit, edit, forge_index, git, look, make, state
from veracity.core.repository import Uncompared, Unlike
from veracity.observe.git.reading import ASSUMED, REMEMBERED, SKIPPED

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "repo")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_clean_tree_is_as_committed(tmp_path: Path, algorithm: str) -> None:
    folder = make(tmp_path / "r", algorithm=algorithm)
    (folder / "run.sh").write_text("x")
    (folder / "run.sh").chmod(0o755)
    os.symlink("run.sh", folder / "link")
    (folder / "large").write_bytes(os.urandom(3_000_000))
    found_commit = commit(folder)
    found = state(folder)
    assert (found.algorithm, found.commit, found.branch) == (algorithm, found_commit, "main")
    assert (found.compared, found.unlike, found.uncompared) == (6, (), ())


@pytest.mark.parametrize(
    ("act", "path", "change"),
    [
        (lambda folder: (folder / "train.py").write_text("lr = 2\n"), "train.py", "content changed"),
        (lambda folder: (folder / "train.py").unlink(), "train.py", "removed"),
        (lambda folder: (folder / "train.py").chmod(0o755), "train.py", "made executable"),
        (lambda folder: linked(folder / "train.py"), "train.py", "another kind of file"),
        (lambda folder: large(folder / "data.bin"), "data.bin", "content changed"),
    ],
)
def test_what_differs_is_named(folder: Path, act: Callable[[Path], object], path: str, change: str) -> None:
    act(folder)
    assert state(folder).unlike == (Unlike(path, change),)


def linked(path: Path) -> None:
    path.unlink()
    os.symlink("pkg/adamw.py", path)


def large(path: Path) -> None:
    path.write_bytes(b"x" * 3_000_000)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda folder: git(folder, "update-index", "--assume-unchanged", "train.py"), ASSUMED),
        (lambda folder: git(folder, "update-index", "--skip-worktree", "train.py"), SKIPPED),
    ],
)
def test_an_edit_that_git_is_told_not_to_see(folder: Path, act: Callable[[Path], object], why: str) -> None:
    act(folder)
    assert state(folder).unlike == ()
    assert state(folder).flagged == (("train.py", why),)
    edit(folder / "train.py", "lr = 2\n")
    assert git(folder, "status", "--porcelain") == ""
    assert state(folder).hidden == (Unlike("train.py", "content changed", why),)


def test_an_edit_that_the_index_remembers_as_none(folder: Path) -> None:
    edit(folder / "train.py", "lr = 2\n")
    forge_index(folder, "train.py")
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "diff", "HEAD") == ""
    assert state(folder).hidden == (Unlike("train.py", "content changed", REMEMBERED),)


def test_an_edit_behind_trusted_times(folder: Path) -> None:
    """Without ctime git believes size and mtime, both of which are put back."""
    git(folder, "config", "core.trustctime", "false")
    git(folder, "config", "core.checkStat", "minimal")
    os.utime(folder / "train.py", (1_000_000_000, 1_000_000_000))
    git(folder, "status")
    edit(folder / "train.py", "lr = 2\n")
    assert git(folder, "status", "--porcelain") == ""
    assert state(folder).hidden == (Unlike("train.py", "content changed", REMEMBERED),)


def test_a_removed_file_under_a_flag_is_hidden_unless_it_is_left_out_on_purpose(folder: Path) -> None:
    git(folder, "update-index", "--assume-unchanged", "train.py")
    git(folder, "update-index", "--skip-worktree", "pkg/adamw.py")
    (folder / "train.py").unlink()
    (folder / "pkg" / "adamw.py").unlink()
    assert git(folder, "status", "--porcelain") == ""
    assert state(folder).hidden == (
        Unlike("pkg/adamw.py", "removed", SKIPPED),
        Unlike("train.py", "removed", ASSUMED),
    )
    git(folder, "config", "core.sparseCheckout", "true")
    assert state(folder).hidden == (Unlike("train.py", "removed", ASSUMED),)


def test_a_sparse_checkout_is_clean(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "x.py").write_text("x")
    commit(folder)
    git(folder, "sparse-checkout", "set", "pkg")
    assert not (folder / "other").exists()
    found = state(folder)
    assert found.unlike == ()
    assert "info/sparse-checkout" in dict(found.inside)


def test_the_text_of_hidden_edits_is_shown(folder: Path) -> None:
    git(folder, "update-index", "--assume-unchanged", "train.py")
    edit(folder / "train.py", "lr = 2\n")
    before = (folder / ".git" / "index").read_bytes()
    found = look(code=folder)
    (one,) = found.states(lambda *_: pytest.fail("nothing is signed"))
    text = found.diff_of("code", one).decode()
    assert "-lr = 1\n+lr = 2\n" in text
    assert (folder / ".git" / "index").read_bytes() == before


# --- what may differ --------------------------------------------------------------------------------------


def test_line_ends_that_git_converts(folder: Path) -> None:
    (folder / "train.py").write_bytes(b"lr = 1\r\n")
    assert state(folder).unlike == (Unlike("train.py", "content changed"),)
    git(folder, "config", "core.autocrlf", "true")
    assert state(folder).unlike == ()
    (folder / "data.bin").write_bytes(b"x" * 2_000_000 + b"\n")
    commit(folder)
    (folder / "data.bin").write_bytes(b"x" * 2_000_000 + b"\r\n")
    assert state(folder).unlike == ()
    git(folder, "config", "core.autocrlf", "false")
    (folder / ".gitattributes").write_text("*.py text\n")
    commit(folder)
    assert state(folder).unlike == ()
    (folder / "train.py").write_bytes(b"lr = 2\r\n")
    assert [one.path for one in state(folder).unlike] == ["train.py"]
    (folder / "train.py").write_bytes(b"lr = 1\r\n")
    (folder / ".gitattributes").write_text("*.py -text\n")
    assert {one.path for one in state(folder).unlike} == {".gitattributes", "train.py"}


def test_line_ends_by_the_account(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "git").mkdir(parents=True)
    (tmp_path / "config" / "git" / "attributes").write_text("* text=auto eol=crlf\n")
    (folder / "train.py").write_bytes(b"lr = 1\r\n")
    assert state(folder).unlike == ()


def test_a_filter_is_not_run_and_no_excuse(folder: Path) -> None:
    (folder / ".git" / "info" / "attributes").write_text("*.py filter=mine\n")
    (folder / "train.py").write_text("lr = 2\n")
    assert [one.path for one in state(folder).unlike] == ["train.py"]  # no such filter is configured
    git(folder, "config", "filter.mine.clean", "touch /nowhere; cat")
    found = state(folder)
    assert found.unlike == ()
    assert found.uncompared == (
        Uncompared("train.py", "a filter called 'mine' may change it, which is not run"),
    )
    assert "filter.mine.clean" in [one.key for one in found.settings]
    assert "info/attributes" in dict(found.inside)


@pytest.mark.parametrize(
    ("attribute", "why"), [("ident", "ident"), ("working-tree-encoding=UTF-16", "another encoding")]
)
def test_other_conversions_are_not_compared(folder: Path, attribute: str, why: str) -> None:
    (folder / ".git" / "info" / "attributes").write_text(f"data.bin {attribute}\n")
    (folder / "data.bin").write_text("other")
    (one,) = state(folder).uncompared
    assert one.path == "data.bin"
    assert why in one.reason


def test_files_of_git_lfs_are_compared_with_their_pointer(tmp_path: Path) -> None:
    content = b"weights" * 400_000
    pointer = (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{hashlib.sha256(content).hexdigest()}\nsize {len(content)}\n"
    )
    folder = make(tmp_path / "r", {"model.bin": pointer, ".gitattributes": "*.bin filter=lfs\n"})
    for name in ("clean", "smudge", "process"):
        git(folder, "config", f"filter.lfs.{name}", "false")
    assert state(folder).unlike == ()  # not fetched
    (folder / "model.bin").write_bytes(content)
    assert (state(folder).unlike, state(folder).uncompared) == ((), ())
    (folder / "model.bin").write_bytes(content[:-1] + b"x")
    assert [one.path for one in state(folder).unlike] == ["model.bin"]


def test_permissions_and_links_where_the_file_system_has_none(folder: Path) -> None:
    os.symlink("train.py", folder / "link")
    commit(folder)
    git(folder, "config", "core.fileMode", "false")
    (folder / "train.py").chmod(0o755)
    (folder / "link").unlink()
    (folder / "link").write_text("train.py")
    git(folder, "config", "core.symlinks", "false")
    assert state(folder).unlike == ()


def test_files_that_were_not_read_are_not_missing(folder: Path) -> None:
    found = look(code=folder / "pkg", more=folder / "train.py")
    found.opened[0].files.present.clear()
    (one,) = found.states(lambda *_: pytest.fail("nothing is signed"))
    assert one.unlike == ()
    assert {it.path for it in one.uncompared} == {"pkg/adamw.py", "train.py"}


def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = make(tmp_path / "r", {"a\nb.py": "1", "ü :(top)*.py": "2"})
    (folder / os.fsdecode(b"\xff.py")).write_text("3")
    commit(folder)
    assert state(folder).unlike == ()
    for path in folder.glob("*.py"):
        path.write_text("4")
    assert {one.path for one in state(folder).unlike} == {"a%0Ab.py", "%C3%BC%20:(top)*.py", "%FF.py"}
    assert state(folder).hidden == ()
