"""Reading a tree again where a memory says what was read before.

At the levels *stat* and *sample* a file that looks as it did when it was read (device, inode, size, times of
the last write and the last change, mode) is not read again. Nobody but the kernel sets the time of the last
change, so whoever writes to a file changes how it looks. Three things make that not quite true, and are taken
care of here: a change so soon after the reading that the time is the same, pages that were mapped for writing
before it and are not written back, and file systems whose times are somebody's word. What was changed less
than a minute before it was read is therefore read again the next time, and so is everything on other file
systems than those that keep the rule (:mod:`.mounts`).

A folder whose own times are the same has the same names, so it is not listed: its names are looked at one
after the other, and when they look the same as bytes, the folder is what it was.

At the level *kernel* a file passes when the kernel measures it as it did when it was read (:mod:`.fsverity`).
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ..core.level import KERNEL, MILLION, Level, Looked
from ..core.tree import CHUNK, FILE, FOLDER, LARGE, LINK, UNREAD, Keep, TreeEntry
from .fsverity import measurement_of
from .mounts import KEEPS_CHANGE_TIMES, MEASURES, FileSystems
from .tree import KINDS_OF_MODE, Asked, Closing, Pending, Reading, Walk, identities, opened, reading_threads

_LOOK = struct.Struct("=QQQqqI")
LOOK = _LOOK.size
DIGEST = 32
_NOTHING = bytes(LOOK)
_NO_DIGEST = bytes(DIGEST)
# A draw of 64 bits for each file, of which so many millionths are below the limit.
_DRAW = 8


@dataclass(frozen=True, slots=True)
class Remembered:
    """A folder as it was read: what it looked like, and what was in it.

    ``own``: how the folder itself looked. ``names``: of all in it that is no folder, in order; ``looks`` has
    :data:`LOOK` bytes and ``digests`` :data:`DIGEST` bytes for each (zero bytes: to be read again; without
    content). ``folders``: those in it. ``below`` as in :class:`~veracity.core.tree.TreeEntry`. ``files`` of
    the names are regular ones whose looks are remembered, of ``size`` bytes.
    """

    own: bytes
    digest: str
    below: int
    names: tuple[bytes, ...]
    looks: bytes
    digests: bytes
    folders: tuple[TreeEntry, ...]
    files: int
    size: int

    def look(self, at: int) -> bytes:
        """How the name at this place looked."""
        return self.looks[at * LOOK : (at + 1) * LOOK]

    def entry(self, at: int) -> TreeEntry:
        """What stood at this place; of a link without its target."""
        _, _, size, _, _, mode = _LOOK.unpack(self.look(at))
        permissions = stat.S_IMODE(mode)
        if stat.S_ISREG(mode):
            digest = self.digests[at * DIGEST : (at + 1) * DIGEST].hex()
            kind = LARGE if size > CHUNK else FILE
            return TreeEntry(kind, permissions, size, self.names[at], digest)
        if stat.S_ISLNK(mode):
            return TreeEntry(LINK, permissions, 0, self.names[at])
        kind = next((kind for test, kind in KINDS_OF_MODE if test(mode)), "c")
        return TreeEntry(kind, permissions, 0, self.names[at])


class Memory(Protocol):
    """What is remembered of one tree, by paths from its root. Times in ns since the epoch."""

    settled_before: int
    """What was changed later is not to be remembered: it may change again unseen. 0: nothing is."""
    notes: list[str]
    """Why it remembers nothing, or less than it might."""

    def recall(self, path: bytes) -> Remembered | None:
        """The folder at ``path`` as it was read."""

    def remember(self, path: bytes, folder: Remembered) -> None:
        """Keep how a folder was read."""

    def measured(self, measurement: str) -> tuple[int, str] | None:
        """Size and digest of what was read of a file that the kernel measured so."""

    def remember_measured(self, measurement: str, size: int, digest: str) -> None:
        """Keep what was read of a file that the kernel measures so."""


@dataclass(slots=True)
class Again:
    """How to read again: at which level, with which memory.

    ``holds``: whether the nodes of a digest are kept already, so that they need not be made again. ``key``
    draws what a sample reads; nobody who could change files may know it before.
    """

    level: Level
    memory: Memory
    key: bytes
    holds: Callable[[str], bool] = field(default=lambda digest: False)


def reread_tree(
    path: Path,
    keep: Keep,
    again: Again,
    asked: Asked | None = None,
    skip: Sequence[Path] = (),
) -> Reading:
    """:func:`~.tree.read_tree`, but for what the memory answers for at the level asked for.

    What is read is remembered. Raises the same.
    """
    with reading_threads() as pool:
        walk = RememberingWalk(keep, pool, again, skip, asked or Asked())
        root = walk.begin(path)
    looked = Looked(
        again.level,
        walk.files,
        walk.by_kernel,
        walk.by_stat,
        walk.size,
        (*again.memory.notes, *sorted(walk.reasons)),
    )
    return Reading(root, looked.files, walk.size + walk.passed_size, tuple(walk.unread), looked)


class RememberingWalk(Walk):
    """One reading of a tree with a memory."""

    def __init__(
        self,
        keep: Keep,
        pool: ThreadPoolExecutor,
        again: Again,
        skip: Sequence[Path],
        asked: Asked,
    ) -> None:
        super().__init__(keep, pool, identities(skip), asked)
        self.reasons: set[str] = set()
        if self.content is not None and again.level.remembers:
            self.reasons.add("files in a git repository are compared with what git has of them")
        self._level = again.level
        self._memory = again.memory
        self._holds = again.holds
        self._key = again.key
        self._systems = FileSystems()
        self._recalled: dict[bytes, _Recalled] = {}
        self._measurements: dict[bytes, str] = {}
        # What is left out is another at each reading, so what it lies in is not remembered.
        self._forgetful = identities([Path(os.path.realpath(one)).parent for one in skip])
        self.by_stat = 0
        self.by_kernel = 0
        self.passed_size = 0

    def entry(self, folder: int, name: bytes, path: bytes, status: os.stat_result, depth: int) -> Pending:
        """What ``name`` in an open folder is; a root that is a file is remembered like a folder with it."""
        if path or not stat.S_ISREG(status.st_mode):
            return super().entry(folder, name, path, status, depth)
        with opened(name, 0, folder=folder) as handle:
            believed = self._believes(handle, os.fstat(handle))
        before = self._memory.recall(path) if believed else None
        self._recalled[path] = self._recall(path, before)
        pending = super().entry(folder, name, path, status, depth)
        entry = pending.resolved()
        self._learn(path, entry)
        look, digest = self._kept(pending, entry, status.st_dev)
        if believed:
            self._memory.remember(path, _remembered(_NOTHING, ("", 0, ()), [(name, look, digest)]))
        return pending

    def inside(self, folder: int, status: os.stat_result, path: bytes, depth: int) -> Closing:
        """All that lies in an open folder, waited for."""
        if (status.st_dev, status.st_ino) in self._forgetful:
            return super().inside(folder, status, path, depth)
        believed = self._believes(folder, status)
        before = self._memory.recall(path) if believed else None
        own = look_of(status) if believed and self._is_settled(status) else _NOTHING
        trusts = self._level.trusts_times and self.content is None
        if before is not None and trusts and before.own == look_of(status):
            found = self._same_names(folder, before, path, depth)
            if found is not None:
                return lambda: found
        self._recalled[path] = self._recall(path, before if trusts else None)
        pending = sorted(self.found(folder, path, depth), key=lambda one: one.entry.name)
        del self._recalled[path]
        entries = [one.resolved() for one in pending]
        digest, below = self.closed(path, entries)
        kept = []
        for one, entry in zip(pending, entries, strict=True):
            if entry.kind != FOLDER:
                self._learn(_join(path, entry.name), entry)
                kept.append((entry.name, *self._kept(one, entry, status.st_dev)))
        folders = tuple(entry for entry in entries if entry.kind == FOLDER)
        new = _remembered(own, (digest, below, folders), kept)
        if believed and new != before:
            self._memory.remember(path, new)
        return lambda: (digest, below)

    def known(self, handle: int, status: os.stat_result, name: bytes, path: bytes) -> TreeEntry | None:
        """The entry of an open file that looks or measures as it did when it was read."""
        if self.content is not None:
            return None
        if not self._level.trusts_times:
            return self._measured(handle, status, name, path)
        recalled = self._recalled.get(path.rpartition(b"/")[0])
        at = None if recalled is None else recalled.places.get(name)
        if recalled is None or recalled.before is None or at is None or at in recalled.drawn:
            return None
        if recalled.before.look(at) != look_of(status):
            return None
        entry = recalled.before.entry(at)
        if entry.kind == LARGE and not self._holds(entry.digest):
            return None
        self.by_stat += 1
        self.passed_size += entry.size
        self.name(path, status)
        return entry

    # --- a folder whose names are the same --------------------------------------------------------

    def _same_names(self, folder: int, before: Remembered, path: bytes, depth: int) -> tuple[str, int] | None:
        """The digest of a folder with the names it had; None when one of them is gone all the same."""
        names, pack = before.names, _LOOK.pack
        try:
            found = [os.stat(name, dir_fd=folder, follow_symlinks=False) for name in names]
        except OSError:
            return None
        looks = b"".join(
            [
                pack(one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_mode)
                for one in found
            ]
        )
        to_read = set(self._drawn(path, len(names)))
        if looks != before.looks:
            to_read |= {
                at for at in range(len(names)) if looks[at * LOOK : (at + 1) * LOOK] != before.look(at)
            }
        if any(stat.S_ISDIR(found[at].st_mode) for at in to_read):
            return None
        self._passed(before, to_read)
        if self.named is not None:
            for at, status in enumerate(found):
                if status.st_nlink > 1 and at not in to_read and stat.S_ISREG(status.st_mode):
                    self.name(_join(path, names[at]), status)
        read = {
            at: self.entry(folder, names[at], _join(path, names[at]), found[at], depth + 1)
            for at in sorted(to_read)
        }
        inner = []
        for one in before.folders:  # not in a generator, which would be one more frame at each level
            inner.append(self.folder(folder, one.name, _join(path, one.name), depth + 1).resolved())
        folders = tuple(inner)
        entries = {at: one.resolved() for at, one in read.items()}
        is_same = folders == before.folders and all(
            entry == before.entry(at) for at, entry in entries.items()
        )
        if is_same and self.seen is None and self._holds(before.digest):
            digest, below = before.digest, before.below
            if self.progress is not None:
                self.progress(self.files + self.by_stat + self.by_kernel, self.size)
        else:
            for at in range(len(names)):
                if at not in entries:
                    entries[at] = self._unchanged(folder, before, at, path)
            ordered = [entries[at] for at in range(len(names))]
            digest, below = self.closed(path, [*ordered, *folders])
        self._update(path, before, read, entries, (digest, below, folders))
        return digest, below

    def _unchanged(self, folder: int, before: Remembered, at: int, path: bytes) -> TreeEntry:
        """A name that looks as it did."""
        entry = before.entry(at)
        if entry.kind == LINK:
            target = os.readlink(entry.name, dir_fd=folder) or b"."
            return TreeEntry(LINK, entry.mode, 0, entry.name, target=target)
        if entry.kind == LARGE and not self._holds(entry.digest):
            # Its chunks are wanted, too. It was counted among those that pass.
            self.by_stat -= 1
            self.passed_size -= entry.size
            return self.file(folder, entry.name, _join(path, entry.name)).resolved()
        return entry

    def _update(
        self,
        path: bytes,
        before: Remembered,
        read: dict[int, Pending],
        entries: dict[int, TreeEntry],
        now: tuple[str, int, tuple[TreeEntry, ...]],
    ) -> None:
        """Remember what is not as it was remembered."""
        if not read and now == (before.digest, before.below, before.folders):
            return
        looks, digests = bytearray(before.looks), bytearray(before.digests)
        device = _LOOK.unpack(before.own)[0]
        for at, pending in read.items():
            look, kept = self._kept(pending, entries[at], device)
            looks[at * LOOK : (at + 1) * LOOK] = look
            digests[at * DIGEST : (at + 1) * DIGEST] = kept
        digest, below, folders = now
        new = replace(
            before, digest=digest, below=below, looks=bytes(looks), digests=bytes(digests), folders=folders
        )
        if read:
            files, size = _counted(new.looks)
            new = replace(new, files=files, size=size)
        if new != before:
            self._memory.remember(path, new)

    # --- what may be believed ---------------------------------------------------------------------

    def _believes(self, handle: int, status: os.stat_result) -> bool:
        """Whether the times of a file system say when something was changed."""
        kind = self._systems.kind(handle, status.st_dev)
        if kind in KEEPS_CHANGE_TIMES:
            return True
        if self._level.trusts_times:
            self.reasons.add(
                f"times on {kind or 'a file system of unknown kind'} do not tell of every change"
            )
        return False

    def _is_settled(self, status: os.stat_result) -> bool:
        return status.st_ctime_ns <= self._memory.settled_before

    def _kept(self, pending: Pending, entry: TreeEntry, device: int) -> tuple[bytes, bytes]:
        """How a name looked when it was read, and its digest; nothing where that would prove nothing."""
        status = pending.status
        if entry.digest == UNREAD or status is None or status.st_dev != device:
            return _NOTHING, _NO_DIGEST
        if not self._is_settled(status):
            if self._level.trusts_times:
                self.reasons.add("what was changed shortly before it was read is read again the next time")
            return _NOTHING, _NO_DIGEST
        return look_of(status), bytes.fromhex(entry.digest) if entry.digest else _NO_DIGEST

    def _recall(self, path: bytes, before: Remembered | None) -> _Recalled:
        return _Recalled(before, self._drawn(path, len(before.names)) if before is not None else ())

    def _drawn(self, path: bytes, count: int) -> Collection[int]:
        """Places of a folder's names that are read whatever they look like."""
        share = self._level.share
        if not share or not count:
            return ()
        draws = hashlib.shake_256(self._key + path).digest(count * _DRAW)
        limit = share * (1 << 64) // MILLION
        return {at for at, draw in enumerate(memoryview(draws).cast("Q")) if draw < limit}

    def _passed(self, before: Remembered, read: Collection[int]) -> None:
        """Count the files of a folder that pass without being read, all but those at some places."""
        files, size = _counted(b"".join(before.look(at) for at in read))
        self.by_stat += before.files - files
        self.passed_size += before.size - size

    # --- the kernel's word ------------------------------------------------------------------------

    def _measured(self, handle: int, status: os.stat_result, name: bytes, path: bytes) -> TreeEntry | None:
        if self._systems.kind(handle, status.st_dev) not in MEASURES:
            return None
        measurement = measurement_of(handle)
        if not measurement:
            return None
        known = self._memory.measured(measurement) if self._level == KERNEL else None
        if known is None or known[0] != status.st_size:
            self._measurements[path] = measurement
            return None
        size, digest = known
        if size > CHUNK and not self._holds(digest):
            return None
        self.by_kernel += 1
        self.name(path, status)
        self.passed_size += size
        return TreeEntry(LARGE if size > CHUNK else FILE, stat.S_IMODE(status.st_mode), size, name, digest)

    def _learn(self, path: bytes, entry: TreeEntry) -> None:
        measurement = self._measurements.pop(path, "")
        if measurement and entry.is_file and entry.digest != UNREAD:
            self._memory.remember_measured(measurement, entry.size, entry.digest)


@dataclass
class _Recalled:
    """A folder that is listed anew: what was there before, and which of it is read whatever it looks like."""

    before: Remembered | None
    drawn: Collection[int] = ()

    @cached_property
    def places(self) -> dict[bytes, int]:
        return {} if self.before is None else {name: at for at, name in enumerate(self.before.names)}


def _remembered(
    own: bytes, whole: tuple[str, int, tuple[TreeEntry, ...]], kept: Sequence[tuple[bytes, bytes, bytes]]
) -> Remembered:
    """A folder of digest, number of names and folders; ``kept``: name, look and digest of all else in it."""
    names, looks, digests = zip(*kept, strict=True) if kept else ((), (), ())
    digest, below, folders = whole
    joined = b"".join(looks)
    return Remembered(own, digest, below, tuple(names), joined, b"".join(digests), folders, *_counted(joined))


def _counted(looks: bytes) -> tuple[int, int]:
    """Regular files, and their bytes."""
    sizes = [size for _, _, size, _, _, mode in _LOOK.iter_unpack(looks) if stat.S_ISREG(mode)]
    return len(sizes), sum(sizes)


def look_of(status: os.stat_result) -> bytes:
    """How something looks: device, inode, size, last write, last change, mode."""
    return _LOOK.pack(
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_mode,
    )


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name
