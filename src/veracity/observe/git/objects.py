r"""Objects of a git repository, read and held against the ids that name them.

git hashes little of what it reads: a folder that was exchanged in the object store passes for the one that
has the id until somebody runs ``git fsck``. Here each is hashed. A tree is a row of ``<mode> <name>\0<id>``,
where modes are octal and ids are bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...core.errors import EvidenceError, ResourceLimitError, VerificationError
from .command import Git

FILE, EXECUTABLE, LINK, FOLDER, SUBMODULE = 0o100644, 0o100755, 0o120000, 0o040000, 0o160000
LENGTHS = {"sha1": 20, "sha256": 32}
MAX_FOLDERS = 200_000
MAX_TRACKED = 1_000_000
MAX_DEPTH = 256
AT_ONCE = 5_000
_HEAD = re.compile(rb"([0-9a-f]{40,64}) (blob|tree|commit|tag) ([0-9]{1,12})\n")
_MODES = re.compile(rb"[0-7]{5,6}\Z")


@dataclass(frozen=True, slots=True)
class Tracked:
    """What a commit has at a path."""

    mode: int
    object: str


@dataclass(frozen=True, slots=True)
class Found:
    """An object: its kind and its bytes."""

    kind: str
    data: bytes


def object_id(algorithm: str, kind: str, data: bytes) -> str:
    """The id of an object in hex: the digest of its kind, its size and its bytes."""
    # With SHA-1 it is as good as git's: no signature of ours rests on it.
    whole = hashlib.sha256() if algorithm == "sha256" else hashlib.sha1(usedforsecurity=False)
    whole.update(b"%b %d\0" % (kind.encode("ascii"), len(data)))
    whole.update(data)
    return whole.hexdigest()


class Objects:
    """Reads objects of one repository; ``algorithm`` is ``sha1`` or ``sha256``."""

    def __init__(self, git: Git, algorithm: str) -> None:
        if algorithm not in LENGTHS:
            raise EvidenceError(f"the repository has ids of a kind that is not known: {algorithm[:40]!r}")
        self.git = git
        self.algorithm = algorithm

    def read(self, ids: Iterable[str]) -> dict[str, Found]:
        """Objects by their ids; raises EvidenceError for one that is missing.

        Raises VerificationError for one whose bytes have another id.
        """
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return {}
        asked = "".join(f"{one}\n" for one in wanted).encode("ascii")
        data = self.git.required("cat-file", "--batch", stdin=asked)
        found: dict[str, Found] = {}
        at = 0
        for one in wanted:
            head = _HEAD.match(data, at)
            if head is None or head[1].decode("ascii") != one:
                raise EvidenceError(f"the repository lacks the object {one}", where=self.git.directory)
            kind, size = head[2].decode("ascii"), int(head[3])
            content = data[head.end() : head.end() + size]
            if object_id(self.algorithm, kind, content) != one:
                raise VerificationError(
                    f"the object {one} of the repository holds other bytes than its id says",
                    where=self.git.directory,
                    remedy="somebody wrote into the object store: compare with another clone (git fsck)",
                )
            found[one] = Found(kind, content)
            at = head.end() + size + 1
        return found

    def one(self, name: str, kind: str) -> bytes:
        """The bytes of one object, which has to be of a kind."""
        found = self.read([name])[name]
        if found.kind != kind:
            raise EvidenceError(f"{name} is no {kind} but a {found.kind}", where=self.git.directory)
        return found.data

    def at(self, tree: str, path: Sequence[bytes]) -> Tracked | None:
        """What a tree has at a path, folder by folder; None when nothing."""
        here = Tracked(FOLDER, tree)
        for name in path:
            if here.mode != FOLDER:
                return None
            entries = dict(self.entries(self.one(here.object, "tree")))
            inside = entries.get(name)
            if inside is None:
                return None
            here = inside
        return here

    def files(self, tree: str, path: bytes = b"") -> Iterator[tuple[bytes, Tracked]]:
        """All that lies below a tree and is no folder, with its path from there, below ``path``."""
        pending = [(path, tree)]
        folders = count = 0
        for _ in range(MAX_DEPTH):
            if not pending:
                return
            below: list[tuple[bytes, str]] = []
            for begin in range(0, len(pending), AT_ONCE):
                some = pending[begin : begin + AT_ONCE]
                read = self.read(one for _, one in some)
                folders += len(some)
                for where, one in some:
                    for name, entry in self.entries(_tree(read, one)):
                        inside = where + b"/" + name if where else name
                        if entry.mode == FOLDER:
                            below.append((inside, entry.object))
                        else:
                            yield inside, entry
                            count += 1
                    # After each folder: a few that hold each other many times are many more than they look.
                    if folders + len(below) > MAX_FOLDERS or count > MAX_TRACKED:
                        raise ResourceLimitError("the commit has too many files to be compared")
            pending = below
        if pending:
            raise ResourceLimitError("the folders of the commit lie too deep")

    def entries(self, data: bytes) -> Iterator[tuple[bytes, Tracked]]:
        """The names in a tree; raises EvidenceError when it is malformed."""
        length, at = LENGTHS[self.algorithm], 0
        while at < len(data):
            blank, zero = data.find(b" ", at, at + 8), data.find(b"\0", at)
            end = zero + 1 + length
            name = data[blank + 1 : zero]
            if blank < 0 or zero < blank or end > len(data) or not _MODES.match(data[at:blank]):
                raise EvidenceError("a folder in the repository's object store is malformed")
            if not name or b"/" in name or name in (b".", b".."):
                raise EvidenceError("a folder in the repository's object store has a name that is none")
            yield name, Tracked(int(data[at:blank], 8), data[zero + 1 : end].hex())
            at = end


def _tree(read: Mapping[str, Found], one: str) -> bytes:
    if read[one].kind != "tree":
        raise EvidenceError("a folder in the repository's object store is none")
    return read[one].data


def headers(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The headers of a commit or tag in their order; the lines of a long one are joined by newlines."""
    name, value = b"", b""
    for line in data.split(b"\n\n", 1)[0].split(b"\n"):
        if line.startswith(b" "):
            value += b"\n" + line[1:]
            continue
        if name:
            yield name, value
        name, _, value = line.partition(b" ")
    if name:
        yield name, value
