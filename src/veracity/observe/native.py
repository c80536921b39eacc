"""Native libraries mapped into a process, with their digests."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from . import process
from .torchzip import digest_file

MAX_LIBRARIES = 2_000
MAX_RANGES = 100_000
DEFAULT_BUDGET = 8 << 30
GONE = " (deleted)"
IN_MEMORY = "/memfd:"
_PART = 1 << 20
_LINE = re.compile(
    rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-][w-][x-])[ps] ([0-9a-f]{1,16}) [0-9a-f:]+ "
    rb"([0-9]{1,20}) +(/.*)\Z",
    re.S,
)


@dataclass(frozen=True, slots=True)
class NativeLibrary:
    """A mapped shared library. ``sha256`` is empty when it was not read, and ``reason`` says why."""

    path: str
    sha256: str
    size: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A file in the memory of a process. ``path`` as the kernel has it, without its mark for a file that is
    ``gone``; ``code``: address, end and offset in the file of the ranges that may be executed.
    """

    path: str
    inode: int
    gone: bool
    code: tuple[tuple[int, int, int], ...]


def mapped_code(pid: int) -> list[MappedFile] | None:
    """Files of which a process may execute something, or that are called like libraries.

    None when it is gone or not ours to read. What has no file (the kernel's vdso) is none of them.
    """
    data = process.read_maps(pid)
    return None if data is None else parse_maps(data)


def parse_maps(data: bytes) -> list[MappedFile]:
    """From the text of ``/proc/<pid>/maps`` (proc(5)); lines of another form are passed over."""
    found: dict[tuple[bytes, int], list[tuple[int, int, int]]] = {}
    for line in data.split(b"\n")[:MAX_RANGES]:
        match = _LINE.match(line)
        if match is None:
            continue
        runs = match[3].endswith(b"x")
        name = match[6].rpartition(b"/")[2]
        if not runs and b".so" not in name:
            continue
        ranges = found.setdefault((match[6], int(match[5])), [])
        if runs:
            ranges.append((int(match[1], 16), int(match[2], 16), int(match[4], 16)))
    files = []
    for (raw, inode), ranges in list(found.items())[:MAX_LIBRARIES]:
        path = os.fsdecode(raw)
        files.append(MappedFile(path.removesuffix(GONE), inode, path.endswith(GONE), tuple(ranges)))
    return files


def same_code(pid: int, mapped: MappedFile, path: str, budget: int) -> str:
    """Whether what a process executes of a file is what the file at ``path`` has at the same place.

    ``same``, ``differs``, or ``unread``: the process is gone or not ours, the ranges are larger than
    ``budget`` bytes. Code is position-independent: the loader writes nothing into these ranges.
    """
    if not mapped.code or sum(end - begin for begin, end, _ in mapped.code) > budget:
        return "unread"
    try:
        with (
            open(f"{process.PROC}/{pid}/mem", "rb", buffering=0) as memory,
            open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file,
        ):
            for begin, end, offset in mapped.code:
                for at in range(begin, end, _PART):
                    length = min(_PART, end - at)
                    here = os.pread(file.fileno(), length, offset + at - begin)
                    # Behind its end, a file that is mapped reads as zeros up to the end of the page.
                    if os.pread(memory.fileno(), length, at) != here.ljust(length, b"\0"):
                        return "differs"
    except (OSError, OverflowError):
        return "unread"
    return "same"


class NativeLibraries:
    """Digests libraries, each file once: by device, inode, size and times.

    ``budget`` bounds the bytes read over the life of the object.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        self._budget = budget
        self._known: dict[tuple[int, int, int, int, int], NativeLibrary] = {}

    def read(self, path: str) -> NativeLibrary:
        """One library file."""
        if path.endswith(GONE):
            return NativeLibrary(path, "", 0, "it is mapped but gone from disk")
        try:
            status = os.stat(path)
        except OSError as error:
            return NativeLibrary(path, "", 0, f"cannot be read: {error.strerror}")
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._known.get(key)
        if known is None:
            known = self._digest(path, status.st_size)
            if known.sha256:
                self._known[key] = known
        return NativeLibrary(path, known.sha256, known.size, known.reason)

    def _digest(self, path: str, size: int) -> NativeLibrary:
        if size > self._budget:
            return NativeLibrary(path, "", size, "not read: the budget for libraries is used up")
        self._budget -= size
        found = digest_file(path, size)
        if isinstance(found, str):
            return NativeLibrary(path, "", size, found)
        if found.changed:
            return NativeLibrary(path, "", size, "it changed while it was read")
        return NativeLibrary(path, found.sha256, found.size)
