"""Processes that read files, so that one that ends or never ends costs one file and not the scan.

Each worker is handed a few names at a time and answers with a line of JSON for each. A worker that ends in
the middle, or is silent for longer than a file may take, is replaced, and the file that it was reading is
said to be unread.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

import msgspec

from ...observe.artifact.url import shown
from .file import Settings, scan_file
from .result import FileResult, Missed

BATCH = 32
GRACE = 30.0
"""Seconds beyond a file's own bound after which a silent worker is ended."""
MAX_MEMORY = 8 << 30
_MAX_ANSWER = 256 << 20
_POLL = 1.0


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


@dataclass(slots=True)
class _Worker:
    """A process, and the numbers of the files that it was handed and has not answered."""

    process: ForkProcess
    connection: Connection
    waiting: deque[int] = field(default_factory=deque)
    heard: float = field(default_factory=time.monotonic)


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
        for _ in range(jobs):
            self._workers.append(self._start())

    def run(self) -> list[FileResult]:
        for worker in self._workers:
            self._hand(worker)
        while any(worker.waiting for worker in self._workers):
            busy = {worker.connection: worker for worker in self._workers if worker.waiting}
            for ready in wait(list(busy), timeout=_POLL):
                if isinstance(ready, Connection):
                    self._hear(busy[ready])
            now = time.monotonic()
            for worker in list(self._workers):
                if worker.waiting and now - worker.heard > self._settings.seconds + GRACE:
                    self._replace(worker, "took longer than a file is given, and its reader was ended")
        return [one for one in self._results if one is not None]

    def end(self) -> None:
        for worker in self._workers:
            worker.connection.close()
            worker.process.join(0 if worker.waiting else 1.0)
            worker.process.kill()
            worker.process.join()

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        parents = [ours, *(worker.connection for worker in self._workers)]
        process = context.Process(target=_serve, args=(theirs, parents, self._settings), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _hand(self, worker: _Worker) -> None:
        """A next batch, when the worker has nothing left to do."""
        if worker.waiting or not self._left:
            return
        batch = [self._left.popleft() for _ in range(min(self._batch, len(self._left)))]
        worker.waiting.extend(batch)
        worker.heard = time.monotonic()
        try:
            worker.connection.send_bytes(json.dumps([self._paths[one] for one in batch]).encode("ascii"))
        except OSError:
            self._replace(worker, "its reader ended")

    def _hear(self, worker: _Worker) -> None:
        try:
            answer = worker.connection.recv_bytes(_MAX_ANSWER)
            result = msgspec.convert(json.loads(answer), FileResult, strict=False)
        except (EOFError, OSError, ValueError) as error:
            how = (
                "its reader ended"
                if isinstance(error, (EOFError, OSError))
                else "its reader's answer is damaged"
            )
            self._replace(worker, how)
            return
        worker.heard = time.monotonic()
        self._take(worker.waiting.popleft(), result)
        self._hand(worker)

    def _take(self, number: int, result: FileResult) -> None:
        self._results[number] = result
        self._told(result)

    def _replace(self, worker: _Worker, reason: str) -> None:
        """The file it was reading is unread, the rest of its batch is handed out again."""
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        if worker.waiting:
            number = worker.waiting.popleft()
            path = shown(self._paths[number])
            code = worker.process.exitcode
            ended = f" ({signal.Signals(-code).name})" if code is not None and code < 0 else ""
            self._take(number, FileResult(path, missed=(Missed(path, f"{reason}{ended}"),)))
            self._left.extendleft(reversed(worker.waiting))
        fresh = self._start()
        self._workers.append(fresh)
        self._hand(fresh)


def _serve(connection: Connection, parents: Sequence[Connection], settings: Settings) -> None:
    """A worker's life: names in, results out, until the other side closes."""
    for one in parents:
        one.close()  # else this process would keep its own pipe, and those of its siblings, open
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    bound_memory()
    while True:
        try:
            names = json.loads(connection.recv_bytes(_MAX_ANSWER))
            for name in names:
                result = _result(name, settings)
                connection.send_bytes(json.dumps(msgspec.to_builtins(result)).encode("ascii"))
        except (EOFError, OSError):
            os._exit(0)


def _result(name: str, settings: Settings) -> FileResult:
    try:
        return scan_file(name, settings)
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
