"""Processes that read files, so that one that ends or never ends costs one file and not the scan.

Each worker is handed a few names at a time and answers with a line of JSON for each, several lines at once
where files are small. A worker that ends in the middle, or is silent for longer than a file may take, is
replaced. Which file it was reading stands in memory that both sides share: that file is said to be unread,
the others are handed out again.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn

from ...observe.artifact.url import shown
from .answers import line_of, result_in
from .file import Settings, prepare, scan_file
from .result import FileResult, Missed

BATCH = 32
GRACE = 30.0
"""Seconds beyond a file's own bound after which a silent worker is ended."""
MAX_MEMORY = 8 << 30
_MAX_ANSWER = 256 << 20
TOLD_EVERY = 0.02
"""Seconds after which a worker tells what it has, at the end of a file."""
_READ = 1 << 18
_POLL = 1000
"""Milliseconds."""


def scan_files(
    paths: Sequence[str], settings: Settings, jobs: int, told: Callable[[FileResult], object]
) -> list[FileResult]:
    """Read and judge ``paths`` in up to ``jobs`` processes; results in the order of ``paths``.

    ``told`` is called with each result as it comes.
    """
    if not paths:
        return []
    pool = _Pool(paths, settings, max(1, min(jobs, -(-len(paths) // 4))), told)
    try:
        return pool.run()
    finally:
        pool.end()


class _Worker:
    """A process: its two pipes, and the numbers of the files that it was handed and has not answered.

    ``at`` is memory that it shares: how many files of its batch it has read.
    """

    def __init__(self, pid: int, names: int, answers: int, at: mmap.mmap) -> None:
        self.at = at
        self.handed = 0
        self.answers = answers
        self.waiting: deque[int] = deque()
        self.heard = time.monotonic()
        self._pid = pid
        self._names = names
        self._held = bytearray()

    def hand(self, paths: list[str]) -> None:
        """Have it read these; raises OSError when it is gone."""
        line = json.dumps(paths).encode("ascii") + b"\n"
        while line:
            line = line[os.write(self._names, line) :]

    def lines(self) -> list[bytes]:
        """The answers that have come; raises EOFError when there is nothing more to come."""
        read = os.read(self.answers, _READ)
        if not read or len(self._held) > _MAX_ANSWER:
            raise EOFError
        if b"\n" not in read:
            self._held += read
            return []
        *lines, rest = (bytes(self._held) + read).split(b"\n")
        self._held = bytearray(rest)
        return lines

    def reading(self) -> int:
        """Which of those that wait it is reading: the first of those that it has not come to the end of."""
        read = int.from_bytes(self.at[:4], "little") - (self.handed - len(self.waiting))
        return max(0, min(read, len(self.waiting) - 1))

    def forget(self) -> None:
        """Close what is ours of the pipes, and the memory."""
        self.at.close()
        os.close(self._names)
        os.close(self.answers)

    def end(self) -> int:
        """End the process; its exit code, negative for the number of the signal that ended it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self.forget()
        try:
            return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        except ChildProcessError:
            return 0  # who started us has SIGCHLD ignored, and then nobody is told


class _Pool:
    def __init__(
        self, paths: Sequence[str], settings: Settings, jobs: int, told: Callable[[FileResult], object]
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._told = told
        self._results: list[FileResult | None] = [None] * len(paths)
        self._left: deque[int] = deque(range(len(paths)))
        self._batch = max(1, min(BATCH, len(paths) // (jobs * 2)))
        self._workers: list[_Worker] = []
        if jobs > 1:
            prepare()
        for _ in range(jobs):
            self._workers.append(self._start())

    def run(self) -> list[FileResult]:
        for worker in list(self._workers):
            self._hand(worker)
        while busy := {worker.answers: worker for worker in self._workers if worker.waiting}:
            poll = select.poll()
            for descriptor in busy:
                poll.register(descriptor, select.POLLIN)
            for descriptor, _ in poll.poll(_POLL):
                self._hear(busy[descriptor])
            now = time.monotonic()
            for worker in list(self._workers):
                if worker.waiting and now - worker.heard > self._settings.seconds + GRACE:
                    reason = "took longer than a file is given, and its reader was ended"
                    self._replace(worker, reason, worker.reading())
        return [one for one in self._results if one is not None]

    def end(self) -> None:
        for worker in self._workers:
            worker.end()

    def _start(self) -> _Worker:
        theirs, names = os.pipe()
        answers, ours = os.pipe()
        at = mmap.mmap(-1, mmap.PAGESIZE)
        pid = os.fork()
        if pid == 0:
            try:
                # Else this process would keep its own pipes, and those of its siblings, open.
                os.close(names)
                os.close(answers)
                for one in self._workers:
                    one.forget()
                _serve(theirs, ours, at, self._settings)
            finally:
                _leave()
        os.close(theirs)
        os.close(ours)
        return _Worker(pid, names, answers, at)

    def _hand(self, worker: _Worker) -> None:
        """A next batch, when the worker has nothing left to do."""
        if worker.waiting or not self._left:
            return
        batch = [self._left.popleft() for _ in range(min(self._batch, len(self._left)))]
        worker.waiting.extend(batch)
        worker.handed = len(batch)
        worker.at[:4] = bytes(4)
        worker.heard = time.monotonic()
        try:
            worker.hand([self._paths[one] for one in batch])
        except OSError:
            self._replace(worker, "its reader ended", worker.reading())

    def _hear(self, worker: _Worker) -> None:
        try:
            lines = worker.lines()
        except (EOFError, OSError):
            self._replace(worker, "its reader ended", worker.reading())
            return
        for line in lines:
            try:
                result = result_in(line)
            except ValueError:
                self._replace(worker, "its reader's answer is damaged", 0)
                return
            worker.heard = time.monotonic()
            self._take(worker.waiting.popleft(), result)
        self._hand(worker)

    def _take(self, number: int, result: FileResult) -> None:
        self._results[number] = result
        self._told(result)

    def _replace(self, worker: _Worker, reason: str, reading: int) -> None:
        """The ``reading``-th of the files that wait is unread, the rest of the batch is handed out again."""
        code = worker.end()
        self._workers.remove(worker)
        if worker.waiting:
            number = worker.waiting[reading]
            del worker.waiting[reading]
            path = shown(self._paths[number])
            ended = f" ({signal.Signals(-code).name})" if code < 0 else ""
            self._take(number, FileResult(path, missed=(Missed(path, f"{reason}{ended}"),)))
            self._left.extendleft(reversed(worker.waiting))
        fresh = self._start()
        self._workers.append(fresh)
        self._hand(fresh)


def _serve(names: int, answers: int, at: mmap.mmap, settings: Settings) -> None:
    """A worker's life: names in, results out, until the other side closes. ``at``: how many it has read."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    bound_memory()
    with contextlib.suppress(BrokenPipeError), open(names, "rb") as asked, open(answers, "wb") as told:
        for line in asked:
            last = time.monotonic()
            for number, name in enumerate(json.loads(line), 1):
                told.write(line_of(read_one(name, lambda name: scan_file(name, settings))))
                at[:4] = number.to_bytes(4, "little")
                if time.monotonic() - last > TOLD_EVERY:
                    told.flush()
                    last = time.monotonic()
            told.flush()


def _leave() -> NoReturn:
    """End a worker, and nothing that belongs to the process that it is a copy of."""
    kind, error, trace = sys.exc_info()
    if kind is not None and error is not None:
        sys.excepthook(kind, error, trace)
    os._exit(0 if error is None else 1)


def read_one(name: str, read: Callable[[str], FileResult]) -> FileResult:
    """What ``read`` says of a file; that it was not read where that needs more memory than there is."""
    try:
        return read(name)
    except (MemoryError, RecursionError) as error:
        said = (
            "needs more memory than its reader has"
            if isinstance(error, MemoryError)
            else "is nested too deep"
        )
        return FileResult(shown(name), missed=(Missed(shown(name), said),))


def bound_memory() -> None:
    """Bound what this process may take, so that one file costs one file."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
