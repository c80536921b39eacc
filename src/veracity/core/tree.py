"""A tree of files as digests of digests: what a seal says of folders.

A folder becomes a *node*: a first line that says which kind of node it is, then one line per entry, sorted by
the bytes of the names. The digest of those bytes names the node, and the folder above has that digest on the
folder's line; so one digest stands for a whole tree, two trees are compared by looking only where digests
differ, and a change writes anew only the nodes on the way to it. A line is ASCII, for ``grep`` and ``diff``::

    <kind> <mode, octal> <size> <digest> <name>

Bytes that are no printable ASCII, blanks and ``%`` stand as ``%XX`` in names and in targets of links. A
folder of many entries is cut into pages where a checksum of a name says so, so that a name more or less moves
one cut at most, and its node lists the pages. A large file's digest is that of a node that lists the SHA-256
of each 64 MiB of it: whoever reads a part can check the part.

Nothing of an entry's owner or of its times is part of a tree. See ``docs/formats/manifest.md``.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from .errors import EvidenceError
from .quantity import quantity

CHUNK = 64 << 20
"""Bytes of a large file that have a digest of their own; what is no longer has one digest."""
PAGED_FROM = 512
"""Entries of a folder from which on it is cut into pages."""
LONGEST_PAGE = 4096
CUT_ONE_IN = 256
MAX_NODE = 64 << 20
MAX_NAME = 4096
UNREAD = "-"
"""In the place of a digest: the content was not read."""

FILE, LARGE, FOLDER, LINK = "f", "F", "d", "l"
SPECIAL = "psbc"
"""Pipe, socket, block and character device: they have no content to seal."""
KINDS = FILE + LARGE + FOLDER + LINK + SPECIAL

_LINE = re.compile(rb"([fFdlpsbc]) ([0-7]{1,4}) (0|[1-9][0-9]{0,18}) (\S{1,12288}) (\S{1,12288})\Z")
_PAGE = re.compile(rb"([1-9][0-9]{0,8}) ([0-9a-f]{64}) (\S{1,12288})\Z")
_DIGEST = re.compile(rb"[0-9a-f]{64}\Z")
_PLAIN = re.compile(rb"[!-$&-~]*\Z")
_USUAL = re.compile(rb"[!-$&\'-\-0-~][!-$&-.0-~]{0,254}\Z")
"""Names that are written as they are and need no other look; those that begin with a dot are left to it."""
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")
_TO_ESCAPE = re.compile(rb"[^!-$&-~]")

Keep: TypeAlias = Callable[[str, bytes], object]
"""Takes a node: its digest and its bytes."""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One name in a folder.

    ``mode``: permission bits. ``size``: bytes of a file, entries below a folder, else 0. ``digest``: hex;
    of the content (``FILE``), of the node (``LARGE``, ``FOLDER``), :data:`UNREAD`, or empty.
    """

    kind: str
    mode: int
    size: int
    name: bytes
    digest: str = ""
    target: bytes = b""

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.kind in (FILE, LARGE)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a folder: how many entries, the digest of their node, and the first one's name."""

    count: int
    digest: str
    first: bytes


@dataclass(frozen=True, slots=True)
class Folder:
    """A node that is a folder, or a page of one."""

    entries: tuple[TreeEntry, ...]


@dataclass(frozen=True, slots=True)
class Pages:
    """A node that lists the pages of a folder."""

    pages: tuple[Page, ...]


@dataclass(frozen=True, slots=True)
class Chunks:
    """A node that lists the digests of a large file's parts of :data:`CHUNK` bytes, the last one shorter."""

    size: int
    digests: tuple[str, ...]


Node: TypeAlias = Folder | Pages | Chunks


def add_folder(entries: Iterable[TreeEntry], keep: Keep) -> tuple[str, int]:
    """The digest of a folder with these entries, and how many there are in and below it.

    Its nodes are handed to ``keep``. Raises EvidenceError for a name that occurs twice or is none.
    """
    ordered = sorted(entries, key=lambda entry: entry.name)
    for before, after in pairwise(ordered):
        if before.name == after.name:
            raise EvidenceError(f"a folder has the name {escaped(after.name)!r} twice")
    below = len(ordered) + sum(entry.size for entry in ordered if entry.kind == FOLDER)
    if len(ordered) <= PAGED_FROM:
        return _keep(b"folder\n", map(_line, ordered), keep), below
    pages = []
    for begin, end in cuts([entry.name for entry in ordered]):
        page = ordered[begin:end]
        digest = _keep(b"folder\n", map(_line, page), keep)
        pages.append(b"%d %b %b\n" % (len(page), digest.encode("ascii"), _escape(page[0].name)))
    return _keep(b"pages\n", pages, keep), below


def cuts(names: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Where a folder with these names, in order, is cut: begin and end of each part; one part without any."""
    begin = 0
    if len(names) > PAGED_FROM:
        for at in range(1, len(names)):
            if at - begin >= LONGEST_PAGE or zlib.crc32(names[at]) % CUT_ONE_IN == 0:
                yield begin, at
                begin = at
    yield begin, len(names)


def add_chunks(size: int, digests: Sequence[str], keep: Keep) -> str:
    """The digest of the node of a large file of ``size`` bytes whose chunks have these digests."""
    return _keep(b"chunks %d %d\n" % (CHUNK, size), (one.encode("ascii") + b"\n" for one in digests), keep)


def node_of(data: bytes) -> Node:
    """Read a node; raises EvidenceError for whatever :func:`add_folder` and :func:`add_chunks` do not write.

    Two readers must not see two trees in the same bytes, so there is one way to write each.
    """
    if len(data) > MAX_NODE:
        raise EvidenceError(f"a node of a manifest is larger than {MAX_NODE >> 20} MiB")
    head, *lines = data.split(b"\n")
    if not lines or lines.pop():
        raise EvidenceError("a node of a manifest does not end with a line")
    if head == b"folder":
        return Folder(_entries(lines))
    if head == b"pages":
        return Pages(_pages(lines))
    if head.startswith(b"chunks "):
        return _chunks(head, lines)
    raise EvidenceError(f"a node of a manifest is of no known kind: {head[:40]!r}")


def escaped(name: bytes) -> str:
    """A name as it stands in a node: printable ASCII."""
    return _escape(name).decode("ascii")


def unescaped(text: str) -> bytes:
    """The name that stands as ``text`` in a node; raises EvidenceError when no name is written so."""
    return _unescape(text.encode("utf-8", "surrogatepass"))


# --- writing --------------------------------------------------------------------------------------------


def _keep(head: bytes, lines: Iterable[bytes], keep: Keep) -> str:
    data = head + b"".join(lines)
    if len(data) > MAX_NODE:
        raise EvidenceError(f"a folder is too large for a manifest: its node has {len(data) >> 20} MiB")
    digest = hashlib.sha256(data).hexdigest()
    keep(digest, data)
    return digest


def _line(entry: TreeEntry) -> bytes:
    name = entry.name
    if not _USUAL.match(name):
        _check_name(name)
        name = _escape(name)
    what = _escape(entry.target).decode("ascii") if entry.kind == LINK else entry.digest or UNREAD
    return f"{entry.kind} {entry.mode:o} {entry.size} {what} ".encode("ascii") + name + b"\n"


def _escape(name: bytes) -> bytes:
    if _PLAIN.match(name):
        return name
    return _TO_ESCAPE.sub(lambda found: b"%%%02X" % found[0][0], name)


# --- reading --------------------------------------------------------------------------------------------


def _entries(lines: Sequence[bytes]) -> tuple[TreeEntry, ...]:
    found: list[TreeEntry] = []
    last = b""
    for line in lines:
        entry = _entry(line)
        if found and entry.name <= last:
            raise EvidenceError(f"a folder's entries are not in order at {escaped(entry.name)!r}")
        last = entry.name
        found.append(entry)
    return tuple(found)


def _entry(line: bytes) -> TreeEntry:
    match = _LINE.match(line)
    if match is None:
        raise EvidenceError(f"a line of a manifest is malformed: {line[:120]!r}")
    kind, mode, size = match[1].decode("ascii"), int(match[2], 8), int(match[3])
    name = _unescape(match[5])
    _check_name(name)
    if b"%o" % mode != match[2]:
        raise EvidenceError(f"a line of a manifest is malformed: {line[:120]!r}")
    if kind == LINK:
        return TreeEntry(kind, mode, size, name, target=_unescape(match[4]))
    digest = match[4].decode("ascii", "replace")
    if kind in SPECIAL and digest == UNREAD:
        return TreeEntry(kind, mode, size, name)
    if digest == UNREAD or (_DIGEST.match(match[4]) and kind not in SPECIAL):
        return TreeEntry(kind, mode, size, name, digest)
    raise EvidenceError(f"a line of a manifest has no digest: {line[:120]!r}")


def _pages(lines: Sequence[bytes]) -> tuple[Page, ...]:
    pages: list[Page] = []
    for line in lines:
        match = _PAGE.match(line)
        if match is None:
            raise EvidenceError(f"a line of a manifest is malformed: {line[:120]!r}")
        page = Page(int(match[1]), match[2].decode("ascii"), _unescape(match[3]))
        if pages and page.first <= pages[-1].first:
            raise EvidenceError("the pages of a folder are not in order")
        pages.append(page)
    if not pages:
        raise EvidenceError("a folder has no pages")
    return tuple(pages)


def _chunks(head: bytes, lines: Sequence[bytes]) -> Chunks:
    match = re.fullmatch(rb"chunks %d ([1-9][0-9]{0,18})" % CHUNK, head)
    if match is None or not all(map(_DIGEST.match, lines)):
        raise EvidenceError("the chunks of a file are malformed")
    size = int(match[1])
    if len(lines) != -(-size // CHUNK):
        raise EvidenceError(
            f"a file of {quantity(size, 'byte')} does not have {quantity(len(lines), 'chunk')}"
        )
    return Chunks(size, tuple(line.decode("ascii") for line in lines))


def _unescape(text: bytes) -> bytes:
    name = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text)
    if _escape(name) != text:
        raise EvidenceError(f"a name in a manifest is not written as names are: {text[:120]!r}")
    return name


def _check_name(name: bytes) -> None:
    if not 0 < len(name) <= MAX_NAME or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise EvidenceError(f"no name of a file: {name[:120]!r}")
