"""Native libraries in the memory of the job's processes: digested while they are mapped, asked of the seal.

A look at a process costs a read of its memory map; files are read in a thread. What is mapped may be another
file than the one that lies at its path now: then the code in memory is compared with the latter's.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.errors import Error
from ..core.observation import Gap, LibraryMapped
from ..core.origin import monitor_origin
from ..core.tree import CHUNK
from ..observe.dpkg import packages_of
from ..observe.native import (
    IN_MEMORY,
    MappedFile,
    NativeLibraries,
    NativeLibrary,
    mapped_code,
    same_code,
)
from ..observe.ownership import Owner, Ownership
from ..observe.process import PROC
from ..observe.pyenv import RecordIndex, read_small
from ..observe.tree import read_tree
from ..observe.writers import writers_of
from ..scan.lineworker import TENTH
from .code import Code
from .pace import be_modest

LAW = "sealed-libraries"
LOOK_EVERY = 5.0
MAX_PIDS = 64
MAX_LIBRARIES = 4096
MAX_FILE = 512 << 20
MEMORY_BUDGET = 2 << 30
UNMAPPED = 65_534
"""Whose the files of a driver are told to be that is mounted into a container without root."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A mapped file as it was found. ``large``: the digest of its chunks when it is a large one."""

    pid: int
    mapped: MappedFile
    library: NativeLibrary
    large: str
    memory: str
    made: bool


class Libraries:
    """Libraries of the job's guarded processes: each file once, whoever maps it."""

    def __init__(self, code: Code, started_at: int) -> None:
        self._code = code
        self._started_at = started_at
        self._digests = NativeLibraries()
        self._pool = ThreadPoolExecutor(1, "library-digest")
        # The process may end before hundreds of megabytes of others are digested.
        self._comparing = ThreadPoolExecutor(1, "library-memory")
        # On idle time, half a gigabyte of libraries took minutes where training uses all processors.
        for pool in (self._pool, self._comparing):
            pool.submit(be_modest, TENTH)
        self._found: dict[tuple[str, int], Future[_Seen]] = {}
        self._due: list[Future[_Seen]] = []
        self._owned: list[Future[list[LibraryMapped]]] = []
        self._budget = MEMORY_BUDGET
        self._next = 0.0
        self._told: set[str] = set()

    def look(self, pids: Iterable[int], *, at_once: bool = False) -> None:
        """Read the maps of ``pids``, at most every few seconds unless ``at_once``."""
        now = time.monotonic()
        if now < self._next and not at_once:
            return
        self._next = now + LOOK_EVERY
        for pid in list(pids)[:MAX_PIDS]:
            for mapped in mapped_code(pid) or ():
                key = (mapped.path, mapped.inode)
                if key not in self._found and len(self._found) < MAX_LIBRARIES:
                    self._found[key] = self._pool.submit(self._read, pid, mapped, self._memory(pid, mapped))
                    self._due.append(self._found[key])

    @property
    def pending(self) -> int:
        """Libraries that were not looked at to the end."""
        return len(self._due) + len(self._owned)

    def poll(self) -> Iterator[LibraryMapped | Gap]:
        """Of each library that is read by now how it stands in the seal that the run was started on."""
        outside: list[LibraryMapped] = []
        done = [one for one in self._due if one.done()]
        self._due = [one for one in self._due if not one.done()]
        for one in done:
            if self._code.sealed is None:
                continue
            try:
                mapped = self._mapped(one.result())
            except Error as error:
                if "seal" not in self._told:
                    self._told.add("seal")
                    what = "native libraries are not compared with the seal any more"
                    yield Gap(monitor_origin(time.time_ns()), what, str(error), law=LAW, stops=True)
                continue
            if mapped.sealed == "outside" and self._code.seals_environment:
                outside.append(mapped)
            else:
                yield mapped
        if outside:
            self._owned.append(self._pool.submit(_with_owners, outside, self._code.folders()))
        for batch in [one for one in self._owned if one.done()]:
            self._owned.remove(batch)
            yield from batch.result()

    def all(self) -> list[NativeLibrary]:
        """The libraries whose digest is there, for the manifest of what ran."""
        read = [one.result() for one in self._found.values() if one.done()]
        return [one.library for one in read if ".so" in os.path.basename(one.library.path)]

    def close(self) -> None:
        """Let the threads end."""
        for pool in (self._pool, self._comparing):
            pool.shutdown(wait=False, cancel_futures=True)

    def _memory(self, pid: int, mapped: MappedFile) -> Future[str] | None:
        """Compare what is mapped with what lies at its path, where that is another file."""
        status = _status(mapped.path)
        if status is None or (not mapped.gone and status.st_ino == mapped.inode):
            return None
        budget = self._budget
        self._budget -= sum(end - begin for begin, end, _ in mapped.code)
        return self._comparing.submit(same_code, pid, mapped, mapped.path, budget)

    def _read(self, pid: int, mapped: MappedFile, compared: Future[str] | None) -> _Seen:
        """What lies at the path of a mapped file, and whether it is what is mapped."""
        path = mapped.path
        status = _status(path)
        if status is None:
            return _Seen(pid, mapped, self._digests.read(f"{path} (deleted)"), "", "", made=False)
        library = self._digests.read(path)
        memory = "" if compared is None else compared.result()
        large = ""
        if library.sha256 and status.st_size > CHUNK and self._code.sealed is not None:
            with contextlib.suppress(Error):  # gone meanwhile: then nobody knows how it stands
                large = read_tree(Path(path), _forget, threads=1).root.digest
        return _Seen(pid, mapped, library, large, memory, status.st_ctime_ns > self._started_at)

    def _mapped(self, one: _Seen) -> LibraryMapped:
        library, sealed = one.library, self._code.sealed
        path = one.mapped.path
        standing = "missing"
        if sealed is not None and library.sha256:
            standing = sealed.standing(path, library.sha256, one.large)
        elif sealed is not None and not library.reason.endswith("gone from disk"):
            standing = "unknown"
        origin = monitor_origin(time.time_ns(), pid=one.pid, source="/proc")
        return LibraryMapped(
            origin, path, library.sha256, library.size, library.reason, standing, one.memory, one.made,
            "", "", "", "",
        )  # fmt: skip


def _status(path: str) -> os.stat_result | None:
    """Of what lies at a path; None where nothing does, or nothing could."""
    try:
        return None if path.startswith(IN_MEMORY) else os.stat(path)
    except OSError:
        return None


def _with_owners(libraries: list[LibraryMapped], folders: list[str]) -> list[LibraryMapped]:
    """The same with who brought each; they lie in no part of the seal."""
    brought = packages_of([one.path for one in libraries])
    owners = Ownership(RecordIndex(folders), [], dpkg="")
    found = []
    for one in libraries:
        if one.path in brought:
            owner = Owner("listed", brought[one.path][0], "dpkg")
        else:
            data = read_small(one.path, MAX_FILE)
            owner = Owner("unread") if data is None else owners.of(one.path, data)
        found.append(
            replace(
                one,
                standing=owner.standing,
                owner=owner.name,
                writers=writers_of(one.path),
                whose=_whose(one.path, one.origin.pid),
            )
        )
    return found


def _whose(path: str, pid: int) -> str:
    """Whether a file is root's, of the account that a process runs under, or of another one."""
    try:
        owner = os.stat(path).st_uid
    except OSError:
        return "other"
    if owner in (0, UNMAPPED):
        return "root"
    try:
        account = os.stat(f"{PROC}/{pid}").st_uid
    except OSError:
        account = os.getuid()
    return "job" if owner == account else "other"


def _forget(digest: str, data: bytes) -> None:
    """Nodes of a large file are not kept here."""
