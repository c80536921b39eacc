"""What of a git repository is not as it was sealed, in people's words, the worst first.

Only what bears on what runs, or on what git starts or hides, counts as a difference. Commits that touch none
of the sealed parts, branches, other working trees and lists of ignored files are told and do not count.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ..core.quantity import quantity
from ..core.repository import Hook, RepositoryState
from ..core.tree import unescaped

ACCOUNTS = ("global", "system")
SHOWN = 12
"""Digits of a commit's id that are shown."""
MAX_NAMED = 5
ATTRIBUTES, EXCLUDE, SPARSE, SHALLOW = (
    "info/attributes",
    "info/exclude",
    "info/sparse-checkout",
    "shallow",
)

LFS = (
    ("filter.lfs.clean", "git-lfs clean -- %f"),
    ("filter.lfs.smudge", "git-lfs smudge -- %f"),
    ("filter.lfs.process", "git-lfs filter-process"),
)
"""What ``git lfs install`` writes."""
_UNASKED = re.compile(
    r"core\.(?:fsmonitor|hookspath|sshcommand|gitproxy|worktree|attributesfile)|(?:filter|hook|uploadpack)\..*"
)
"""Settings that act while git does something else, whoever asked it to."""

Distance: TypeAlias = Callable[[str, str], str]
"""How two commits stand to each other, for people; empty when nobody can say."""


class GitChange(Enum):
    """What happened, the worst first."""

    HIDDEN = "edit that git status does not show"
    HOOK_ADDED = "git hook added"
    HOOK_CHANGED = "git hook changed"
    HOOKS_ELSEWHERE = "git takes its hooks from elsewhere"
    SETTING_ADDED = "git setting added"
    SETTING_CHANGED = "git setting changed"
    HISTORY = "git takes other objects for those of the history"
    ATTRIBUTES = "git attributes changed"
    SUBMODULE = "submodule at another commit"
    COMMIT = "another commit"
    FOLDER = "another git folder"
    GONE = "no git repository any more"
    HOOK_REMOVED = "git hook removed"
    SETTING_REMOVED = "git setting removed"
    BESIDE = "file beside the git hooks changed"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class RepositoryChanged:
    """One thing that changed: what happened to what, and how.

    ``place`` is the file it stands in, absolute, or empty. ``differs``: it counts as a difference.
    """

    change: GitChange
    subject: str
    detail: str = ""
    place: bytes = b""
    differs: bool = True


def compare_states(
    before: RepositoryState,
    after: RepositoryState,
    *,
    distance: Distance | None = None,
    changed: Collection[bytes] = (),
    submodule: bool = False,
) -> list[RepositoryChanged]:
    """What changed from one state to another. ``changed``: files that are not as they were sealed, absolute.

    ``submodule``: another repository holds this one.
    """
    same_account = before.account == after.account
    found = [
        *_hidden(before, after, changed),
        *_hooks(before, after, same_account),
        *_settings(before, after, same_account),
        *_history(before, after),
        *_commit(before, after, distance, submodule),
        *_notes(before, after, same_account),
    ]
    order = {change: at for at, change in enumerate(GitChange)}
    return sorted(found, key=lambda one: (not one.differs, order[one.change], one.subject))


def _hidden(
    before: RepositoryState, after: RepositoryState, changed: Collection[bytes]
) -> Iterator[RepositoryChanged]:
    """A file that was not hidden before; it counts when it is not as it was sealed."""
    was = {one.path for one in before.hidden}
    for one in after.hidden:
        place = _place(after, one.path)
        if one.path not in was or place in changed:
            yield RepositoryChanged(
                GitChange.HIDDEN, one.path, f"{one.change}, {one.hidden}", place, place in changed
            )


def _hooks(
    before: RepositoryState, after: RepositoryState, same_account: bool
) -> Iterator[RepositoryChanged]:
    if not same_account and (before.hooks_by in ACCOUNTS or after.hooks_by in ACCOUNTS):
        return
    if any(one.startswith("hooks: ") for one in after.unread):
        return  # that they could not be read is said; that they are gone would not be true
    if before.hooks_folder != after.hooks_folder:
        yield RepositoryChanged(
            GitChange.HOOKS_ELSEWHERE, after.hooks_folder, f"before from {before.hooks_folder}"
        )
    folder = os.path.join(unescaped(after.root), unescaped(after.hooks_folder))
    was, now = ({one.name: one for one in state.hooks} for state in (before, after))
    for name in sorted(was.keys() | now.keys()):
        change = _hook_change(was.get(name), now.get(name))
        if change is not None:
            yield RepositoryChanged(
                change,
                name,
                _hook_detail(was.get(name), now.get(name)),
                os.path.join(folder, unescaped(name)) if name in now else b"",
            )


def _hook_change(was: Hook | None, now: Hook | None) -> GitChange | None:
    if was == now:
        return None
    if now is None:
        return GitChange.HOOK_REMOVED if was is not None and was.runs else GitChange.BESIDE
    if not now.runs:
        return GitChange.HOOK_REMOVED if was is not None and was.runs else GitChange.BESIDE
    return GitChange.HOOK_CHANGED if was is not None and was.runs else GitChange.HOOK_ADDED


def _hook_detail(was: Hook | None, now: Hook | None) -> str:
    if was is None or now is None:
        one = was or now
        return "" if one is None else quantity(one.size, "byte")
    if was.target != now.target:
        return f"{was.target or 'no link'} → {now.target or 'no link'}"
    if was.sha256 == now.sha256:
        return f"{was.mode:o} → {now.mode:o}"
    size = quantity(now.size, "byte")
    return f"{was.size:,} → {size}" if was.size != now.size else size


def _settings(
    before: RepositoryState, after: RepositoryState, same_account: bool
) -> Iterator[RepositoryChanged]:
    was, now = (
        Counter(
            (one.scope, one.key, one.value)
            for one in state.settings
            if same_account or one.scope not in ACCOUNTS
        )
        for state in (before, after)
    )
    gone, new = was - now, now - was
    for scope, key, value in sorted(new):
        olds = [old for old in gone if old[:2] == (scope, key)]
        place = _origin(after, scope, key, value)
        counts = _counts(scope, key, value)
        if olds:
            del gone[olds[0]]
            detail = f"{olds[0][2]} → {value} ({scope})"
            yield RepositoryChanged(GitChange.SETTING_CHANGED, key, detail, place, counts)
        else:
            yield RepositoryChanged(GitChange.SETTING_ADDED, key, f"{value} ({scope})", place, counts)
    for scope, key, value in sorted(gone):
        counts = _counts(scope, key, value)
        yield RepositoryChanged(GitChange.SETTING_REMOVED, key, f"{value} ({scope})", differs=counts)


def _counts(scope: str, key: str, value: str) -> bool:
    """Whether a setting is more than a person's own choice of an editor, a pager, a password store."""
    if (key, value) in LFS:
        return False
    return scope not in ACCOUNTS or _UNASKED.fullmatch(key) is not None


def _origin(state: RepositoryState, scope: str, key: str, value: str) -> bytes:
    """The file that a setting stands in."""
    for one in state.settings:
        if (one.scope, one.key, one.value) == (scope, key, value) and one.origin:
            return os.path.join(unescaped(state.root), unescaped(one.origin))
    return b""


def _history(before: RepositoryState, after: RepositoryState) -> Iterator[RepositoryChanged]:
    if (before.folder, before.common) != (after.folder, after.common):
        yield RepositoryChanged(GitChange.FOLDER, after.folder, f"before {before.folder}")
    was, now = dict(before.inside), dict(after.inside)
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) == now.get(name):
            continue
        word = "added" if name not in was else "removed" if name not in now else "changed"
        told_only = name in (EXCLUDE, SPARSE, SHALLOW)
        kind = GitChange.NOTE if told_only else GitChange.HISTORY
        kind = GitChange.ATTRIBUTES if name == ATTRIBUTES else kind
        place = os.path.join(unescaped(after.root), unescaped(after.common), name.encode("ascii", "replace"))
        yield RepositoryChanged(kind, name, word, place if name in now else b"", not told_only)
    for of, by in sorted(set(after.replaced) - set(before.replaced)):
        yield RepositoryChanged(GitChange.HISTORY, of[:SHOWN], f"replaced by {by[:SHOWN]}")
    for of, by in sorted(set(before.replaced) - set(after.replaced)):
        yield RepositoryChanged(GitChange.HISTORY, of[:SHOWN], f"replaced by {by[:SHOWN]} no more")


def _commit(
    before: RepositoryState, after: RepositoryState, distance: Distance | None, submodule: bool
) -> Iterator[RepositoryChanged]:
    was, now = ({one.path: one for one in state.submodules} for state in (before, after))
    for path in sorted(was.keys() & now.keys()):
        old, new = was[path].checked_out, now[path].checked_out
        if bool(old) != bool(new):
            detail = "nothing is checked out any more" if old else "checked out since"
            yield RepositoryChanged(GitChange.SUBMODULE, path, detail)
    if before.commit == after.commit:
        return
    ids = f"{before.commit[:SHOWN] or 'none'} → {after.commit[:SHOWN] or 'none'}"
    far = distance(before.commit, after.commit) if distance is not None else ""
    objects = {one.part: one.object for one in after.parts}
    touched = any(objects.get(one.part, "") != one.object for one in before.parts)
    said = [ids, far, *_signed(before, after)]
    said += [] if touched else ["no file of what is sealed is another in it"]
    kind = GitChange.SUBMODULE if submodule else GitChange.COMMIT
    yield RepositoryChanged(kind, before.name, ", ".join(filter(None, said)), differs=touched or submodule)


def _signed(before: RepositoryState, after: RepositoryState) -> Iterator[str]:
    """How the signatures of two commits differ."""
    one, other = ([it for it in state.signatures if it.of == "commit"] for state in (before, after))
    if one and not other:
        yield "the sealed one was signed, this one is not"
    elif one and other and one[0].key != other[0].key:
        yield f"signed by another key, {other[0].key or 'which it does not name'} ({other[0].standing})"
    elif other and other[0].standing.startswith("does not"):
        yield f"its signature {other[0].standing}"


def _notes(
    before: RepositoryState, after: RepositoryState, same_account: bool
) -> Iterator[RepositoryChanged]:
    def note(subject: str, detail: str) -> RepositoryChanged:
        return RepositoryChanged(GitChange.NOTE, subject, detail, differs=False)

    if not same_account:
        yield note("settings of the account", "not compared: another account reads them now")
    if before.branch != after.branch:
        yield note("branch", f"{before.branch or 'none'} → {after.branch or 'none'}")
    flagged = sorted(set(after.flagged) - set(before.flagged))
    for flag in sorted({flag for _, flag in flagged}):
        yield note(f"marked {flag} since", _named([path for path, its in flagged if its == flag]))
    ignored = sorted(set(after.ignored) - set(before.ignored))
    if ignored:
        yield note(f"kept from git status by {EXCLUDE}", _named(ignored))
    for trees, word in (
        (set(after.worktrees) - set(before.worktrees), "added"),
        (set(before.worktrees) - set(after.worktrees), "gone"),
    ):
        if trees:
            yield note(f"working tree {word}", _named(sorted(trees)))


def _named(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _place(state: RepositoryState, path: str) -> bytes:
    return os.path.join(unescaped(state.root), unescaped(path))
