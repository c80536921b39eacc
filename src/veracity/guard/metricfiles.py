"""Files of metrics that this process opens to write, as the interpreter announces it.

A program that opens its file for each row holds it for a moment only, which nobody outside can see. What is
in a file that no process of the job opened may be another job's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..core.metricnames import is_metrics
from .audit import WRITES, Audit

if TYPE_CHECKING:
    from .session import Session

MAX_FILES = 1024


class MetricFiles:
    """Tells of each such file once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: set[str] = set()

    def opened(self, arguments: tuple[object, ...]) -> None:
        """``open(path, mode, flags)``. Called very often."""
        path, _, flags = arguments
        if type(flags) is int and flags & WRITES:
            self._wrote(path)

    def moved(self, arguments: tuple[object, ...]) -> None:
        """``os.rename(src, dst, …)`` and ``os.replace``: written beside, and put in its place."""
        self._wrote(arguments[1])

    def _wrote(self, path: object) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        name = os.fsdecode(path)
        if name in self._known or len(self._known) >= MAX_FILES or not is_metrics(name):
            return
        if os.getpid() != self._session.stream.pid:  # a child by fork has no stream
            return
        self._known.add(name)
        self._session.emit("metrics", {"path": os.path.realpath(name)})


def watch_metric_files(session: Session, audit: Audit) -> None:
    """Listen to the events that announce each opening and renaming."""
    files = MetricFiles(session)
    audit.on("open", files.opened)
    audit.on("os.rename", files.moved)
