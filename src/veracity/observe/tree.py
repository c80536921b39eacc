"""Reading a tree of files: what is there, bit for bit, without being led elsewhere.

Every name is opened relative to the folder it was listed in and never through a link, so nobody who moves
folders about meanwhile can have other files read in their place. A file that changes while it is read is read
again, and is unread when it does not come to rest: a digest of two halves says nothing. What could not be
read stands in the tree as unread, and the reason is told.

Only the root may be named through links. Other mounts below it are read like folders.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import TypeAlias

from ..core.errors import EvidenceError
from ..core.level import FULL, Looked
from ..core.tree import (
    CHUNK,
    FILE,
    FOLDER,
    LARGE,
    LINK,
    UNREAD,
    Keep,
    TreeEntry,
    add_chunks,
    add_folder,
    escaped,
)

AT_ONCE = 128 << 10
"""Bytes: a file up to this size is read in one piece, a larger one by a thread of its own."""
MAX_DEPTH = 128
"""Folders in folders: each costs some of Python's frames, of which there are a thousand."""
MAX_OPEN = 32
"""Large files that are being read."""
TRIES = 3
_BUFFER = 1 << 20
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
KINDS_OF_MODE = ((stat.S_ISFIFO, "p"), (stat.S_ISSOCK, "s"), (stat.S_ISBLK, "b"), (stat.S_ISCHR, "c"))

Seen: TypeAlias = Callable[[bytes, Sequence[TreeEntry]], object]
"""Called for each folder below the root with its path from there, and what lies in it."""
Content: TypeAlias = Callable[[bytes, int, Iterable[bytes]], object]
"""Called for each file with its path from the root, its size, and its bytes, which need not be taken."""
Named: TypeAlias = Callable[[bytes, os.stat_result], object]
"""Called for each file that has more than one name, with its path from the root."""
Progress: TypeAlias = Callable[[int, int], object]
"""Called now and then with the files and the bytes that were read so far."""
Closing: TypeAlias = Callable[[], tuple[str, int]]
"""Waits for what is being read in a folder; gives its digest, and how many names are in and below it."""
_Chosen: TypeAlias = "Mapping[bytes, _Chosen]"
"""Names in a folder, and of each the names that are chosen in it; none: the name itself is."""


@dataclass(frozen=True, slots=True)
class Unread:
    """What could not be read, where (relative to the root; escaped as in a manifest), and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found: the root's entry, regular files, their bytes, and what could not be read.

    ``looked``: at which level, and of how many files all bytes were read.
    """

    root: TreeEntry
    files: int
    size: int
    unread: tuple[Unread, ...]
    looked: Looked


def read_tree(
    path: Path,
    keep: Keep,
    *,
    threads: int = 0,
    progress: Progress | None = None,
    skip: Sequence[Path] = (),
    seen: Seen | None = None,
    content: Content | None = None,
    named: Named | None = None,
) -> Reading:
    """Read the file or folder at ``path``; nodes of folders and large files are handed to ``keep``.

    ``threads`` read large files (0: as :func:`reading_threads` has it). ``skip``: folders that are no part of
    it. Raises EvidenceError when there is nothing to read at ``path``.
    """
    with reading_threads(threads) as pool:
        walk = Walk(keep, pool, identities(skip), Asked(progress, seen, content, named))
        root = walk.begin(path)
    return walk.reading(root)


def read_chosen(root: Path, paths: Sequence[str], keep: Keep, *, progress: Progress | None = None) -> Reading:
    """Read of the tree at ``root`` the ``paths`` (from there) alone, and the folders on the way to them.

    What is not there is no part of the tree. A link on the way is one, and what lies behind it is not.
    Otherwise as :func:`read_tree`.
    """
    chosen: dict[bytes, _Chosen] = {}
    for path in paths:
        inside = chosen
        for name in os.fsencode(path).strip(b"/").split(b"/"):
            inside = inside.setdefault(name, {})  # type: ignore[assignment]
    with reading_threads() as pool:
        walk = Walk(keep, pool, set(), Asked(progress))
        try:
            with opened(os.fsencode(os.path.realpath(root)), os.O_DIRECTORY) as folder:
                entry = walk.chosen(folder, b"", b"root", chosen, 0)
        except OSError as error:
            raise EvidenceError(f"{root} cannot be read: {error.strerror or error}") from error
    return walk.reading(entry)


def reading_threads(threads: int = 0) -> ThreadPoolExecutor:
    """Threads that read large files beside one that walks; by default as many as leave it a processor."""
    return ThreadPoolExecutor(threads or max(1, (os.cpu_count() or 1) - 1), "read-tree")


def identities(paths: Sequence[Path]) -> set[tuple[int, int]]:
    """Device and inode of what lies at these paths, links not followed."""
    return {identity for one in paths if (identity := _identity(one)) is not None}


@dataclass(slots=True)
class Pending:
    """An entry whose digest may still be computed; ``status``: how the file was when it had been read."""

    entry: TreeEntry
    later: Callable[[], TreeEntry] | None = None
    status: os.stat_result | None = None

    def resolved(self) -> TreeEntry:
        """The entry, waited for; what it took to find out is let go of."""
        if self.later is not None:
            self.entry, self.later = self.later(), None
        return self.entry


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is told what while a tree is read."""

    progress: Progress | None = None
    seen: Seen | None = None
    content: Content | None = None
    named: Named | None = None


class Walk:
    """One reading of a tree, from :meth:`begin` on."""

    def __init__(
        self, keep: Keep, pool: ThreadPoolExecutor, skipped: set[tuple[int, int]], asked: Asked
    ) -> None:
        self.keep = keep
        self.pool = pool
        self.skipped = skipped
        self.skipped_inodes = {inode for _, inode in skipped}
        self.progress = asked.progress
        self.seen = asked.seen
        self.content = asked.content
        self.named = asked.named
        self.files = 0
        self.size = 0
        self.unread: list[Unread] = []
        # Large files that are being read, in the order in which they were begun; and folders that wait for
        # them, each with the number of files begun before its end. Inner folders stand before outer ones.
        self._waiting: deque[Pending] = deque()
        self._begun = 0
        self._open: deque[tuple[int, Pending]] = deque()

    def begin(self, path: Path) -> TreeEntry:
        """What lies at ``path``; raises EvidenceError when nothing does."""
        try:
            real = os.path.realpath(os.fsencode(path), strict=True)
            parent, name = os.path.split(real)
            with opened(parent, os.O_DIRECTORY) as folder:
                status = os.stat(name or b".", dir_fd=folder, follow_symlinks=False)
                root = self.entry(folder, name or b".", b"", status, 0)
        except OSError as error:
            raise EvidenceError(f"{path} cannot be read: {error.strerror or error}") from error
        self.settle()
        return root.resolved()

    def reading(self, root: TreeEntry) -> Reading:
        """What was found, all of it read."""
        looked = Looked(FULL, self.files, 0, 0, self.size)
        return Reading(root, self.files, self.size, tuple(self.unread), looked)

    # --- one name --------------------------------------------------------------------------------

    def entry(self, folder: int, name: bytes, path: bytes, status: os.stat_result, depth: int) -> Pending:
        """What ``name`` in an open folder is; ``path`` leads there from the root."""
        if stat.S_ISREG(status.st_mode):
            return self.file(folder, name, path)
        if stat.S_ISDIR(status.st_mode):
            return self.folder(folder, name, path, depth)
        mode = stat.S_IMODE(status.st_mode)
        label = name if name != b"." else b"root"
        if stat.S_ISLNK(status.st_mode):
            try:
                target = os.readlink(name, dir_fd=folder) or b"."
                return Pending(TreeEntry(LINK, mode, 0, label, target=target), status=status)
            except OSError as error:
                return Pending(self.lost(TreeEntry(FILE, mode, 0, label, UNREAD), path, error))
        kind = next((kind for test, kind in KINDS_OF_MODE if test(status.st_mode)), "c")
        return Pending(TreeEntry(kind, mode, 0, label), status=status)

    def folder(self, parent: int, name: bytes, path: bytes, depth: int) -> Pending:
        """All that lies in a folder, and its digest: later, when large files in it are still being read."""
        label = name if name != b"." else b"root"
        unread = TreeEntry(FOLDER, 0, 0, label, UNREAD)
        if depth > MAX_DEPTH:
            return Pending(self.lost(unread, path, f"folders lie more than {MAX_DEPTH} deep"))
        begun = self._begun
        try:
            with opened(name, os.O_DIRECTORY, folder=parent) as handle:
                status = os.fstat(handle)
                unread = TreeEntry(FOLDER, stat.S_IMODE(status.st_mode), 0, label, UNREAD)
                closing = self.inside(handle, status, path, depth)
        except OSError as error:
            return Pending(self.lost(unread, path, error))
        if self._begun == begun:
            return Pending(self._closed(unread, path, closing))
        pending = Pending(unread, lambda: self._closed(unread, path, closing))
        self._open.append((self._begun, pending))
        return pending

    def inside(self, folder: int, status: os.stat_result, path: bytes, depth: int) -> Closing:
        """All that lies in an open folder. Raises OSError, and so does what it returns."""
        pending = list(self.found(folder, path, depth))
        return lambda: self.closed(path, [one.resolved() for one in pending])

    def _closed(self, unread: TreeEntry, path: bytes, closing: Closing) -> TreeEntry:
        try:
            digest, below = closing()
        except OSError as error:
            return self.lost(unread, path, error)
        return TreeEntry(FOLDER, unread.mode, below, unread.name, digest)

    def settle(self, most: int = 0) -> None:
        """Wait until at most so many large files are being read, and close the folders that waited for them.

        One after the other: a folder that closed those in it would need some of Python's frames for each.
        """
        while len(self._waiting) > most:
            self._waiting.popleft().resolved()
        done = self._begun - len(self._waiting)
        while self._open and self._open[0][0] <= done:
            self._open.popleft()[1].resolved()

    def closed(self, path: bytes, entries: Sequence[TreeEntry]) -> tuple[str, int]:
        """The digest of a folder with these entries, and how many there are in and below it."""
        if self.progress is not None:
            self.progress(self.files, self.size)
        if self.seen is not None:
            self.seen(path, entries)
        return add_folder(entries, self.keep)

    def chosen(self, handle: int, path: bytes, label: bytes, names: _Chosen, depth: int) -> TreeEntry:
        """An open folder with those of its names that were chosen. Raises OSError."""
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        found: list[Pending] = []
        for name, below in names.items():
            inside = path + b"/" + name if path else name
            try:
                status = os.stat(name, dir_fd=handle, follow_symlinks=False)
                if below and stat.S_ISDIR(status.st_mode) and depth < MAX_DEPTH:
                    with opened(name, os.O_DIRECTORY, folder=handle) as folder:
                        found.append(Pending(self.chosen(folder, inside, name, below, depth + 1)))
                else:
                    found.append(self.entry(handle, name, inside, status, depth + 1))
            except FileNotFoundError:
                continue
            except OSError as error:
                found.append(Pending(self.lost(TreeEntry(FILE, 0, 0, name, UNREAD), inside, error)))
        self.settle()
        entries = [one.resolved() for one in found]
        digest, number = add_folder(entries, self.keep)
        return TreeEntry(FOLDER, mode, number, label, digest)

    def found(self, folder: int, path: bytes, depth: int) -> Iterator[Pending]:
        """Whatever lies in an open folder."""
        with os.scandir(folder) as listing:
            items = list(listing)
        start, skipped = path + b"/" if path else b"", self.skipped_inodes
        for item in items:
            name = os.fsencode(item.name)
            inside = start + name
            try:
                # The listing has kind and inode: most names need no look of their own.
                if not skipped or item.inode() not in skipped:
                    if item.is_file(follow_symlinks=False):
                        yield self.file(folder, name, inside)
                        continue
                    if item.is_dir(follow_symlinks=False):
                        yield self.folder(folder, name, inside, depth + 1)
                        continue
                status = item.stat(follow_symlinks=False)
            except OSError as error:
                yield Pending(self.lost(TreeEntry(FILE, 0, 0, name, UNREAD), inside, error))
                continue
            if (status.st_dev, status.st_ino) not in self.skipped:
                yield self.entry(folder, name, inside, status, depth + 1)

    # --- content ---------------------------------------------------------------------------------

    def known(self, handle: int, status: os.stat_result, name: bytes, path: bytes) -> TreeEntry | None:
        """The entry of an open file whose content something vouches for, so that it need not be read."""
        return None

    def file(self, folder: int, name: bytes, path: bytes) -> Pending:
        """A regular file: read here when it is small, by the pool when it is not."""
        reason: OSError | str = ""
        for _ in range(TRIES):
            try:
                handle = os.open(name, FLAGS, dir_fd=folder)
            except OSError as error:
                reason = error
                break
            try:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    reason = "it was a file and is none any more"
                    continue
                if (known := self.known(handle, status, name, path)) is not None:
                    return Pending(known, status=status)
                if status.st_size > AT_ONCE:
                    return self._large(os.dup(handle), status, name, path)
                data = os.read(handle, status.st_size + 1)
                if len(data) == status.st_size and unchanged(status, os.fstat(handle)):
                    if self.content is not None or status.st_nlink > 1:
                        self._tell(path, status, (data,))
                    self.files += 1
                    self.size += len(data)
                    digest = hashlib.sha256(data).hexdigest()
                    entry = TreeEntry(FILE, stat.S_IMODE(status.st_mode), len(data), name, digest)
                    return Pending(entry, status=status)
                reason = "it changed while it was read"
            except OSError as error:
                reason = error
                break
            finally:
                os.close(handle)
        return Pending(self.lost(TreeEntry(FILE, 0, 0, name, UNREAD), path, reason))

    def _large(self, handle: int, status: os.stat_result, name: bytes, path: bytes) -> Pending:
        """``handle`` is taken over, and closed when all of the file is read."""
        pending = Pending(TreeEntry(FILE, stat.S_IMODE(status.st_mode), status.st_size, name, UNREAD))
        chunks = self._submit(handle, status.st_size)
        pending.later = lambda: self._read(handle, status, pending, chunks, path)
        self._waiting.append(pending)
        self._begun += 1
        self.settle(MAX_OPEN - 1)
        return pending

    def _submit(self, handle: int, size: int) -> list[Future[str]]:
        return [self.pool.submit(_digest, handle, at, min(CHUNK, size - at)) for at in range(0, size, CHUNK)]

    def _digests(self, handle: int, size: int, chunks: list[Future[str]]) -> list[str]:
        """The digests of a file's chunks; those that no thread has begun are read here, from the last one on.

        Else this thread would be idle, or one more would share the processors with it while it walks.
        """
        ours: dict[int, str] = {}
        for number in reversed(range(len(chunks))):
            if chunks[number].cancel():
                ours[number] = _digest(handle, number * CHUNK, min(CHUNK, size - number * CHUNK))
        return [ours[number] if number in ours else chunk.result() for number, chunk in enumerate(chunks)]

    def _read(
        self, handle: int, status: os.stat_result, pending: Pending, chunks: list[Future[str]], path: bytes
    ) -> TreeEntry:
        reason: OSError | str = ""
        try:
            for _ in range(TRIES):
                digests = self._digests(handle, status.st_size, chunks)
                after = os.fstat(handle)
                if unchanged(status, after):
                    self._tell(path, status, _blocks(handle, status.st_size))
                    self.files += 1
                    self.size += status.st_size
                    pending.status = status
                    return self._large_entry(pending.entry, status, digests)
                reason, status = "it changed while it was read", after
                chunks = self._submit(handle, status.st_size)
        except OSError as error:
            reason = error
        finally:
            # To wait for one that was cancelled would be to wait for all that were begun before it.
            wait([chunk for chunk in chunks if not chunk.cancel()])
            with suppress(OSError):
                os.close(handle)
        return self.lost(pending.entry, path, reason)

    def _large_entry(self, entry: TreeEntry, status: os.stat_result, digests: list[str]) -> TreeEntry:
        mode, size = stat.S_IMODE(status.st_mode), status.st_size
        if size > CHUNK:
            return TreeEntry(LARGE, mode, size, entry.name, add_chunks(size, digests, self.keep))
        digest = digests[0] if digests else hashlib.sha256().hexdigest()
        return TreeEntry(FILE, mode, size, entry.name, digest)

    def _tell(self, path: bytes, status: os.stat_result, blocks: Iterable[bytes]) -> None:
        """Hand on what is asked for of a file that was read."""
        if self.content is not None:
            self.content(path, status.st_size, blocks)
        self.name(path, status)

    def name(self, path: bytes, status: os.stat_result) -> None:
        """Tell of a file that has other names, too."""
        if self.named is not None and status.st_nlink > 1:
            self.named(path, status)

    def lost(self, entry: TreeEntry, path: bytes, reason: OSError | str) -> TreeEntry:
        """Note why something could not be read; ``entry`` says that it was not."""
        text = reason if isinstance(reason, str) else reason.strerror or str(reason)
        self.unread.append(Unread(escaped(path) or ".", text))
        return entry


_memory = local()


def _blocks(handle: int, size: int) -> Iterator[bytes]:
    """The bytes of an open file, once more; raises OSError when there are fewer."""
    offset = 0
    while offset < size:
        block = os.pread(handle, min(_BUFFER, size - offset), offset)
        if not block:
            raise OSError("it became shorter while it was read")
        yield block
        offset += len(block)


def _digest(handle: int, offset: int, length: int) -> str:
    """SHA-256 of so many bytes from ``offset`` on; raises OSError when there are fewer."""
    buffer: bytearray = getattr(_memory, "buffer", None) or bytearray(_BUFFER)
    _memory.buffer = buffer
    view, sha, end = memoryview(buffer), hashlib.sha256(), offset + length
    while offset < end:
        count = os.preadv(handle, [view[: min(_BUFFER, end - offset)]], offset)
        if not count:
            raise OSError("it became shorter while it was read")
        sha.update(view[:count])
        offset += count
    return sha.hexdigest()


def unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether nothing was written between two looks at an open file, as far as its size and times tell."""
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def _identity(path: Path) -> tuple[int, int] | None:
    """Which folder lies there. A file in its place may have other names, which are not to be left out."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


@contextmanager
def opened(path: bytes, flags: int, *, folder: int | None = None) -> Iterator[int]:
    """A handle for reading that is closed at the end; never through a link. Raises OSError."""
    handle = os.open(path, FLAGS | flags, dir_fd=folder)
    try:
        yield handle
    finally:
        os.close(handle)
