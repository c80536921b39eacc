"""Progress of a drill on a terminal: a bar over the steps of each scenario. Nothing anywhere else."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LOOK_EVERY = 0.2


class Bars:
    """One bar per scenario; ``enabled`` False draws nothing."""

    def __init__(self, stream: TextIO, *, enabled: bool) -> None:
        self._progress: Progress | None = None
        if enabled:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(file=stream),
            )

    def __enter__(self) -> Bars:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    @contextlib.contextmanager
    def steps(self, title: str, total: int, metrics: Path) -> Iterator[None]:
        """Draw how far the job is while the body runs it: one line of ``metrics`` is one step."""
        if self._progress is None:
            yield
            return
        task = self._progress.add_task(title, total=total)
        ended = threading.Event()
        tail = _Tail(metrics)

        def follow() -> None:
            while not ended.wait(LOOK_EVERY):
                done = tail.steps()
                if self._progress is not None and done:
                    self._progress.update(task, completed=min(done, total))

        thread = threading.Thread(target=follow, name="veracity-drill-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            done = tail.steps()
            self._progress.update(task, completed=min(done, total))


class _Tail:
    """Counts the training steps in a metrics file that grows; what was there at the start does not count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        # A resumed job appends to its file, any other one starts it anew.
        self._at = path.stat().st_size if path.exists() else 0

    def steps(self) -> int:
        """How many steps have been logged so far."""
        try:
            with open(self._path, "rb") as file:
                if os.fstat(file.fileno()).st_size < self._at:
                    self._at = 0
                file.seek(self._at)
                data = file.read(1 << 20)
        except FileNotFoundError:
            return 0
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        self._count += sum(b'"ms"' in line for line in whole.splitlines())
        return self._count


@contextlib.contextmanager
def jobs_output_to(log: Path) -> Iterator[TextIO]:
    """Send what this process's children write to ``log``; gives the standard output that was there before.

    A job inherits the monitor's standard streams, so for a while these are exchanged in this process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    before = os.fdopen(os.dup(1), "w", encoding="utf-8")
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    try:
        yield before
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in enumerate(kept, start=1):
            os.dup2(saved, number)
            os.close(saved)
        before.close()
