"""All that a seal says of one repository, read when the files of the sealed parts have been."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeAlias, TypeVar

from ...core.errors import Error
from ...core.quantity import quantity
from ...core.repository import (
    Committed,
    Hook,
    RepositoryState,
    Signature,
    Submodule,
    Uncompared,
    Unlike,
)
from ...core.tree import CHUNK, escaped, unescaped
from ..pyenv import read_small
from .command import DIFF, MAX_OUTPUT, Git
from .committed import CONTENT, MAX_LISTED, REMOVED, CommittedFiles, Conversions, judged
from .hooks import read_hooks
from .objects import Objects, headers, object_id
from .settings import HOOKS_PATH, MAX_SETTINGS, Settings

MAX_TAGS = 20
MAX_WORKTREES = 200
MAX_REPLACED = 1_000
MAX_INSIDE = 16 << 20
MAX_NAMES = 500
INSIDE = (
    "info/attributes",
    "info/exclude",
    "info/grafts",
    "info/sparse-checkout",
    "objects/info/alternates",
    "shallow",
)
"""Files in git's folder that change what git takes for the history, the files, or worth showing."""
ASSUMED, SKIPPED = "assume-unchanged", "skip-worktree"
REMEMBERED, REPLACED = "unchanged by the index' word", "unchanged from a replaced object"
_SIGNED = (b"gpgsig", b"gpgsig-sha256")
_ARMOR = (b"-----BEGIN PGP SIG", b"-----BEGIN PGP MES", b"-----BEGIN SSH SIG", b"-----BEGIN SIGNED MES")
"""How a signature begins; it stands at the end of a tag."""

Judge: TypeAlias = Callable[[str, bytes, bytes], Signature]
"""Says what a signature is worth: of what, the bytes that were signed, the signature."""
Kind = TypeVar("Kind")


@dataclass(slots=True)
class Opened:
    """A repository whose commit is read: ``data`` are the commit's bytes, ``tree`` its folder's id.

    ``places``: where the sealed parts in it lie; ``files``: what the commit has there.
    """

    name: str
    root: str
    folder: str
    common: str
    git: Git
    objects: Objects
    commit: str
    data: bytes
    tree: str
    files: CommittedFiles
    places: list[str] = field(default_factory=list)
    parts: list[Committed] = field(default_factory=list)
    submodules: list[Submodule] = field(default_factory=list)

    def concerns(self, place: str) -> bool:
        """Whether something of it may lie at or below a place, which was sealed."""
        return any(one == place or one.startswith(place.rstrip("/") + "/") for one in self.places)

    @property
    def pathspecs(self) -> list[str]:
        """The sealed parts as git is asked about them, from the root."""
        return ["--", *(os.path.relpath(one, self.root) for one in self.places)]

    def distance(self, old: str, new: str) -> str:
        """How two commits stand to each other, by git's word, for people; empty when it cannot say."""
        if not old or not new:
            return ""
        known = self.git.run("cat-file", "-e", f"{old}^{{commit}}")
        if isinstance(known, str) or known.code != 0:
            return "the sealed commit is not in the repository any more"
        counted = self.git.text("rev-list", "--count", "--left-right", f"{old}...{new}").split()
        if len(counted) != 2 or not all(map(str.isdigit, counted)):
            return ""
        gone, added = map(int, counted)
        if gone and added:
            return f"not a successor: {quantity(added, 'commit')} more, {quantity(gone, 'commit')} missing"
        return f"{quantity(added, 'commit')} later" if added else f"{quantity(gone, 'commit')} back"

    def diff(self, names: Sequence[str]) -> bytes:
        """The text of how files differ from the commit, by git but not by its index; cut at 4 MiB."""
        asked = [os.fsdecode(unescaped(one)) for one in names[:MAX_NAMES]]
        if not asked or not self.commit:
            return b""
        with tempfile.TemporaryDirectory(prefix="veracity-") as folder:
            # An index of the commit without what git remembers of files: it has to look at each.
            index = os.path.join(folder, "index")
            self.git.required("read-tree", self.commit, index=index)
            return self.git.required(
                *DIFF, "--unified=3", self.commit, "--", *asked, index=index, cut_at=MAX_OUTPUT
            )


@dataclass(slots=True)
class _Notes:
    """What was cut, and what could not be found out."""

    cut: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def asked(self, what: str, read: Callable[[], Kind], otherwise: Kind) -> Kind:
        """What ``read`` gives; when it cannot, the reason is noted."""
        try:
            return read()
        except Error as error:
            self.unread.append(f"{what}: {error.diagnostics().what}")
        except OSError as error:
            self.unread.append(f"{what}: {error.strerror or error}")
        return otherwise

    def told(self, what: str, read: Callable[[], Kind], otherwise: Kind) -> Kind:
        """The same of what is only told and never compared: nothing rests on it."""
        try:
            return read()
        except Error:
            self.cut.append(what)
        return otherwise

    def bounded(self, what: str, items: Sequence[Kind], limit: int) -> tuple[Kind, ...]:
        """The first so many of what is only told."""
        if len(items) > limit:
            self.cut.append(what)
        return tuple(items[:limit])

    def all_of(self, what: str, items: Sequence[Kind], limit: int) -> tuple[Kind, ...]:
        """The first so many of what is compared: something could be hidden behind them."""
        if len(items) > limit:
            self.unread.append(f"{what}: there are more than {limit:,}")
        return tuple(items[:limit])


def read_state(one: Opened, judge: Judge) -> RepositoryState:
    """What a repository is now; raises EvidenceError when its settings cannot be read."""
    notes = _Notes()
    settings = Settings(one.git)
    hooks_folder, hooks_by = _hooks_folder(one, settings)
    nothing: tuple[list[Hook], bool] = ([], False)
    hooks, more = notes.asked("hooks", lambda: read_hooks(hooks_folder), nothing)
    notes.unread += [f"hooks: there are more than {len(hooks):,} files"] if more else []
    notes.unread += [f"hook {hook.name}" for hook in hooks if hook.runs and not hook.sha256]
    none: dict[str, str] = {}
    flags = notes.asked("flags of the index", lambda: dict(_flagged(one)), none)
    present = {path: flag for path, flag in flags.items() if flag == ASSUMED or _is_present(path, one)}
    state = RepositoryState(
        name=one.name,
        root=escaped(os.fsencode(one.root)),
        folder=_shown(one.folder, one.root),
        common=_shown(one.common, one.root),
        algorithm=one.objects.algorithm,
        account=os.getuid(),
        commit=one.commit,
        branch=one.git.text("symbolic-ref", "-q", "--short", "HEAD"),
        parts=tuple(one.parts),
        signatures=notes.asked("signatures", lambda: tuple(_signatures(one, judge)), ()),
        hooks_folder=_shown(hooks_folder, one.root),
        hooks_by=hooks_by,
        hooks=tuple(hooks),
        settings=notes.all_of("settings", settings.starting(), MAX_SETTINGS),
        submodules=notes.all_of("submodules", one.submodules, MAX_LISTED),
        worktrees=notes.bounded("worktrees", list(_worktrees(one.common)), MAX_WORKTREES),
        inside=tuple(_inside(one, notes)),
        replaced=notes.all_of(
            "replaced objects", notes.asked("replaced objects", lambda: _replaced(one.git), []), MAX_REPLACED
        ),
        flagged=notes.bounded("flagged", sorted(present.items()), MAX_LISTED),
        compared=0,
        unlike=(),
        uncompared=(),
        untracked=notes.told("untracked", lambda: _untracked(one, notes), ()),
        ignored=notes.told("ignored", lambda: _ignored(one, notes), ()),
    )
    return _compared(state, one, settings, flags, notes)


def _compared(
    state: RepositoryState, one: Opened, settings: Settings, flags: dict[str, str], notes: _Notes
) -> RepositoryState:
    """The state with what was found about the files."""
    drivers = [setting.key.split(".") for setting in settings.starting()]
    conversions = Conversions(
        settings.is_true("core.autocrlf", False),
        settings.is_true("core.filemode", True),
        settings.is_true("core.symlinks", True),
        frozenset(".".join(words[1:-1]) for words in drivers if words[0] == "filter"),
        settings.attributes(),
    )
    nothing: tuple[list[Unlike], list[Uncompared], int] = ([], [], 0)
    unlike, uncompared, compared = notes.asked(
        "files beside the commit", lambda: judged(one.git, one.objects, one.files, conversions), nothing
    )
    if settings.is_true("core.sparsecheckout", False):  # on purpose not all is checked out
        unlike = [it for it in unlike if not (it.change == REMOVED and flags.get(it.path) == SKIPPED)]
    everything = {it.path for it in unlike}
    visible = notes.asked("what git status shows", lambda: _visible(one), everything)
    why = REPLACED if state.replaced else REMEMBERED
    unlike = [replace(it, hidden=_hidden(it, one, visible, flags.get(it.path, why))) for it in unlike]
    unlike.sort(key=lambda it: (not it.hidden, it.path))
    return replace(
        state,
        compared=compared,
        unlike=notes.bounded("unlike", unlike, MAX_LISTED),
        uncompared=notes.bounded("uncompared", uncompared, MAX_LISTED),
        cut=tuple(notes.cut),
        unread=tuple(notes.unread),
    )


def _hidden(it: Unlike, one: Opened, visible: set[str], why: str) -> str:
    """Why git does not show a file that differs; empty when it does, or when the file differs no more."""
    return "" if it.path in visible or not _still_differs(it, one) else why


def _still_differs(it: Unlike, one: Opened) -> bool:
    """Look again: between the reading and git's look somebody may have saved the file."""
    path = os.path.join(os.fsencode(one.root), unescaped(it.path))
    if it.change != CONTENT:
        return True
    wanted = one.files.tracked[path]
    try:
        status = os.lstat(path)
    except OSError:
        return False
    if stat.S_ISLNK(status.st_mode):
        return object_id(one.objects.algorithm, "blob", os.readlink(path)) != wanted.object
    data = read_small(os.fsdecode(path), CHUNK)
    return data is not None and object_id(one.objects.algorithm, "blob", data) != wanted.object


def _visible(one: Opened) -> set[str]:
    """What git itself takes for changed, as a person is shown it: by its index, and by replaced objects."""
    if not one.commit:
        return set()
    listed = one.git.required(*DIFF, "--name-only", "-z", one.commit, *one.pathspecs, replaced=True)
    return {escaped(name) for name in listed.split(b"\0") if name}


def _flagged(one: Opened) -> Iterator[tuple[str, str]]:
    """Files that are there and that git is told not to look at, and those it is told to leave out."""
    for line in one.git.required("ls-files", "-v", "-z", *one.pathspecs).split(b"\0"):
        tag, _, name = line.partition(b" ")
        if tag.islower():
            yield escaped(name), ASSUMED
        elif tag == b"S":
            yield escaped(name), SKIPPED


def _is_present(path: str, one: Opened) -> bool:
    return os.path.join(os.fsencode(one.root), unescaped(path)) in one.files.present


def _untracked(one: Opened, notes: _Notes) -> tuple[str, ...]:
    """Files, and folders without any file that git knows."""
    words = ("ls-files", "-z", "--others", "--directory", "--exclude-standard", *one.pathspecs)
    listed = one.git.required(*words, account=True)
    return notes.bounded("untracked", [escaped(name) for name in listed.split(b"\0") if name], MAX_LISTED)


def _ignored(one: Opened, notes: _Notes) -> tuple[str, ...]:
    """What the repository's own list of exceptions, which is in no commit, keeps from being shown."""
    path = os.path.join(one.common, "info", "exclude")
    data = read_small(path, MAX_INSIDE)
    if data is None or all(not line.strip() or line.startswith(b"#") for line in data.splitlines()):
        return ()
    listed = one.git.required(
        "ls-files", "-z", "--others", "--ignored", "--directory", f"--exclude-from={path}", *one.pathspecs
    )
    found = [escaped(name) for name in listed.split(b"\0") if name]
    return notes.bounded("ignored", found, MAX_LISTED)


def _hooks_folder(one: Opened, settings: Settings) -> tuple[str, str]:
    """Where git looks for hooks, and the scope of the setting that says so; empty without one."""
    scope, value = settings.last(HOOKS_PATH)
    if not scope or not value:
        return os.path.join(one.common, "hooks"), ""
    return os.path.normpath(os.path.join(one.root, os.path.expanduser(value))), scope


def _signatures(one: Opened, judge: Judge) -> Iterator[Signature]:
    signed = dict(headers(one.data))
    for name in _SIGNED:
        if name in signed:
            yield judge("commit", _unsigned(one.data), signed[name])
            break
    if not one.commit:
        return
    listed = one.git.required(
        "for-each-ref",
        f"--points-at={one.commit}",
        "--format=%(objecttype) %(objectname) %(refname:strip=2)",
        "refs/tags",
    )
    lines = (line.split(b" ", 2) for line in listed.splitlines())
    tags = [words for words in lines if len(words) == 3 and words[0] == b"tag"]
    for _, name, label in islice(tags, MAX_TAGS):
        data = one.objects.one(name.decode("ascii", "replace"), "tag")
        begin = max(data.rfind(b"\n" + mark) for mark in _ARMOR) + 1
        if begin > 0:
            yield judge(f"tag {escaped(label)}", data[:begin], data[begin:])


def _unsigned(data: bytes) -> bytes:
    """A commit without its signatures: what was signed."""
    kept, leaving = [], False
    head, blank, text = data.partition(b"\n\n")
    for line in head.split(b"\n"):
        leaving = line.startswith(b" ") if leaving else False
        leaving = leaving or line.partition(b" ")[0] in _SIGNED
        if not leaving:
            kept.append(line)
    return b"\n".join(kept) + blank + text


def _worktrees(common: str) -> Iterator[str]:
    """The other working trees of the repository, by where git notes them."""
    try:
        with os.scandir(os.path.join(common, "worktrees")) as listing:
            names = sorted(item.path for item in islice(listing, MAX_WORKTREES + 1))
    except OSError:
        return
    for name in names:
        data = read_small(os.path.join(name, "gitdir"), 8_192)
        if data is not None:
            yield escaped(os.path.dirname(data.strip()) or b".")


def _inside(one: Opened, notes: _Notes) -> Iterator[tuple[str, str]]:
    for name in INSIDE:
        # What is checked out is a working tree's own; all else is shared.
        folder = one.folder if name == "info/sparse-checkout" else one.common
        path = os.path.join(folder, name)
        if os.path.lexists(path):
            data = read_small(path, MAX_INSIDE)
            if data is None:
                notes.unread.append(f"{name}: it cannot be read")
            else:
                yield name, hashlib.sha256(data).hexdigest()


def _replaced(git: Git) -> list[tuple[str, str]]:
    listed = git.required("for-each-ref", "--format=%(refname:strip=2) %(objectname)", "refs/replace")
    pairs = (line.partition(b" ") for line in listed.splitlines())
    return [(escaped(of), escaped(by)) for of, _, by in pairs]


def _shown(path: str, root: str) -> str:
    """A path, relative to the working tree when it lies in it."""
    inside = os.path.relpath(path, root)
    lies_in = inside != ".." and not inside.startswith("../")
    return escaped(os.fsencode(inside if lies_in else path))
