"""Every .pyc of an environment beside its source: would Python execute what the source says?

Python loads a .pyc when time and size of the source are as its header says, and reads nothing else of the
source. So each is compared with a compile of the source, under the environment's own interpreter and in
processes of their own; what was found the same once is remembered by the digests of both files.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import re
import struct
import sys
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from ..core.observation import BytecodeCompared, Gap
from ..core.origin import monitor_origin
from ..core.tree import FILE, FOLDER, LINK, UNREAD, TreeEntry
from ..observe.marks import NOBODY, mark_of
from ..observe.pyenv import read_small
from ..observe.torchzip import FileDigest, digest_file
from .checkworker import CheckWorker
from .environment import Tree
from .knownbytecode import KnownBytecode, tag_of
from .lineworker import Answered

MAX_FILE = 64 << 20
HEADER = 16
LAW = "bytecode-truth"
AT_ONCE = 64
"""Requests that wait at one worker."""
_HASHED, _CHECKED = 1, 2
_MAGICS = {"3.10": 3439, "3.11": 3495, "3.12": 3531, "3.13": 3571, "3.14": 3627}
"""What the .pyc files of a version begin with (``importlib.util.MAGIC_NUMBER``, Python's own table)."""
_CHANGED = "its source was changed since"
_NAME = re.compile(r"(?P<stem>.+)\.cpython-3(?P<minor>\d{1,3})t?(\.opt-[12])?\.pyc\Z")


@dataclass(frozen=True, slots=True)
class Programs:
    """What compiles: the environment's interpreter, the guard's archive and the package's name in it."""

    python: str
    version: str
    archive: Path
    package: str
    workers: int


@dataclass(frozen=True, slots=True)
class _Job:
    """A .pyc that was read, and its source; paths are relative to the folder."""

    path: str
    source: str
    entry: TreeEntry
    source_entry: TreeEntry
    flags: int
    magic: bytes
    header: bytes


class BytecodeCheck:
    """Compares what lies in ``folder``, which was read as ``tree``; ``cache`` remembers pairs.

    ``vouched``: paths whose content is that of an archive.
    """

    def __init__(self, folder: str, tree: Tree, programs: Programs, cache: Path, vouched: Set[str]) -> None:
        self._folder = folder
        self._tree = tree
        self._programs = programs
        self._minor = programs.version.partition(".")[2]
        self._known = KnownBytecode(cache, "pyc")
        self._vouched = vouched
        self._origin = monitor_origin(time.time_ns())
        self._remembering = True
        self._tags: dict[str, str] = {}

    def run(self, progress: Callable[[int], object] | None = None) -> Iterator[BytecodeCompared | Gap]:
        """Each .pyc below a ``__pycache__``, those of other versions of Python left out.

        A gap for those that could not be compared: one made to be beyond the checker is no clean one.
        """
        unread: list[BytecodeCompared] = []
        for found in self._compared(progress):
            if found.standing == "unread":
                unread.append(found)
            yield found
        if unread:
            first = unread[0]
            what = f"{len(unread)} .pyc files were not compared with their sources, {first.path} among them"
            yield Gap(self._origin, what, first.reason, law=LAW)

    def _compared(self, progress: Callable[[int], object] | None) -> Iterator[BytecodeCompared]:
        pending: list[_Job] = []
        for raw, entry in self._tree.items():
            if not raw.endswith(b".pyc") or b"__pycache__/" not in raw:
                continue
            path = os.fsdecode(raw)
            found = self._prepare(path, entry)
            if isinstance(found, BytecodeCompared):
                yield found
            elif found is not None:
                pending.append(found)
        yield from self._compile(pending, progress)

    def _prepare(self, path: str, named_entry: TreeEntry) -> _Job | BytecodeCompared | None:
        folder, _, name = path.rpartition("/")
        named = _NAME.match(name)
        if named is None or named["minor"] != self._minor:
            return None  # another Python's, or no name that Python looks for
        parent = folder.rpartition("__pycache__")[0]
        source = f"{parent}{named['stem']}.py"
        source_entry = self._tree.get(os.fsencode(source))
        if source_entry is None or source_entry.kind != FILE:
            source_entry = self._behind(source, source_entry)
        if source_entry is None:
            return self._result(path, source, "orphan", "there is no source, and Python does not load it")
        entry = named_entry if named_entry.kind == FILE else self._behind(path, named_entry)
        if entry is None:
            is_there = named_entry.kind != FOLDER and os.path.exists(os.path.join(self._folder, path))
            return self._result(path, source, "unread", "it is no file") if is_there else None
        if UNREAD in (entry.digest, source_entry.digest):
            return self._result(path, source, "unread", "it could not be read")
        if self._known.knows(self._tag(name[named.end("stem") :]), entry.digest, source_entry.digest):
            return self._result(path, source, "same", "")
        header = _head(os.path.join(self._folder, path))
        if len(header) < HEADER:
            return self._result(path, source, "stale", "it is too short, and Python does not load it")
        return _Job(
            path, source, entry, source_entry, struct.unpack("<I", header[4:8])[0], header[:4], header[8:]
        )

    def _tag(self, suffixes: str) -> str:
        """:func:`tag_of` of what a name ends with: there are few of them."""
        tag = self._tags.get(suffixes)
        if tag is None:
            tag = self._tags[suffixes] = tag_of(suffixes)
        return tag

    def _behind(self, path: str, entry: TreeEntry | None) -> TreeEntry | None:
        """The entry of a file; of the file that a link leads to, since Python follows it."""
        if entry is not None and entry.kind == LINK:
            found = digest_file(os.path.join(self._folder, path))
            if not isinstance(found, FileDigest):
                return None
            return TreeEntry(FILE, entry.mode, found.size, entry.name, found.sha256)
        return entry if entry is not None and entry.is_file else None

    def _compile(
        self, jobs: list[_Job], progress: Callable[[int], object] | None
    ) -> Iterator[BytecodeCompared]:
        programs = self._programs
        count = max(1, min(programs.workers, len(jobs)))
        workers = [CheckWorker(programs.python, programs.archive, programs.package) for _ in range(count)]
        waiting = dict(enumerate(jobs))
        numbers = iter(list(waiting))
        turns = cycle(workers)
        done = 0
        try:
            while waiting:
                for worker in workers:
                    while worker.pending < AT_ONCE and (number := next(numbers, None)) is not None:
                        request = self._request(waiting[number])
                        if isinstance(request, str):
                            job = waiting.pop(number)
                            yield self._result(job.path, job.source, "unread", request)
                        else:
                            worker.send(number, request)
                for result in next(turns).pump(0.05 if count == 1 else 0.01):
                    job = waiting.pop(result.number)
                    done += 1
                    if progress is not None:
                        progress(done)
                    if isinstance(result, Answered):
                        yield self._judged(job, result.body)
                    else:
                        yield self._result(job.path, job.source, "unread", result.reason)
        finally:
            for worker in workers:
                worker.close()

    def _request(self, job: _Job) -> dict[str, object] | str:
        """What a worker is asked; or why it cannot be."""
        contents = []
        for path, entry in ((job.path, job.entry), (job.source, job.source_entry)):
            data = read_small(os.path.join(self._folder, path), MAX_FILE)
            if data is None or hashlib.sha256(data).hexdigest() != entry.digest:
                return f"it changed after it was read, or is larger than {MAX_FILE >> 20} MiB"
            contents.append(data)
        tag = tag_of(job.path)
        return {
            "source": os.path.join(self._folder, job.source),
            "text": base64.b64encode(contents[1]).decode("ascii"),
            "body": base64.b64encode(contents[0][HEADER:]).decode("ascii"),
            "optimize": int(tag[-1]) if tag else 0,
        }

    def _judged(self, job: _Job, body: dict[str, object]) -> BytecodeCompared:
        same, reason = body.get("same"), str(body.get("reason") or body.get("error") or "")
        unchecked = bool(job.flags & _HASHED) and not job.flags & _CHECKED
        if same is True:
            if not unchecked:
                self._remember(job)
            return self._result(job.path, job.source, "unchecked-hash" if unchecked else "same", "")
        if same is False:
            stale = self._why_stale(job, unchecked=unchecked)
            if stale == _CHANGED and job.source in self._vouched:
                return self._result(job.path, job.source, "waiting", stale)
            forged = "archived" if job.path in self._vouched else "forged"
            return self._result(job.path, job.source, "stale" if stale else forged, stale or reason)
        return self._result(job.path, job.source, "unread", reason or "the checker gave no answer")

    def _remember(self, job: _Job) -> None:
        if not self._remembering:
            return
        try:
            self._known.add(tag_of(job.path), job.entry.digest, job.source_entry.digest)
        except OSError:
            self._remembering = False  # the next comparison takes as long as this one, and nothing else

    def _why_stale(self, job: _Job, *, unchecked: bool) -> str:
        """Why Python would compile the source again instead of loading this; empty when it would not."""
        magic = self._magic()
        if magic and job.magic != magic:
            return "it is of another Python"
        if unchecked:
            return ""
        if job.flags & _HASHED:
            return self._hash_differs(job)
        try:
            status = os.stat(os.path.join(self._folder, job.source))
        except OSError:
            return ""
        time_and_size = struct.pack("<II", int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
        return "" if job.header == time_and_size else _CHANGED

    def _hash_differs(self, job: _Job) -> str:
        if not self._is_own_version():
            return ""  # the hash is keyed by the interpreter: take the worse
        data = read_small(os.path.join(self._folder, job.source), MAX_FILE)
        fits = data is not None and importlib.util.source_hash(data) == job.header
        return "" if fits else _CHANGED

    def _magic(self) -> bytes:
        """What the interpreter's .pyc files begin with; empty when not known. Files are never asked: they
        could outvote the true one."""
        if self._is_own_version():
            return importlib.util.MAGIC_NUMBER
        known = _MAGICS.get(self._programs.version)
        return b"" if known is None else struct.pack("<H", known) + b"\r\n"

    def _is_own_version(self) -> bool:
        return self._programs.version == f"{sys.version_info[0]}.{sys.version_info[1]}"

    def _result(self, path: str, source: str, standing: str, reason: str) -> BytecodeCompared:
        place = f"{self._folder}/{path}"
        marked = mark_of(place) if standing not in ("same", "stale") else NOBODY
        source = f"{self._folder}/{source}"
        return BytecodeCompared(self._origin, place, source, standing, reason, *marked.fields)


def _head(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(HEADER)
    except OSError:
        return b""
