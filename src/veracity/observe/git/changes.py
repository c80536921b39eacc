"""The Python sources that differ between two commits, read by object id; git itself compares nothing.

Trees are walked here, folder by folder, and only where their ids differ; so no attribute, filter, external
diff or textconv of the repository is ever asked. Each object is held against its id.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ...core.errors import EvidenceError, ResourceLimitError, UsageError
from .command import Git, program
from .objects import EXECUTABLE, FILE, FOLDER, LINK, MAX_DEPTH, SUBMODULE, Objects, Tracked, headers

MAX_CHANGED = 100_000
MAX_ALIGNED = 25_000_000
"""Lines before times lines after, of what differs: beyond that all of it counts as added."""
_BATCH = 64
_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_SOURCES = (b".py", b".pyw")
_RANGE = re.compile(r"(?P<base>[^.\s-][^\s]*?)(?P<dots>\.{2,3})(?P<head>[^.\s-][^\s]*)?\Z")


@dataclass(frozen=True, slots=True)
class SourceChange:
    """A source that a change added or changed.

    ``before`` is None where there was none. ``added``: numbers of the lines that the change brought, from 1.
    """

    path: str
    data: bytes
    before: bytes | None
    added: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something of a change that was not read, and why."""

    path: str
    reason: str


def read_changes(directory: str, asked: str) -> Iterator[SourceChange | Unreadable]:
    """What ``BASE..HEAD`` (``BASE...HEAD``: since they parted) changes in Python sources.

    Raises UsageError for a range that is none, or that names no commits; EvidenceError and VerificationError
    where the repository cannot be read or is not what its ids say.
    """
    objects = _open(directory)
    base, head = _commits(objects.git, asked)
    old, new = _tree(objects, base), _tree(objects, head)
    removed: dict[bytes, Tracked] = {}
    changed: list[tuple[bytes, Tracked | None, Tracked]] = []
    for path, before, after in _differing(objects, old, new):
        if after is None:
            if before is not None:
                removed[path] = before
        else:
            changed.append((path, before, after))
    yield from _sources(objects, sorted(changed), removed)


def _open(directory: str) -> Objects:
    found = program()
    if found is None:
        raise EvidenceError("git is not installed", remedy="install git to scan changes")
    if not os.path.isdir(directory):
        raise UsageError("not a folder", where=directory)
    top = Git(found, directory).run("rev-parse", "--show-toplevel")
    if isinstance(top, str):
        raise EvidenceError(top, where=directory)
    root = os.fsdecode(top.data.removesuffix(b"\n"))
    if top.code != 0 or not root:
        raise UsageError("not in a git working tree", where=directory)
    git = Git(found, root)
    refused = git.refuse_filters()
    if refused:
        raise EvidenceError(refused, where=root)
    return Objects(git, git.required("rev-parse", "--show-object-format").decode("ascii", "replace").strip())


def _commits(git: Git, asked: str) -> tuple[str, str]:
    match = _RANGE.match(asked) or re.match(r"(?P<base>[^.\s-]\S*)(?P<dots>)(?P<head>)\Z", asked)
    if match is None:
        raise UsageError(f"not a range of commits: {asked[:80]!r}", remedy="write BASE..HEAD")
    base, head = _commit(git, match["base"]), _commit(git, match["head"] or "HEAD")
    if match["dots"] == "...":
        parted = git.text("merge-base", base, head)
        if not _ID.match(parted):
            raise UsageError("these commits have no common ancestor", where=asked[:80])
        base = parted
    return base, head


def _commit(git: Git, name: str) -> str:
    found = git.text("rev-parse", "--verify", "-q", "--end-of-options", f"{name}^{{commit}}")
    if not _ID.match(found):
        raise UsageError(f"no commit is called {name[:80]!r}", where=git.directory, remedy="write BASE..HEAD")
    return found


def _tree(objects: Objects, commit: str) -> str:
    first, value = next(headers(objects.one(commit, "commit")), (b"", b""))
    tree = value.decode("ascii", "replace")
    if first != b"tree" or not _ID.match(tree):
        raise EvidenceError("the commit is malformed", where=objects.git.directory)
    return tree


def _differing(
    objects: Objects, old: str, new: str
) -> Iterator[tuple[bytes, Tracked | None, Tracked | None]]:
    """Paths whose object or kind differs, with what each side has there."""
    pending: list[tuple[bytes, str, str]] = [(b"", old, new)]
    count = 0
    for _ in range(MAX_DEPTH):
        if not pending:
            return
        read = objects.read(one for _, before, after in pending for one in (before, after) if one)
        below: list[tuple[bytes, str, str]] = []
        for folder, before, after in pending:
            sides = [dict(objects.entries(read[one].data)) if one else {} for one in (before, after)]
            for name in sorted(sides[0].keys() | sides[1].keys()):
                was, now = sides[0].get(name), sides[1].get(name)
                if was == now:
                    continue
                count += 1
                if count > MAX_CHANGED:
                    raise ResourceLimitError("the change touches too many files to be scanned")
                path = folder + b"/" + name if folder else name
                if (was and was.mode == FOLDER) or (now and now.mode == FOLDER):
                    inner = [
                        one.object if one is not None and one.mode == FOLDER else "" for one in (was, now)
                    ]
                    below.append((path, inner[0], inner[1]))
                was = None if was is not None and was.mode == FOLDER else was
                now = None if now is not None and now.mode == FOLDER else now
                if was is not None or now is not None:
                    yield path, was, now
        pending = below
    if pending:
        raise ResourceLimitError("the folders of the change lie too deep")


def _sources(
    objects: Objects, changed: list[tuple[bytes, Tracked | None, Tracked]], removed: dict[bytes, Tracked]
) -> Iterator[SourceChange | Unreadable]:
    gone = {one.object for one in removed.values()}
    moved = {path.rpartition(b"/")[2]: one.object for path, one in removed.items()}
    wanted: list[tuple[bytes, str, str]] = []
    for path, before, after in changed:
        name = path.rpartition(b"/")[2]
        if after.mode == SUBMODULE:
            yield Unreadable(_text(path), "is another repository, whose change was not read")
        elif after.mode == LINK and path.endswith(_SOURCES):
            yield Unreadable(_text(path), "is a link: where it leads was not read")
        elif after.mode in (FILE, EXECUTABLE) and path.endswith(_SOURCES):
            plain = before is not None and before.mode in (FILE, EXECUTABLE)
            if before is not None and plain:
                old = before.object
            else:
                # Only moved: nothing is added. Moved and edited: compared with the file of the same name.
                old = after.object if after.object in gone else moved.get(name, "")
            if old != after.object:
                wanted.append((path, old, after.object))
    for begin in range(0, len(wanted), _BATCH):
        yield from _read(objects, wanted[begin : begin + _BATCH])


def _read(objects: Objects, wanted: list[tuple[bytes, str, str]]) -> Iterator[SourceChange | Unreadable]:
    try:
        found = objects.read(one for _, old, new in wanted for one in (old, new) if one)
    except ResourceLimitError:
        if len(wanted) == 1:
            yield Unreadable(_text(wanted[0][0]), "is too large to be read")
            return
        for one in wanted:
            yield from _read(objects, [one])
        return
    for path, old, new in wanted:
        before = found[old].data if old else None
        data = found[new].data
        yield SourceChange(_text(path), data, before, added_lines(before, data))


def added_lines(before: bytes | None, data: bytes) -> tuple[int, ...]:
    """Numbers of the lines of ``data`` that are not in ``before``, from 1. Lines end where Python's do."""
    new = _lines(data)
    if before is None:
        return tuple(range(1, len(new) + 1))
    old = _lines(before)
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
    if len(middle_old) * len(middle_new) > MAX_ALIGNED:
        return tuple(range(head + 1, len(new) - tail + 1))
    matcher = difflib.SequenceMatcher(None, middle_old, middle_new, autojunk=False)
    added: list[int] = []
    for tag, _, _, first, last in matcher.get_opcodes():
        if tag in ("insert", "replace"):
            added += range(head + first + 1, head + last + 1)
    return tuple(added)


def _lines(data: bytes) -> list[bytes]:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
