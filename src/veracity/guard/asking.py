"""A file is about to be loaded: the monitor is told of it, or asked, before the first byte is read.

Under ``--policy observe`` it is told, and the load goes on at once. Under ``enforce`` the process waits until
the monitor has answered, and loads nothing that it refuses or says nothing about. Before and after the load
the file must look the same; what became of it in between, and back, is not seen.

Each question has a connection of its own: a program forks, has threads, and closes descriptors that are not
its own.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from ..core import wire
from ..core.fileidentity import identity_of, seconds_more
from ..core.quantity import quantity

if TYPE_CHECKING:
    from .session import Session

MAX_TOLD = 2_000
"""States of files that a process tells of; under ``enforce`` it goes on asking beyond."""
MAX_ALLOWED = 100_000
MAX_PATH = 4096
MAX_ANSWER = 64 << 10
MAX_CHANGED = 20
QUESTION = "ask"
RETRY_AFTER = 0.05
_CREDENTIALS = struct.Struct("3i")


class LoadRefusedError(pickle.UnpicklingError):
    """The file was not loaded: ``veracity run --policy enforce`` does not let it be."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a load reads: ``look`` gives what it is now. ``identity`` is empty when nothing is there."""

    path: str
    identity: str
    offset: int
    look: Callable[[], os.stat_result]


class Around:
    """Stands around one load; ``place`` is None for what was not told of."""

    __slots__ = ("_asking", "_place")

    def __init__(self, asking: Asking, place: Place | None) -> None:
        self._asking = asking
        self._place = place

    def __enter__(self) -> None:
        if self._place is not None:
            self._asking.within.append(self._place.identity)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._place is not None:
            self._asking.within.pop()
            self._asking.left(self._place, failed=error is not None)


class Asking:
    """Tells or asks the monitor of this process's loads. One object serves all threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pid = os.getpid()
        self._local = threading.local()
        self._known: set[tuple[str, int]] = set()
        self._told = self._untold = self._streams = self._changed = 0

    @property
    def within(self) -> list[str]:
        """Identities of the files that this thread is loading, the outermost first."""
        found: list[str] | None = getattr(self._local, "within", None)
        if found is None:
            found = self._local.within = []
        return found

    def about(self, way: str, file: object, *, counts: bool = True) -> Around:
        """To stand around the load of ``file``, a path or what can be read from.

        ``counts``: if it is no file, that is told at the end. Raises LoadRefusedError, under ``enforce``.
        """
        if self._session.config.enforces:
            return Around(self, self._asked(way, file, counts=counts))
        run = self._session.shield.run
        return Around(self, run("asking", self._told_of, way, file, counts=counts))

    def left(self, place: Place, *, failed: bool) -> None:
        """The load is over. Raises LoadRefusedError under ``enforce`` when the file is not what it was."""
        if self._session.shield.run("asking", self._is_same, place) or failed:
            return
        if self._session.config.enforces:
            what = "the file is not the one that was looked at before it was loaded"
            remedy = "What it did meanwhile is done: see who wrote it, and load it when nobody writes to it"
            raise LoadRefusedError(f"{_printable(place.path)}: not handed on: {what}. {remedy}")

    def finish(self) -> None:
        """The process ends: say what was only counted."""
        if self._streams:
            self._gap_of_streams(quantity(self._streams, "time"))
        if self._untold:
            what = f"{quantity(self._untold, 'further load')} of files, of which nothing was told before"
            self._session.gap(what, f"a process tells of {MAX_TOLD:,} files", law="load")
        if self._changed > MAX_CHANGED:
            more = quantity(self._changed - MAX_CHANGED, "further file was", "further files were")
            what = f"{more} changed while being loaded"
            self._session.gap(what, f"{MAX_CHANGED} are listed", law="load")

    def _told_of(self, way: str, file: object, *, counts: bool) -> Place | None:
        place = self._place(file, counts=counts)
        if place is not None and self._is_new(place):
            self._known.add((place.identity, place.offset))
            self._tell(way, place, asks=False)
        return place

    def _asked(self, way: str, file: object, *, counts: bool) -> Place | None:
        place = self._place(file, counts=counts)
        if place is None or not self._is_new(place):
            return place
        self._session.shield.run("asking", self._tell, way, place, asks=True)
        answer = self._answer(way, place)
        if answer is None or answer.get("allowed") is not True:
            raise LoadRefusedError(_refusal(place.path, answer))
        if len(self._known) >= MAX_ALLOWED:
            self._known.clear()
        self._known.add((place.identity, place.offset))
        return place

    def _place(self, file: object, *, counts: bool) -> Place | None:
        """What ``file`` leads to; None, and counted, when that is no regular file."""
        try:
            place = _place_of(file)
        except Exception:
            place = None
        if place is None and counts:
            self._streams += 1
            if self._streams == 1 and os.getpid() != self._pid:
                self._gap_of_streams("told once")  # a forked child has no end that is seen
        return place

    def _is_new(self, place: Place) -> bool:
        """Whether nothing was said of it yet, by this load or another one."""
        if not place.identity or place.identity in self.within:
            return False
        return (place.identity, place.offset) not in self._known

    def _tell(self, way: str, place: Place, *, asks: bool) -> None:
        if self._told >= MAX_TOLD:
            self._untold += not asks
            return
        self._told += 1
        self._session.emit(
            "loading", {**_described(way, place), "step": self._session.last_step, "asks": asks}
        )

    def _is_same(self, place: Place) -> bool:
        try:
            found = identity_of(place.look())
        except (OSError, ValueError):
            found = ""
        if found == place.identity:
            return True
        self._changed += 1
        if self._changed <= MAX_CHANGED:
            self._session.gap(
                f"{place.path} is not the file any more that was told of before it was loaded",
                "it was exchanged or changed meanwhile, so what was scanned need not be what was loaded",
                law="load",
            )
        return False

    def _gap_of_streams(self, times: str) -> None:
        what = f"objects were loaded from what is no file ({times})"
        self._session.gap(what, "buffers and streams are not looked at before they are loaded", law="load")

    # --- the answer ------------------------------------------------------------------------------

    def _answer(self, way: str, place: Place) -> dict[str, object] | None:
        """What the monitor says, which is about this very file; None when it says nothing in time."""
        try:
            question = wire.pack(QUESTION, 0, time.time_ns(), _described(way, place))
            answer = self._heard(question, self._session.config.answer_within + seconds_more(place.identity))
            if (answer.get("identity"), answer.get("offset")) != (place.identity, place.offset):
                raise ValueError("the answer is about another file")
        except (OSError, ValueError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            what = f"{place.path} was not loaded: the monitor gave no answer"
            self._session.shield.run("asking", self._session.gap, what, reason, law="load")
            return None
        return answer

    def _heard(self, question: bytes, seconds: float) -> dict[str, object]:
        deadline = time.monotonic() + seconds
        while True:
            try:
                data = self._said(question, deadline)
            except BlockingIOError:  # so many ask at once that they do not fit into the line
                data = b""
            if data:
                break
            if time.monotonic() > deadline:
                raise TimeoutError("no answer in time")
            time.sleep(RETRY_AFTER)  # one that has ended is not there at the next attempt
        answer = json.loads(data)
        if not isinstance(answer, dict):
            raise ValueError("what it says is no answer")
        return answer

    def _said(self, question: bytes, deadline: float) -> bytes:
        """The answer; empty when the other side hangs up."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(max(RETRY_AFTER, deadline - time.monotonic()))
            connection.connect(self._session.config.socket)
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            if _CREDENTIALS.unpack(raw)[1] not in (0, os.geteuid()):
                raise PermissionError("another account listens in the monitor's place")
            connection.sendall(question, socket.MSG_NOSIGNAL)
            return connection.recv(MAX_ANSWER)


def _described(way: str, place: Place) -> dict[str, object]:
    return {
        "way": way,
        "path": place.path[:MAX_PATH],
        "identity": place.identity,
        "offset": place.offset,
    }


def _refusal(path: str, answer: dict[str, object] | None) -> str:
    path = _printable(path)
    if answer is None:
        why = "the monitor gave no answer, and --policy enforce loads nothing unseen"
        return (
            f"{path}: not loaded: {why}. Is `veracity run` still there? `veracity scan {path}` reads the file"
        )
    return f"{path}: not loaded: {_printable(str(answer.get('why', '')))[:2000]}"


def _printable(text: str) -> str:
    """As a terminal may show it, which names of files need not be."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _place_of(file: object) -> Place | None:
    if isinstance(file, (str, os.PathLike)):
        given = os.path.abspath(os.fsdecode(os.fspath(file)))
        path = os.path.realpath(given)
        look = partial(os.stat, given)  # a link in it may lead elsewhere by then
        try:
            status = look()
        except OSError:
            return Place(path, "", 0, look)  # the load itself will say that nothing is there
        return Place(path, identity_of(status), 0, look) if stat.S_ISREG(status.st_mode) else None
    kind = type(file)
    packed = kind.__name__ == "ZipExtFile" and kind.__module__ == "zipfile"
    inner = getattr(getattr(file, "_fileobj", None), "_file", None) if packed else _innermost(file)
    number: int = inner.fileno()  # type: ignore[union-attr]
    status = os.fstat(number)
    if not stat.S_ISREG(status.st_mode):
        return None
    offset = 0 if packed else _offset_of(inner)
    return Place(_name_of(number, inner), identity_of(status), offset, partial(os.fstat, number))


def _innermost(file: object) -> object:
    """The file object under a temporary file's wrapper."""
    return getattr(file, "file", file) if type(file).__module__ == "tempfile" else file


def _name_of(number: int, file: object) -> str:
    """The path of an open file as the kernel knows it, wherever it was moved; else as it was opened."""
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        name = getattr(file, "name", "")
        return os.path.realpath(name) if isinstance(name, str) else ""


def _offset_of(file: object) -> int:
    """Where the load begins to read. A position in what is unpacked on the way is none in the file."""
    raw = getattr(file, "raw", None) if isinstance(file, (io.BufferedReader, io.BufferedRandom)) else file
    return file.tell() if isinstance(raw, io.FileIO) and isinstance(file, io.IOBase) else 0
