"""Checkpoint files, read from outside as soon as the guard speaks of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import EvidenceError
from ..core.observation import CheckpointLoaded, CheckpointSaved, FileDigested, Gap
from ..core.origin import Origin, Trust
from ..observe.torchzip import digest_file, storage_digests
from .lineage import Lineage, Recorded

LAW = "weight-continuity"
MAX_WAITING = 4096
MAX_SCAN = 4096
MAX_PROCESSES = 4096


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of one file."""

    path: str
    digest: str
    storages: list[str]
    problem: str
    size: int = 0


class CheckpointFiles:
    """Digests files in one thread of its own and looks them up in the home's lineage."""

    def __init__(self, lineage: Lineage, run: str) -> None:
        self._lineage = lineage
        self._run = run
        self._in_memory: set[int] = set()
        self._pool = ThreadPoolExecutor(1, "checkpoint-digest")
        self._waiting: list[tuple[CheckpointSaved | CheckpointLoaded, Future[_Read]]] = []
        self._unread: list[tuple[Gap | None, Recorded | None]] = []

    def submit(self, event: CheckpointSaved | CheckpointLoaded) -> Gap | None:
        """Begin to read the file of ``event``; a Gap when there is none or too many wait."""
        if not event.path:
            if event.origin.pid in self._in_memory or len(self._in_memory) >= MAX_PROCESSES:
                return None
            self._in_memory.add(event.origin.pid)
            return _gap(
                event, "checkpoints were written to or read from buffers, not files", "told once per process"
            )
        if len(self._waiting) >= MAX_WAITING:
            self._leave(event, "too many files were waiting")
            return None
        if isinstance(event, CheckpointSaved) and event.elsewhere:
            self._unread.append((None, self._unknown(event)))
            return None
        saved = isinstance(event, CheckpointSaved)
        inode = event.inode if isinstance(event, CheckpointSaved) else 0
        future = self._pool.submit(_read, event.path, inode, event.origin.at, saved)
        self._waiting.append((event, future))
        return None

    @property
    def pending(self) -> int:
        """Files not finished."""
        return len(self._waiting)

    def poll(self, *, last: bool = False) -> Iterator[tuple[FileDigested | Gap | None, Recorded | None]]:
        """Files that are finished, in the order they were named; with what to remember of saved ones.

        ``last``: those that are not finished are given up.
        """
        while self._waiting and (last or self._waiting[0][1].done()):
            event, future = self._waiting.pop(0)
            if not future.done():
                self._leave(event, "reading it was not finished when the run ended")
                continue
            found = future.result()
            if not found.digest:
                what = f"checkpoint {event.path} could not be compared"
                yield _gap(event, what, found.problem), self._unknown(event, found.path)
                continue
            yield self._look_up(event, found)
        unread, self._unread = self._unread, []
        yield from unread

    def _leave(self, event: CheckpointSaved | CheckpointLoaded, why: str) -> None:
        self._unread.append((_gap(event, "a checkpoint file was not read", why), self._unknown(event)))

    def _unknown(self, event: CheckpointSaved | CheckpointLoaded, path: str = "") -> Recorded | None:
        """To remember of a save that was not read: what was recorded for its path before holds no more."""
        if not isinstance(event, CheckpointSaved):
            return None
        try:
            found = _find(event.path, event.inode) or path or event.path
        except ValueError:
            return None
        return Recorded("", found, self._run, event.origin.at, [])

    def close(self) -> None:
        """Let the thread end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _look_up(
        self, event: CheckpointSaved | CheckpointLoaded, found: _Read
    ) -> tuple[FileDigested | Gap, Recorded | None]:
        saved = isinstance(event, CheckpointSaved)
        remember = (
            Recorded(found.digest, found.path, self._run, event.origin.at, event.tensors) if saved else None
        )
        try:
            known = self._lineage.by_digest(found.digest, search=not saved)
            at_path = [] if saved else self._lineage.by_path(found.path)
        except EvidenceError as error:
            return _gap(event, "the lineage of a checkpoint is not known", str(error)), remember
        last = at_path[0] if at_path else None
        tensors = known[0].tensors if known else last.tensors if last is not None else []
        digested = FileDigested(
            origin=Origin("monitor", Trust.SERVICE, event.origin.pid, event.origin.rank, -1, time.time_ns()),
            event="saved" if saved else "loaded",
            seq=event.origin.seq,
            path=found.path,
            digest=found.digest,
            storages=found.storages,
            known=sorted({one.run for one in known}),
            path_known=last is not None,
            last_digest=last.digest if last is not None else "",
            last_run=last.run if last is not None else "",
            saved_tensors=tensors,
            size=found.size,
        )
        return digested, remember


def _read(path: str, inode: int, at: int, saved: bool) -> _Read:
    """Digest the file; for a saved one only if it still is what was written then."""
    try:
        found = _find(path, inode)
        if found is None:
            return _Read(path, "", [], "it is no longer there")
    except ValueError as error:
        return _Read(path, "", [], f"no file can have this name: {error}")
    try:
        digest = digest_file(found)
        storages = storage_digests(found).digests if saved else []
        changed = isinstance(digest, str) or digest.changed or (saved and os.stat(found).st_mtime_ns > at)
    except OSError as error:
        return _Read(found, "", [], error.strerror or str(error))
    if isinstance(digest, str):
        return _Read(found, "", [], digest)
    if changed:
        return _Read(found, "", [], "it was changed after it had been saved and before it could be read")
    return _Read(found, digest.sha256, storages, "", digest.size)


def _find(path: str, inode: int) -> str | None:
    """The file at ``path``, or the one of that inode in its folder: programs save beside and rename."""
    try:
        if not inode or os.stat(path).st_ino == inode:
            return os.path.realpath(path)
    except OSError:
        if not inode:
            return None
    try:
        with os.scandir(Path(path).parent) as listing:
            for number, item in enumerate(listing):
                if number > MAX_SCAN:
                    return None
                if item.inode() == inode and item.is_file(follow_symlinks=False):
                    return os.path.realpath(item.path)
    except OSError:
        return None
    return None


def _gap(event: CheckpointSaved | CheckpointLoaded, what: str, reason: str) -> Gap:
    origin = Origin("monitor", Trust.SERVICE, event.origin.pid, event.origin.rank, -1, time.time_ns())
    return Gap(origin, what, reason, law=LAW)
