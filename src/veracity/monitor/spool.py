"""Reading the guards' spools: every record of every process, in order, each once.

A spool is a sequence of append-only segment files ``<pid>-<token>.<number>.spool``. The next segment is begun
only when the last one is finished, so a segment with a successor is complete. It is removed when what was
read from it stands in the record and not before: a monitor that ends in between leaves it to the next one.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import EvidenceError
from ..core.quantity import quantity
from ..core.wire import Frame, unpack

READ_BYTES = 4 << 20
MAX_STREAMS = 4096
# Not blocking: the job may have put a pipe there.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NAME = re.compile(r"(\d{1,10})-([0-9a-f]{8})\.(\d{6})\.spool\Z")


@dataclass(slots=True)
class Stream:
    """What has been read of one process's spool."""

    name: str
    pid: int
    segment: int = 0
    offset: int = 0
    buffer: bytearray = field(default_factory=bytearray)
    damaged: str = ""


@dataclass(frozen=True, slots=True)
class Damage:
    """A spool that is not what the guard wrote: cut, overwritten or removed."""

    stream: str
    pid: int
    reason: str


class SpoolReader:
    """Reads all spools of one run. ``taken`` counts the bytes read so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.taken = 0
        self._streams: dict[str, Stream] = {}
        self._next = 0
        self._refused = 0
        self._consumed: list[Path] = []
        self._recorded: list[Path] = []

    def read(self) -> Iterator[tuple[Stream, Frame] | Damage]:
        """Everything new since the last call, a bounded portion per spool.

        Whoever does not take all of it in goes on behind the spool where it stopped: each has its turn.
        """
        self._discover()
        streams = list(self._streams.values())
        first = self._next % max(1, len(streams))
        for number, stream in enumerate([*streams[first:], *streams[:first]], first + 1):
            self._next = number
            if not stream.damaged:
                yield from self._read_stream(stream)
        self._next = 0

    def recorded(self) -> None:
        """What was read so far has been appended to the record, with all that came of it."""
        self._recorded += self._consumed
        self._consumed.clear()

    def release(self) -> None:
        """What was appended so far is durable: remove the segments that hold nothing else, oldest first."""
        for segment in self._recorded:
            _remove(segment)
        self._recorded.clear()

    def discard(self, name: str) -> None:
        """Remove what has been taken in of a spool whose process has ended."""
        stream = self._streams.get(name)
        if stream is not None and not stream.damaged and not stream.buffer:
            self._path(stream, stream.segment).unlink(missing_ok=True)
            # Not watched any more: that its file is gone is our own doing.
            del self._streams[name]

    def torn(self) -> list[Damage]:
        """Spools that end within a record (asked for when the processes are gone)."""
        return [
            Damage(
                stream.name,
                stream.pid,
                f"the last record is cut after {quantity(len(stream.buffer), 'byte')}",
            )
            for stream in self._streams.values()
            if stream.buffer and not stream.damaged
        ]

    def _discover(self) -> None:
        try:
            names = sorted(os.listdir(self._folder))
        except OSError:
            # Gone or locked: the streams known so far notice that by themselves.
            names = []
        for name in names:
            match = _NAME.match(name)
            if match is None:
                continue
            key = f"{match[1]}-{match[2]}"
            if key in self._streams:
                continue
            if len(self._streams) >= MAX_STREAMS:
                self._refused += 1
                continue
            # The first segment there is: a reader before us may have consumed and removed earlier ones.
            self._streams[key] = Stream(key, int(match[1]), int(match[3]))

    def _path(self, stream: Stream, segment: int) -> Path:
        return self._folder / f"{stream.name}.{segment:06d}.spool"

    def _read_stream(self, stream: Stream) -> Iterator[tuple[Stream, Frame] | Damage]:
        while True:
            data, finished = self._new_bytes(stream)
            stream.buffer += data
            yield from self._frames(stream)
            if stream.damaged:
                yield Damage(stream.name, stream.pid, stream.damaged)
                return
            if data:
                return
            if not finished:
                return
            if stream.buffer:
                stream.damaged = f"segment {stream.segment} ends within a record"
                continue
            self._consumed.append(self._path(stream, stream.segment))
            stream.segment, stream.offset = stream.segment + 1, 0

    def _new_bytes(self, stream: Stream) -> tuple[bytes, bool]:
        """The next bytes, and whether the segment is finished (a later one exists)."""
        finished = os.path.lexists(self._path(stream, stream.segment + 1))
        try:
            fd = os.open(self._path(stream, stream.segment), _FLAGS)
        except FileNotFoundError:
            # A stream is known by a file of it, so one that is not there any more has been removed.
            if not finished:
                stream.damaged = "the spool was removed"
            return b"", finished
        except OSError as error:
            stream.damaged = f"the spool cannot be opened: {error.strerror}"
            return b"", finished
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                stream.damaged = "the spool is no regular file"
                return b"", finished
            if status.st_size < stream.offset:
                stream.damaged = (
                    f"the spool was cut from {stream.offset} to {quantity(status.st_size, 'byte')}"
                )
                return b"", finished
            data = os.pread(fd, READ_BYTES, stream.offset)
        finally:
            os.close(fd)
        stream.offset += len(data)
        self.taken += len(data)
        return data, finished

    @staticmethod
    def _frames(stream: Stream) -> Iterator[tuple[Stream, Frame]]:
        position = 0
        try:
            while (found := unpack(stream.buffer, position)) is not None:
                frame, position = found
                yield stream, frame
        except EvidenceError as error:
            stream.damaged = str(error)
        finally:
            del stream.buffer[:position]


def _remove(segment: Path) -> None:
    try:
        segment.unlink()
    except OSError:
        # It has been read to its end; where it cannot be deleted it only takes room.
        return
