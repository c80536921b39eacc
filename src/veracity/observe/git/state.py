"""The state of the git working tree that a command was started from, for the record of its run.

Author names and dates are not read: whoever commits may write there what he likes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from .command import DIFF, Git, program

MAX_DIFF_LINES = 5_000
MAX_LINE = 1_000
MAX_FILES = 2_000


@dataclass(frozen=True, slots=True)
class GitState:
    """``commit`` is empty before the first one, ``branch`` when HEAD is detached.

    ``dirty``: tracked files that differ from the commit; ``untracked``: Python files not under version
    control and not ignored; ``diff``: unified diff lines of the tracked changes, cut when ``truncated``.
    ``remotes`` are URLs as configured, with any credentials in them.
    """

    root: str
    commit: str
    branch: str
    dirty: list[str]
    untracked: list[str]
    diff: list[str]
    truncated: bool
    remotes: list[str]


def read_git(directory: str) -> GitState | str:
    """State of the repository that holds ``directory``, or a sentence saying why there is none."""
    found = program()
    if found is None:
        return "git is not installed"
    if not os.path.isdir(directory):
        return f"{directory} is not a folder"
    git = Git(found, directory)
    top = git.run("rev-parse", "--show-toplevel")
    if isinstance(top, str):
        return top
    if top.code != 0 or not top.data.strip():
        return "not in a git working tree"
    git = Git(found, os.fsdecode(top.data.rstrip(b"\n")))
    refused = git.refuse_filters()
    if refused:
        return refused
    return _state(git)


def _state(git: Git) -> GitState | str:
    commit = git.text("rev-parse", "--verify", "-q", "HEAD")
    # Before the first commit everything is compared with the empty tree.
    since = commit or git.text("hash-object", "-t", "tree", "/dev/null")
    dirty = git.names(*DIFF, "--name-only", "-z", since, "--")
    untracked = git.names("ls-files", "-z", "--others", "--exclude-standard", "--", "*.py")
    diff = git.run(*DIFF, "--unified=3", since, "--")
    if isinstance(diff, str):
        return diff
    if diff.code != 0:
        return "git could not compare the working tree with its commit"
    lines = diff.data.decode("utf-8", "replace").splitlines()
    remotes = git.text("config", "--get-regexp", r"^remote\..*\.url$").splitlines()
    return GitState(
        root=git.directory,
        commit=commit,
        branch=git.text("symbolic-ref", "-q", "--short", "HEAD"),
        dirty=dirty[:MAX_FILES],
        untracked=untracked[:MAX_FILES],
        diff=[line[:MAX_LINE] for line in lines[:MAX_DIFF_LINES]],
        truncated=diff.truncated
        or len(lines) > MAX_DIFF_LINES
        or max(len(dirty), len(untracked)) > MAX_FILES,
        remotes=[line.partition(" ")[2] for line in remotes[:100]],
    )
