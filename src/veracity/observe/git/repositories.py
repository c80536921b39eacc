"""The repositories that sealed places lie in: found before the places are read, told of afterwards.

A repository is told of when one of the places is its working tree, or its commit has something there. What is
checked out of its submodules is a repository of its own. The folder in which git keeps a repository is left
out of what is sealed file by file, since git rewrites it all the time; what in it decides what git does is
told of here instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import Error, EvidenceError
from ...core.repository import Committed, RepositoryState, Submodule
from ...core.tree import TreeEntry, escaped
from ..tree import Content, Seen
from .command import Git, program
from .committed import CommittedFiles
from .objects import FOLDER, SUBMODULE, Objects, Tracked, headers
from .reading import Judge, Opened, read_state

MAX_REPOSITORIES = 64
MAX_SUBMODULES = 2_000
GIT, ANNEX = ".git", "annex"
_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


@dataclass(slots=True)
class Repositories:
    """What was found. ``reasons``: the part, and why what it lies in could not be read.

    Between :func:`find_repositories` and :meth:`states` the places are to be read with what :meth:`content`
    and :meth:`seen` give.
    """

    opened: list[Opened] = field(default_factory=list)
    reasons: list[tuple[str, str]] = field(default_factory=list)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of git itself that lie in the working trees, to be left out.

        One in which git-annex keeps the content of files is not: links in the working tree lead there.
        """
        own = [one.folder for one in self.opened if os.path.basename(one.folder) == GIT]
        return tuple(
            one for one in own if os.path.isdir(one) and not os.path.lexists(os.path.join(one, ANNEX))
        )

    def content(self, place: str) -> Content | None:
        """Takes in what is read of the files below a place; None when no repository has any there."""
        files, start = self._files(place), os.fsencode(place)
        if not files:
            return None

        def taken(path: bytes, size: int, blocks: Iterable[bytes]) -> None:
            whole = _join(start, path)
            for one in files:
                if whole in one.tracked:
                    one.content(whole, size, blocks)
                    return

        return taken

    def seen(self, place: str) -> Seen | None:
        """Takes in what lies in the folders below a place; None when no repository has any there."""
        files, start = self._files(place), os.fsencode(place)
        if not files:
            return None

        def taken(path: bytes, entries: Sequence[TreeEntry]) -> None:
            folder = _join(start, path)
            for one in files:
                for entry in entries:
                    one.entry(_join(folder, entry.name), entry)

        return taken

    def root(self, place: str, entry: TreeEntry) -> None:
        """Take in what lies at a place itself."""
        for one in self._files(place):
            one.entry(os.fsencode(place), entry)

    def states(self, judge: Judge) -> tuple[RepositoryState, ...]:
        """What the repositories are, when the places have been read."""
        found = []
        for one in self.opened:
            try:
                found.append(read_state(one, judge))
            except Error as error:
                self.reasons.append((one.name, str(error)))
        return tuple(found)

    def distance(self, name: str, old: str, new: str) -> str:
        """How two commits of a repository stand to each other, for people; empty when nobody can say."""
        return next((one.distance(old, new) for one in self.opened if one.name == name), "")

    def diff_of(self, name: str, judged: RepositoryState) -> bytes:
        """The text of what differs from the commit, cut at some megabytes; raises EvidenceError."""
        one = next(one for one in self.opened if one.name == name)
        return one.diff([change.path for change in judged.unlike])

    def _files(self, place: str) -> list[CommittedFiles]:
        return [one.files for one in self.opened if one.files.tracked and one.concerns(place)]


def find_repositories(places: Mapping[str, Path]) -> Repositories:
    """The repositories of these places, by the names of the sealed parts; never raises for a hostile one."""
    found = Repositories()
    git = program()
    by_root: dict[str, Opened] = {}
    for name, path in places.items():
        real = os.path.realpath(path)
        above = _nearest(real)
        if above is None:
            continue
        if git is None:
            found.reasons.append((name, "git is not installed"))
            continue
        try:
            _open(found, git, by_root, name, real, above)
        except Error as error:
            found.reasons.append((name, error.diagnostics().what))
    for one in list(found.opened):
        try:
            _open_submodules(found, str(git), one)
        except Error as error:
            found.reasons.append((one.name, error.diagnostics().what))
    return found


def _nearest(path: str) -> str | None:
    """The path, or the nearest above it, that has a folder of git, or a file that leads to one."""
    while True:
        inside = os.path.join(path, GIT)
        if os.path.isfile(inside) or os.path.lexists(os.path.join(inside, "HEAD")):
            return path
        above = os.path.dirname(path)
        if above == path:
            return None
        path = above


def _open(
    found: Repositories, program: str, by_root: dict[str, Opened], name: str, real: str, above: str
) -> None:
    directory = real if os.path.isdir(real) else os.path.dirname(real)
    top = Git(program, directory).run("rev-parse", "--show-toplevel")
    if isinstance(top, str):
        raise EvidenceError(top)
    root = os.fsdecode(top.data.removesuffix(b"\n"))
    if top.code != 0 or not root:
        if _is_git_folder(real, above):
            return  # sealed as what it is: files
        raise EvidenceError("git does not take the repository here for one")
    if root != above:
        raise EvidenceError("the repository's settings place its working tree elsewhere")
    one = by_root.get(root)
    if one is None:
        one = open_repository(program, root, name)
    if _add_part(one, name, real) or real == root:
        if root not in by_root:
            found.opened.append(one)
        by_root[root] = one


def _is_git_folder(path: str, above: str) -> bool:
    """Whether a path lies in git's own folder, or is a repository without a working tree."""
    return GIT in path.split(os.sep) or (path != above and os.path.isfile(os.path.join(path, "HEAD")))


def open_repository(program: str, root: str, name: str) -> Opened:
    """Read which commit a working tree is at; raises EvidenceError, VerificationError."""
    git = Git(program, root)
    refused = git.refuse_filters()
    if refused:
        raise EvidenceError(refused)
    folder = _line(git.required("rev-parse", "--absolute-git-dir"))
    common = os.path.normpath(os.path.join(root, _line(git.required("rev-parse", "--git-common-dir"))))
    algorithm = _line(git.required("rev-parse", "--show-object-format"))
    head = git.run("rev-parse", "--verify", "-q", "HEAD")
    if isinstance(head, str):
        raise EvidenceError(head)
    commit = head.data.decode("ascii", "replace").strip() if head.code == 0 else ""
    if commit and not _ID.match(commit):
        raise EvidenceError("git names the commit in a form that is not known here")
    objects = Objects(git, algorithm)
    tree, data = "", b""
    if commit:
        data = objects.one(commit, "commit")
        first, value = next(headers(data), (b"", b""))  # of two trees git takes the first
        tree = value.decode("ascii", "replace")
        if first != b"tree" or not _ID.match(tree):
            raise EvidenceError("the commit is malformed")
    return Opened(name, root, folder, common, git, objects, commit, data, tree, CommittedFiles(algorithm))


def _line(data: bytes) -> str:
    return os.fsdecode(data.removesuffix(b"\n"))


def _add_part(one: Opened, name: str, real: str) -> bool:
    """Note a sealed part; whether the commit has anything there."""
    inside = os.path.relpath(real, one.root)
    steps = [] if inside == "." else os.fsencode(inside).split(b"/")
    here = one.objects.at(one.tree, steps) if one.tree else None
    one.places.append(real)
    path = escaped(os.fsencode(inside)) if steps else ""
    one.parts.append(Committed(name, path, here.object if here is not None else ""))
    if here is None or here.mode == SUBMODULE:
        return False
    start = os.fsencode(real)
    if here.mode == FOLDER:
        tracked = ((start + b"/" + path, entry) for path, entry in one.objects.files(here.object))
        one.files.tracked.update(tracked)
    else:
        one.files.tracked[start] = Tracked(here.mode, here.object)
    return True


def _open_submodules(found: Repositories, program: str, outer: Opened) -> None:
    """Each submodule that is checked out is a repository that lies in the same part."""
    root = os.fsencode(outer.root)
    submodules = [(path, entry) for path, entry in outer.files.tracked.items() if entry.mode == SUBMODULE]
    if len(submodules) > MAX_SUBMODULES:
        raise EvidenceError(f"there are more than {MAX_SUBMODULES:,} submodules in it")
    for path, entry in sorted(submodules):
        place, inside = os.fsdecode(path), escaped(os.path.relpath(path, root))
        checked_out = ""
        # Through a link there is something else, and the sealed tree says that it is a link.
        if os.path.realpath(place) == place and os.path.lexists(os.path.join(place, GIT)):
            top = Git(program, place).run("rev-parse", "--show-toplevel")
            if isinstance(top, str):
                raise EvidenceError(top)
            if os.fsdecode(top.data.removesuffix(b"\n")) == place:
                if len(found.opened) >= MAX_REPOSITORIES:
                    raise EvidenceError(f"there are more than {MAX_REPOSITORIES} repositories in it")
                inner = open_repository(program, place, f"{outer.name}/{inside}")
                _add_part(inner, f"{outer.name}/{inside}", place)
                found.opened.append(inner)
                checked_out = inner.commit
                _open_submodules(found, program, inner)
        outer.submodules.append(Submodule(inside, entry.object, checked_out))


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if name else folder
