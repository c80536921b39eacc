"""What changed of a repository, and what of it counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from veracity.core.repository import (
    Committed,
    Hook,
    RepositoryState,
    Setting,
    Signature,
    Submodule,
    Unlike,
)
from veracity.seal.repositories import document_of, read_states
from veracity.seal.repositorychange import GitChange, RepositoryChanged, compare_states

HOOK = Hook("pre-commit", 0o755, 10, "a" * 64, True)
BESIDE = Hook("lib.sh", 0o644, 10, "a" * 64, False)
STATE = RepositoryState(
    name="code",
    root="/r",
    folder=".git",
    common=".git",
    algorithm="sha1",
    account=1000,
    commit="1" * 40,
    branch="main",
    parts=(Committed("code", "", "t" * 40),),
    signatures=(Signature("commit", "ssh", "SHA256:k", "holds"),),
    hooks_folder=".git/hooks",
    hooks_by="",
    hooks=(BESIDE, HOOK),
    settings=(Setting("global", "/h/.gitconfig", "core.editor", "vim"),),
    submodules=(Submodule("sub", "2" * 40, "2" * 40),),
    worktrees=(),
    inside=(("info/exclude", "e" * 64),),
    replaced=(),
    flagged=(),
    compared=3,
    unlike=(Unlike("a.py", "content changed"),),
    uncompared=(),
    untracked=("x.py",),
    ignored=(),
)


def changes(after: RepositoryState, **more: object) -> list[tuple[GitChange, str, bool]]:
    found = compare_states(STATE, after, **more)  # type: ignore[arg-type]
    return [(one.change, one.subject, one.differs) for one in found]


def test_nothing() -> None:
    assert changes(replace(STATE, untracked=(), diff="d" * 64, unlike=())) == []


def test_the_worst_comes_first() -> None:
    after = replace(
        STATE,
        branch="",
        hooks=(replace(BESIDE, sha256="b" * 64), replace(HOOK, sha256="b" * 64)),
        settings=(*STATE.settings, Setting("local", ".git/config", "core.fsmonitor", "x")),
        unlike=(Unlike("a.py", "content changed", "assume-unchanged"),),
    )
    assert changes(after, changed={b"/r/a.py"}) == [
        (GitChange.HIDDEN, "a.py", True),
        (GitChange.HOOK_CHANGED, "pre-commit", True),
        (GitChange.SETTING_ADDED, "core.fsmonitor", True),
        (GitChange.BESIDE, "lib.sh", True),
        (GitChange.NOTE, "branch", False),
    ]
    assert changes(after)[-2:] == [(GitChange.HIDDEN, "a.py", False), (GitChange.NOTE, "branch", False)]


@pytest.mark.parametrize(
    ("hooks", "change"),
    [
        ((BESIDE,), GitChange.HOOK_REMOVED),
        ((BESIDE, HOOK, Hook("post-merge", 0o755, 1, "c", True)), GitChange.HOOK_ADDED),
        ((replace(BESIDE, mode=0o755, runs=True), HOOK), GitChange.HOOK_ADDED),
        ((BESIDE, replace(HOOK, target="/elsewhere")), GitChange.HOOK_CHANGED),
        ((BESIDE, replace(HOOK, mode=0o644, runs=False)), GitChange.HOOK_REMOVED),
        ((HOOK,), GitChange.BESIDE),
    ],
)
def test_hooks(hooks: tuple[Hook, ...], change: GitChange) -> None:
    assert [one for one, _, _ in changes(replace(STATE, hooks=hooks))] == [change]


@pytest.mark.parametrize(
    ("setting", "change", "differs"),
    [
        (Setting("global", "/h", "core.editor", "nano"), GitChange.SETTING_CHANGED, False),
        (Setting("global", "/h", "core.hookspath", "/x"), GitChange.SETTING_ADDED, True),
        (Setting("system", "/h", "filter.x.clean", "/x"), GitChange.SETTING_ADDED, True),
        (Setting("global", "/h", "filter.lfs.clean", "git-lfs clean -- %f"), GitChange.SETTING_ADDED, False),
        (Setting("global", "/h", "filter.lfs.clean", "git-lfs clean; x"), GitChange.SETTING_ADDED, True),
        (Setting("local", ".git/config", "core.editor", "x"), GitChange.SETTING_ADDED, True),
    ],
)
def test_settings_of_a_person_do_not_count(setting: Setting, change: GitChange, differs: bool) -> None:
    settings = (setting,) if setting.value == "nano" else (*STATE.settings, setting)
    assert changes(replace(STATE, settings=settings)) == [(change, setting.key, differs)]


def test_hooks_that_could_not_be_read_are_not_called_gone() -> None:
    assert changes(replace(STATE, hooks=(), unread=("hooks: Permission denied",))) == []


def test_another_account_has_other_settings() -> None:
    after = replace(STATE, account=0, settings=(), hooks_by="global", hooks_folder="/root/hooks", hooks=())
    assert changes(after) == [(GitChange.NOTE, "settings of the account", False)]


def test_a_commit_counts_when_it_touches_what_is_sealed() -> None:
    after = replace(STATE, commit="3" * 40)
    assert changes(after) == [(GitChange.COMMIT, "code", False)]
    after = replace(after, parts=(Committed("code", "", "u" * 40),), signatures=())
    (one,) = compare_states(STATE, after, distance=lambda *_: "3 commits later")
    detail = "111111111111 → 333333333333, 3 commits later, the sealed one was signed, this one is not"
    assert one == RepositoryChanged(GitChange.COMMIT, "code", detail)
    other = replace(after, signatures=(Signature("commit", "ssh", "SHA256:x", "does not hold: x"),))
    assert "signed by another key, SHA256:x" in compare_states(STATE, other)[0].detail
    assert changes(replace(STATE, commit="3" * 40), submodule=True) == [(GitChange.SUBMODULE, "code", True)]
    gone = replace(STATE, submodules=(Submodule("sub", "2" * 40, ""),))
    assert changes(gone) == [(GitChange.SUBMODULE, "sub", True)]


@pytest.mark.parametrize(
    ("inside", "change", "differs"),
    [
        ((("info/exclude", "f"),), GitChange.NOTE, False),
        ((), GitChange.NOTE, False),
        ((*STATE.inside, ("info/attributes", "f")), GitChange.ATTRIBUTES, True),
        ((*STATE.inside, ("objects/info/alternates", "f")), GitChange.HISTORY, True),
        ((*STATE.inside, ("info/grafts", "f")), GitChange.HISTORY, True),
    ],
)
def test_files_of_git(inside: tuple[tuple[str, str], ...], change: GitChange, differs: bool) -> None:
    assert [(one, counts) for one, _, counts in changes(replace(STATE, inside=inside))] == [(change, differs)]


def test_other_things() -> None:
    assert changes(replace(STATE, folder="/x", common="/x"))[0][0] is GitChange.FOLDER
    assert changes(replace(STATE, replaced=(("a", "b"),)))[0][0] is GitChange.HISTORY
    notes = replace(STATE, flagged=(("a", "assume-unchanged"),), ignored=("x",), worktrees=("/w",))
    assert [subject for _, subject, _ in changes(notes)] == [
        "kept from git status by info/exclude",
        "marked assume-unchanged since",
        "working tree added",
    ]


def test_a_state_stands_in_a_document() -> None:
    assert read_states(document_of([STATE])) == (STATE,)
