"""What lies between two commits, read by object id and held against it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.observe.git.repos import IDENTITY, git
from veracity.core.errors import EvidenceError, UsageError, VerificationError
from veracity.observe.git.changes import SourceChange, Unreadable, added_lines, read_changes


def commit(folder: Path, **files: str | None) -> str:
    """Write files (None removes one), commit, and return the commit."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py")
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    git(folder, "add", "-A")
    git(folder, *IDENTITY, "commit", "-qm", "m", "--allow-empty")
    return git(folder, "rev-parse", "HEAD").strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "r"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, train_py="a = 1\nb = 2\n", pkg__old_py="x = 1\n" * 5, notes="no python\n")
    return folder


def changes(folder: Path, asked: str = "HEAD~1..HEAD") -> dict[str, SourceChange | Unreadable]:
    return {one.path: one for one in read_changes(str(folder), asked)}


def test_changed_and_added_files_with_their_added_lines(repository: Path) -> None:
    commit(
        repository, train_py="a = 1\nc = 3\nb = 2\n", pkg__new_py="y = 1\n", notes="other\n", pkg__old_py=None
    )
    found = changes(repository)
    assert sorted(found) == ["pkg/new.py", "train.py"]
    one = found["train.py"]
    assert isinstance(one, SourceChange)
    assert (one.before, one.added) == (b"a = 1\nb = 2\n", (2,))
    other = found["pkg/new.py"]
    assert isinstance(other, SourceChange)
    assert other.before is None


def test_a_moved_file_brings_only_what_was_edited_in_it(repository: Path) -> None:
    commit(repository, pkg__old_py=None, lib__old_py="x = 1\n" * 5)
    assert changes(repository) == {}
    commit(repository, lib__old_py=None, far__old_py="x = 1\n" * 5 + "z = 1\n")
    one = changes(repository)["far/old.py"]
    assert isinstance(one, SourceChange)
    assert one.added == (6,)


def test_links_and_names_that_are_no_text(repository: Path) -> None:
    os.symlink("/etc/passwd", repository / "link.py")
    (repository / os.fsdecode(b"\xff.py")).write_text("q = 1\n")
    commit(repository)
    found = changes(repository)
    assert isinstance(found["link.py"], Unreadable)
    assert isinstance(found["\\xff.py"], SourceChange)


def test_three_dots_are_since_the_two_parted(repository: Path) -> None:
    git(repository, "checkout", "-qb", "side")
    commit(repository, side_py="s = 1\n")
    git(repository, "checkout", "-q", "main")
    commit(repository, train_py="a = 9\n")
    assert sorted(changes(repository, "main...side")) == ["side.py"]
    assert sorted(changes(repository, "main..side")) == ["side.py", "train.py"]
    assert sorted(changes(repository, "main~1")) == ["train.py"]


@pytest.mark.parametrize(
    "asked", ["", "..", "nowhere..HEAD", "-x..HEAD", "--all", "HEAD:train.py..HEAD", "a b..HEAD"]
)
def test_what_names_no_commits_is_refused(repository: Path, asked: str) -> None:
    with pytest.raises(UsageError):
        changes(repository, asked)


def test_outside_of_a_repository(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        changes(tmp_path)
    with pytest.raises(UsageError):
        changes(tmp_path / "none")


def test_nothing_that_the_repository_configures_is_started(repository: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    for key in (
        "diff.external",
        "core.fsmonitor",
        "diff.own.textconv",
        "diff.own.command",
        "filter.own.smudge",
    ):
        git(repository, "config", key, f"touch {proof}")
    (repository / ".gitattributes").write_text("*.py diff=own filter=own\n")
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {proof}\n")
    hook.chmod(0o755)
    (repository / "train.py").write_text("a = 5\n")
    git(repository, "-c", "filter.own.smudge=cat", "-c", "core.fsmonitor=false", "add", "-A")
    git(repository, *IDENTITY, "-c", "core.fsmonitor=false", "commit", "-qm", "m")
    proof.unlink(missing_ok=True)
    assert "train.py" in changes(repository)
    assert not proof.exists()


def test_an_object_that_is_not_what_its_id_says_is_refused(repository: Path) -> None:
    commit(repository, train_py="a = 5\n")
    blob, other = (git(repository, "rev-parse", f"HEAD:{name}").strip() for name in ("train.py", "notes"))
    objects = repository / ".git" / "objects"
    target = objects / blob[:2] / blob[2:]
    target.chmod(0o644)
    target.write_bytes((objects / other[:2] / other[2:]).read_bytes())
    with pytest.raises((VerificationError, EvidenceError)):
        changes(repository)


@given(
    st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=12),
    st.lists(st.sampled_from("abcd"), max_size=12),
)
def test_lines_that_are_not_added_stand_in_the_old_text_in_their_order(
    old: list[str], new: list[str]
) -> None:
    before, after = "\n".join(old).encode(), "\n".join(new).encode()
    added = set(added_lines(before, after))
    kept = [line for number, line in enumerate(after.split(b"\n"), 1) if number not in added]
    lines = iter(before.split(b"\n"))
    assert all(line in lines for line in kept)
    assert added_lines(None, after) == tuple(range(1, len(after.split(b"\n")) + 1))
