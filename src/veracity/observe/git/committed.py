"""Sealed files held beside the commit, by their content and not by what git's index remembers of them.

``git status`` believes the index: a file that is marked there as unchanged, or whose size and times are the
remembered ones, is not looked at. Here each file's blob id is computed from the bytes that the seal read.

Where a file differs, git's attributes say whether it may: line ends that are converted are compared after
that; a file of Git LFS is compared with the SHA-256 in the pointer that the commit has. Behind any other
filter, ``ident`` or another encoding nothing is compared, and that is said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...core.repository import Uncompared, Unlike
from ...core.tree import CHUNK, LARGE, TreeEntry, escaped
from . import objects
from .command import Git
from .objects import Objects, Tracked, object_id

MAX_LISTED = 2_000
MAX_POINTER = 1_024
ATTRIBUTES = ("filter", "ident", "working-tree-encoding", "text", "eol", "crlf")
REMOVED, CONTENT, KIND, EXECUTABLE, MODE = (
    "removed",
    "content changed",
    "another kind of file",
    "made executable",
    "permissions changed",
)
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n"
)


@dataclass(frozen=True, slots=True)
class Conversions:
    """What git is told to do with files on their way.

    ``drivers`` are the filters that name a program, ``attributes`` is the account's file of attributes.
    """

    line_ends: bool
    executable: bool
    links: bool
    drivers: frozenset[str]
    attributes: str = ""


@dataclass(slots=True)
class CommittedFiles:
    """What a commit has in the sealed places, and what is found there.

    Paths are absolute. ``tracked``: what the commit has; ``present``: what lies there; ``same``: files whose
    content is the commit's, ``converted``: those where it would be with other line ends.
    """

    algorithm: str
    tracked: dict[bytes, Tracked] = field(default_factory=dict)
    present: dict[bytes, TreeEntry] = field(default_factory=dict)
    same: set[bytes] = field(default_factory=set)
    converted: set[bytes] = field(default_factory=set)
    too_large: set[bytes] = field(default_factory=set)

    def content(self, path: bytes, size: int, blocks: Iterable[bytes]) -> None:
        """Take in the content of a regular file."""
        wanted = self.tracked.get(path)
        if wanted is None or wanted.mode == objects.SUBMODULE:
            return
        if size > CHUNK:
            self.too_large.add(path)
            return
        data = b"".join(blocks)
        if self._id(data) == wanted.object:
            self.same.add(path)
        elif b"\r\n" in data and self._id(data.replace(b"\r\n", b"\n")) == wanted.object:
            self.converted.add(path)

    def _id(self, data: bytes) -> str:
        return object_id(self.algorithm, "blob", data)

    def entry(self, path: bytes, entry: TreeEntry) -> None:
        """Take in what lies at a path."""
        if path in self.tracked:
            self.present[path] = entry

    def differing(self, conversions: Conversions) -> Iterator[tuple[bytes, str]]:
        """Paths that are not as the commit has them, with what happened; submodules apart."""
        for path, wanted in self.tracked.items():
            if wanted.mode == objects.SUBMODULE:
                continue
            found = self.present.get(path)
            change = REMOVED if found is None else self._change(path, wanted, found, conversions)
            if change:
                yield path, change

    def _change(self, path: bytes, wanted: Tracked, found: TreeEntry, conversions: Conversions) -> str:
        if wanted.mode == objects.LINK and conversions.links:
            if found.kind != "l":
                return KIND
            return "" if self._id(found.target) == wanted.object else CONTENT
        if not found.is_file:
            return KIND
        if path not in self.same:
            return CONTENT
        # git keeps one bit of the permissions.
        was, is_now = wanted.mode == objects.EXECUTABLE, bool(found.mode & 0o100)
        if was == is_now or not conversions.executable or not _is_file(wanted.mode):
            return ""
        return EXECUTABLE if is_now else MODE


def _is_file(mode: int) -> bool:
    return mode & 0o170000 == 0o100000


def judged(
    git: Git, objects_of: Objects, files: CommittedFiles, conversions: Conversions
) -> tuple[list[Unlike], list[Uncompared], int]:
    """What differs, what could not be compared, and how many files were.

    Raises EvidenceError when git cannot tell the attributes of what differs.
    """
    root = os.fsencode(git.directory)
    differing = list(files.differing(conversions))
    in_question = [path for path, change in differing if change == CONTENT]
    attributes = _attributes(git, [os.path.relpath(path, root) for path in in_question], conversions)
    pointers = _pointers(objects_of, [files.tracked[path] for path in in_question])
    unlike: list[Unlike] = []
    uncompared: list[Uncompared] = []
    for path, change in differing:
        name = os.path.relpath(path, root)
        if change == REMOVED and not _is_gone(path):
            uncompared.append(Uncompared(escaped(name), "it was not read"))
            continue
        if change == CONTENT and files.tracked[path].mode != objects.LINK:
            entry, given = files.present[path], attributes.get(name, {})
            pointer = pointers.get(files.tracked[path].object)
            change, reason = _content(path, entry, files, conversions, given, pointer)
            if reason:
                uncompared.append(Uncompared(escaped(name), reason))
        if change:
            unlike.append(Unlike(escaped(name), change))
    submodules = sum(one.mode == objects.SUBMODULE for one in files.tracked.values())
    return unlike, uncompared, len(files.tracked) - submodules - len(uncompared)


def _is_gone(path: bytes) -> bool:
    """Whether nothing is there: what lies in a folder that is left out or closed is not missing."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _content(
    path: bytes,
    entry: TreeEntry,
    files: CommittedFiles,
    conversions: Conversions,
    given: Mapping[str, str],
    pointer: tuple[str, int] | None,
) -> tuple[str, str]:
    """What to say of a content that is not the commit's: what changed, or why nobody can say."""
    driver = given.get("filter", "")
    if path in files.too_large or entry.kind == LARGE:
        return "", "it is larger than 64 MiB"
    if entry.digest == "-":
        return "", "it could not be read"
    if pointer is not None and driver == "lfs":
        same = (entry.digest, entry.size) == pointer
        return ("", "") if same else (CONTENT, "")
    if driver in conversions.drivers:
        return "", f"a filter called {driver[:80]!r} may change it, which is not run"
    if given.get("ident") == "set":
        return "", "git puts its own id into it (ident)"
    if given.get("working-tree-encoding", "unspecified") not in ("unspecified", "unset"):
        return "", "it is kept in another encoding"
    if path in files.converted and _converts(given, conversions):
        return "", ""
    return CONTENT, ""


def _converts(given: Mapping[str, str], conversions: Conversions) -> bool:
    """Whether git turns line ends of a file into its own."""
    text = given.get("text", "unspecified")
    if text == "unspecified":
        text = given.get("crlf", "unspecified")
    if text == "unset":
        return False
    eol = given.get("eol", "unspecified")
    return text in ("set", "auto", "input") or eol in ("lf", "crlf") or conversions.line_ends


def _attributes(git: Git, names: Sequence[bytes], conversions: Conversions) -> dict[bytes, dict[str, str]]:
    """By name, the attributes that change a file on its way."""
    if not names:
        return {}
    asked = b"".join(name + b"\0" for name in names)
    own = ("-c", f"core.attributesFile={conversions.attributes}") if conversions.attributes else ()
    listed = git.required(*own, "check-attr", "-z", "--stdin", *ATTRIBUTES, stdin=asked)
    fields = listed.split(b"\0")
    found: dict[bytes, dict[str, str]] = {}
    for at in range(0, len(fields) - 2, 3):
        name, attribute, value = fields[at : at + 3]
        found.setdefault(name, {})[os.fsdecode(attribute)] = os.fsdecode(value)
    return found


def _pointers(reader: Objects, wanted: Sequence[Tracked]) -> dict[str, tuple[str, int]]:
    """Of the blobs that are pointers of Git LFS: SHA-256 and size of what they stand for."""
    found: dict[str, tuple[str, int]] = {}
    ids = sorted({one.object for one in wanted})
    if not ids:
        return found
    listed = reader.git.required(
        "cat-file", "--batch-check=%(objectname) %(objectsize)", stdin="\n".join(ids).encode("ascii")
    )
    small = []
    for line in listed.decode("ascii", "replace").splitlines():
        name, _, size = line.partition(" ")
        if size.isdigit() and int(size) <= MAX_POINTER:
            small.append(name)
    for name, one in reader.read(small).items():
        match = _POINTER.fullmatch(one.data)
        if match is not None:
            found[name] = match[1].decode("ascii"), int(match[2])
    return found
