"""What a witness knows of each log, and what it cosigns by that (C2SP tlog-witness).

For each log the newest tree head that was cosigned lies in a file. It is read, held against the request, and
replaced as one step under a lock, and is on disk before the cosignature leaves: a witness that forgot what it
signed would sign a second history. One process has the folder at a time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import Error, EvidenceError, UsageError, VerificationError
from ..keys import PublicKey, SigningKey
from ..merkle import EMPTY_ROOT, verify_consistency
from ..note import MAX_NOTE, parse_note
from ..tree_head import TreeHead, speaks_for
from .cosignature import cosign
from .requests import AddCheckpoint

MAX_LOGS = 100_000
SIZE_TYPE = "text/x.tlog.size"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the witness answers: an HTTP status, a body, and what kind of text it is."""

    status: int
    body: str
    kind: str = TEXT


class Witness:
    """A witness with its state in a folder.

    ``logs``: the keys of logs it speaks for. A key named ``n`` may sign the log ``n`` and all logs ``n/…``.
    Raises UsageError when another process has the folder, EvidenceError when it cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        key: SigningKey,
        logs: Iterable[PublicKey],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._key = key
        self._logs = tuple(logs)
        self._clock = clock
        self._writing = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(
                folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise EvidenceError(
                f"the witness cannot keep its state: {error.strerror}", where=str(folder)
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise UsageError("another witness has this folder", where=str(folder)) from error

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer one request; the states of logs change by requests that are answered with 200 alone."""
        try:
            request = AddCheckpoint.decode(body)
        except EvidenceError as error:
            return Answer(400, f"{error}\n")
        keys = [key for key in self._logs if speaks_for(key.name, request.head.origin)]
        if not keys:
            return Answer(404, "this log is not known here\n")
        if not any(request.head.is_signed(key) for key in keys):
            return Answer(403, "no known key of this log signed the checkpoint\n")
        if request.old > request.head.size:
            return Answer(400, "the old size is larger than the checkpoint's\n")
        with self._writing:
            return self._judged(request)

    def latest(self, origin: str) -> TreeHead | None:
        """The newest tree head of a log that was cosigned, None before the first.

        Raises EvidenceError when the state cannot be read: it is never taken for none.
        """
        path = self._path(origin)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                head = TreeHead.parse(file.read(MAX_NOTE + 1))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EvidenceError(
                f"the state of a log cannot be read: {error.strerror}", where=str(path)
            ) from error
        if head.origin != origin:
            raise EvidenceError("the state of a log is that of another", where=str(path))
        return head

    def _judged(self, request: AddCheckpoint) -> Answer:
        head = request.head
        try:
            known = self.latest(head.origin)
            size, root = (known.size, known.root) if known is not None else (0, EMPTY_ROOT)
            if request.old != size:
                return Answer(409, f"{size}\n", SIZE_TYPE)
            if head.size == size and head.root != root:
                return Answer(409, f"{size}\n", SIZE_TYPE)
            try:
                verify_consistency(size, head.size, root, head.root, request.proof)
            except VerificationError as error:
                return Answer(422, f"{error}\n")
            if known is None and self._count() >= MAX_LOGS:
                return Answer(507, "this witness follows as many logs as it can\n")
            self._persist(head)
        except (Error, OSError) as error:
            return Answer(500, f"the witness cannot use its state: {error}\n")
        return Answer(200, cosign(parse_note(head.signed).text, int(self._clock()), self._key))

    def _persist(self, head: TreeHead) -> None:
        path = self._path(head.origin)
        draft = path.with_suffix(".draft")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(head.signed)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(draft, path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _count(self) -> int:
        return sum(name.endswith(".log") for name in os.listdir(self._folder))

    def _path(self, origin: str) -> Path:
        return self._folder / f"{hashlib.sha256(origin.encode('utf-8')).hexdigest()}.log"
