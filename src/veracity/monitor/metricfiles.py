"""Files of metrics that the job writes, found and read from outside while it runs.

Found in two ways: what processes of the job hold open for writing (``/proc``), and what appears or grows in
the folders where such files use to lie (the working folder, folders named on the command line). Only
regular files with the name of a known format are opened, without following links in place of the file and
without blocking; how much is read in one look, and of one run, is bounded. All of it happens in a thread of
its own: a file system that hangs costs the law its sight, not the monitor its pace.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, field
from pathlib import Path

from ..core.observation import Gap, LoggedValue, MetricsLogged
from ..core.origin import Origin, Trust
from ..observe import process
from ..observe.metrics import Parser, parser_for
from .pace import be_modest

LAW = "reported-computed"
LOOK_EVERY = 0.5
CALM_EVERY = 5.0
"""The same where few steps are looked at: a look and what follows from it take milliseconds."""
SEARCH_EVERY = 5.0
LIST_AGAIN = 12
"""Searches after which folders are listed again although they seem unchanged: not all file systems tell."""
SETTLED = 2_000_000_000
"""Nanoseconds after its last change until a folder's listing is kept: its times come in ticks."""
WAIT = 1000
"""A search is followed by so many times its own processor time without one, when that is longer."""
LAST_SECONDS = 20.0
MAX_FILES = 64
MAX_ROOTS = 32
MAX_LOOK = 4 << 20
MAX_WHOLE = 8 << 20
MAX_RUN = 256 << 20
MAX_VALUES = 2000
MAX_VISITED = 4000
MAX_DEPTH = 4
MAX_PROCESSES = 64
TAIL = 64
_PASSED_OVER = frozenset({"node_modules", "site-packages", "__pycache__", "venv", "env"})


@dataclass(frozen=True, slots=True)
class Before:
    """A file as it was before the job began: what it held then is not the job's. ``tail``: its last bytes."""

    size: int
    changed: int
    tail: bytes


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder held when its times were ``stamp``: of ``count`` names, folders and files of metrics."""

    stamp: tuple[int, int, int, int]
    count: int
    folders: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(slots=True)
class Followed:
    """One file, read up to ``offset``; ``descriptor`` is kept so that one renamed away is read to its end."""

    path: str
    parser: Parser
    descriptor: int
    inode: tuple[int, int]
    offset: int = 0
    changed: int = 0
    pid: int = 0
    told: bool = False


@dataclass(slots=True)
class MetricFiles:
    """All files of metrics of one job.

    ``roots`` are the folders that are searched. ``before`` is what lay there when the job had not begun.
    """

    roots: tuple[Path, ...]
    before: dict[tuple[int, int], Before] = field(default_factory=dict)
    _followed: dict[str, Followed] = field(default_factory=dict)
    _holders: dict[str, int] = field(default_factory=dict)
    _read: int = 0
    _full: bool = False
    _next_look: float = 0.0
    _next_search: float = 0.0
    _search_took: float = 0.0
    _searches: int = 0
    _listings: dict[str, Listing] = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "metric-files"))
    _running: Future[list[MetricsLogged | Gap]] | None = None

    @classmethod
    def of(cls, command: Sequence[str], folder: Path) -> MetricFiles:
        """For a command that will be started in ``folder``; notes what lies there already."""
        roots: dict[Path, None] = {folder: None}
        for word in command[:200]:
            part = word.partition("=")[2] if word.startswith("-") else word
            if part and len(part) < 1024 and "\0" not in part:
                roots.update(dict.fromkeys(_named(folder / part)))
        made = cls(tuple(roots)[:MAX_ROOTS])
        # Begun now, so that the thread does not take over the monitor's idle class, which may starve it.
        made._pool.submit(be_modest)
        for path in made._search():
            with contextlib.suppress(OSError):
                made._remember(path)
        return made

    def look(self, pids: Sequence[int], *, calm: bool = False) -> Iterator[MetricsLogged | Gap]:
        """What was read since the last look, and begin the next one; ``pids`` are the job's processes.

        ``calm``: there is no hurry.
        """
        if self._running is not None:
            if not self._running.done():
                return
            found, self._running = self._running.result(), None
            yield from found
        now = time.monotonic()
        if now < self._next_look:
            return
        search = now >= self._next_search
        self._next_look = now + (CALM_EVERY if calm else LOOK_EVERY)
        if search:
            self._next_search = now + max(SEARCH_EVERY, WAIT * self._search_took)
        self._running = self._pool.submit(self._pass, list(pids)[:MAX_PROCESSES], search)

    def last(self) -> Iterator[MetricsLogged | Gap]:
        """The job has ended: all that is left in its files."""
        try:
            if self._running is not None:
                yield from self._running.result(LAST_SECONDS)
            self._next_look = 0.0
            before = -1
            while before != self._read:
                before = self._read
                self._running = self._pool.submit(self._pass, [], True)
                yield from self._running.result(LAST_SECONDS)
        except NotInTime:
            yield _gap("files of metrics were not read to the end", f"not done in {LAST_SECONDS:.0f} s")
        finally:
            self._running = None
            self.close()

    def close(self) -> None:
        """Let the thread and the files go."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for followed in self._followed.values():
            with contextlib.suppress(OSError):
                os.close(followed.descriptor)
        self._followed.clear()

    # --- one pass, in the thread -----------------------------------------------------------------

    def _pass(self, pids: list[int], search: bool) -> list[MetricsLogged | Gap]:
        for pid in pids:
            for path in process.written_files(pid):
                if parser_for(path) is not None:
                    self._holders.setdefault(path, pid)
                    self._follow(path)
        if search:
            began = time.thread_time()
            for path in self._search():
                self._follow(path)
            self._search_took = time.thread_time() - began
        found: list[MetricsLogged | Gap] = []
        for followed in list(self._followed.values()):
            try:
                found += self._grown(followed)
            except OSError as error:
                found += self._told(followed, error.strerror or str(error))
            except Exception as error:  # noqa: BLE001 - a reader's fault costs its file, not the run
                found += self._told(followed, f"its reader failed: {type(error).__name__}: {error}"[:300])
                self._followed.pop(followed.path, None)
                os.close(followed.descriptor)
        return found

    def _follow(self, path: str) -> None:
        """Begin to read a file, where the job began to write it."""
        if path in self._followed or len(self._followed) >= MAX_FILES:
            return
        parser = parser_for(path)
        if parser is None:
            return
        with contextlib.suppress(OSError):
            descriptor, status = _opened(path)
            inode = (status.st_dev, status.st_ino)
            before = self.before.get(inode)
            offset = 0
            if before is not None:
                if (before.size, before.changed) == (status.st_size, status.st_mtime_ns):
                    os.close(descriptor)
                    return
                begin = max(0, before.size - TAIL)
                # The same bytes before the end of then: it was appended to, not written anew.
                if os.pread(descriptor, before.size - begin, begin) == before.tail:
                    offset = before.size
            followed = Followed(path, parser, descriptor, inode, offset, pid=self._holders.get(path, 0))
            if offset and not parser.whole:
                self._catch_up(followed)
            self._followed[path] = followed

    def _catch_up(self, followed: Followed) -> None:
        """Parsers need a file's beginning (names of columns, framing): read, but for its numbers."""
        at = 0
        while at < followed.offset and at < MAX_WHOLE:
            data = os.pread(followed.descriptor, min(MAX_LOOK, followed.offset - at), at)
            if not data:
                return
            at += len(data)
            for _ in followed.parser.feed(data):
                continue

    def _grown(self, followed: Followed) -> list[MetricsLogged | Gap]:
        """What was added to one file."""
        found: list[MetricsLogged | Gap] = []
        status = os.fstat(followed.descriptor)
        followed.pid = self._holders.get(followed.path, followed.pid)
        if followed.parser.whole:
            found += self._rewritten(followed)
        else:
            if status.st_size < followed.offset:
                self._start_over(followed)
            room = min(MAX_LOOK, MAX_RUN - self._read)
            data = os.pread(followed.descriptor, room, followed.offset) if room > 0 else b""
            if room <= 0 and status.st_size > followed.offset and not self._full:
                self._full = True
                found.append(_gap("files of metrics are not read on", f"{MAX_RUN >> 20} MiB were read"))
            followed.offset += len(data)
            self._read += len(data)
            if data:
                found += _batches(followed, list(followed.parser.feed(data)))
            elif _moved(followed):
                self._reopen(followed)
        if followed.parser.damaged:
            found += self._told(followed, followed.parser.damaged)
        return found

    def _rewritten(self, followed: Followed) -> list[MetricsLogged | Gap]:
        """A file that is written whole each time, in place or beside and renamed."""
        if _moved(followed):
            self._reopen(followed)
        status = os.fstat(followed.descriptor)
        if status.st_mtime_ns == followed.changed or status.st_size > MAX_WHOLE:
            return []
        if self._read + status.st_size > MAX_RUN:
            return []
        followed.changed = status.st_mtime_ns
        data = os.pread(followed.descriptor, MAX_WHOLE, 0)
        self._read += len(data)
        return _batches(followed, list(followed.parser.feed(data)))

    def _start_over(self, followed: Followed) -> None:
        followed.offset = 0
        fresh = parser_for(followed.path)
        if fresh is not None and not followed.parser.whole:
            followed.parser = fresh

    def _reopen(self, followed: Followed) -> None:
        """Another file stands at the path now: the old one was renamed away and is read to its end."""
        descriptor, status = _opened(followed.path)
        os.close(followed.descriptor)
        followed.descriptor, followed.inode = descriptor, (status.st_dev, status.st_ino)
        self._start_over(followed)

    def _told(self, followed: Followed, reason: str) -> list[MetricsLogged | Gap]:
        """That a file cannot be read on, once."""
        if followed.told:
            return []
        followed.told = True
        return [_gap(f"the file of metrics {followed.path} cannot be read on", reason)]

    # --- searching -------------------------------------------------------------------------------

    def _remember(self, path: str) -> None:
        descriptor, status = _opened(path)
        try:
            begin = max(0, status.st_size - TAIL)
            tail = os.pread(descriptor, TAIL, begin)
            key = (status.st_dev, status.st_ino)
            self.before[key] = Before(status.st_size, status.st_mtime_ns, tail)
        finally:
            os.close(descriptor)

    def _search(self) -> Iterator[str]:
        """Files with a known name below the roots, the nearest first; never through links."""
        known = self._listings if self._searches % LIST_AGAIN else {}
        self._searches += 1
        self._listings = {}
        pending = deque((str(root), 0) for root in self.roots)
        visited = 0
        while pending and visited < MAX_VISITED:
            folder, depth = pending.popleft()
            try:
                listing = _listed(folder, known.get(folder))
            except OSError:
                continue
            visited += listing.count
            if time.time_ns() - max(listing.stamp[2:]) > SETTLED:
                self._listings[folder] = listing
            if depth < MAX_DEPTH:
                pending += [(one, depth + 1) for one in listing.folders]
            yield from map(os.path.realpath, listing.files)


def _listed(folder: str, known: Listing | None) -> Listing:
    """What lies in a folder now; ``known`` if nothing was added, removed or renamed since that was listed.

    Raises OSError for what cannot be listed.
    """
    status = os.stat(folder)
    stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
    if known is not None and known.stamp == stamp:
        return known
    count, folders, files = 0, list[str](), list[str]()
    with os.scandir(folder) as items:
        for item in items:
            count += 1
            if count > MAX_VISITED:
                break
            if item.is_dir(follow_symlinks=False):
                if not item.name.startswith(".") and item.name not in _PASSED_OVER:
                    folders.append(item.path)
            elif item.is_file(follow_symlinks=False) and parser_for(item.path) is not None:
                files.append(item.path)
    return Listing(stamp, count, tuple(folders), tuple(files))


def _named(path: Path) -> list[Path]:
    """The folder that a word of a command names, one that is not there yet included."""
    try:
        if path.is_dir():
            return [path]
        absent = path.parent.is_dir() and not path.exists()
        return [path] if absent and path.name[:1].isalpha() else []
    except (OSError, ValueError):
        return []


def _opened(path: str) -> tuple[int, os.stat_result]:
    """A regular file, opened for reading; raises OSError for links, pipes and devices."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no regular file")
    return descriptor, status


def _moved(followed: Followed) -> bool:
    """Whether another file stands at the path than the one that is open."""
    try:
        status = os.stat(followed.path, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) != followed.inode


def _batches(followed: Followed, values: list[LoggedValue]) -> list[MetricsLogged | Gap]:
    origin = Origin("monitor", Trust.SERVICE, followed.pid, -1, -1, time.time_ns())
    return [
        MetricsLogged(origin, followed.path, followed.pid > 0, values[at : at + MAX_VALUES])
        for at in range(0, len(values), MAX_VALUES)
    ]


def _gap(what: str, reason: str) -> Gap:
    return Gap(Origin("monitor", Trust.SERVICE, 0, -1, -1, time.time_ns()), what, reason, law=LAW)
