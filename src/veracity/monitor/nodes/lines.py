"""The lines that the monitors of one job leave for each other: ``<mac> <JSON>``, one after another in a file.

Each line is numbered and authenticated with the job's key and the name of its file, so that an account
without the key can neither write one nor move, repeat or leave out any unnoticed. Whoever has the key can.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from ...core.errors import EvidenceError
from ...core.observation import ReplicaStep
from ...core.replicas import MAX_FINGERS

MAX_LINE = 64 << 10
MAX_TEXT = 300
MAX_RANKS = 4096
MAX_NUMBER = 2**62
STATES = ("began", "done", "held", "broken", "incomplete")
_MAC = 32


@dataclass(frozen=True, slots=True)
class Line:
    """Line ``n`` of a file: the monitor on ``node`` came to a ``state``, or its ranks made a ``step``."""

    n: int
    node: str
    state: str = ""
    step: ReplicaStep | None = None


def encode(line: Line, key: bytes, file: str) -> bytes:
    """The line as it stands in ``file``."""
    data = msgspec.json.encode(line)
    return _mac(key, file, data) + b" " + data + b"\n"


def parse(data: bytes, key: bytes, file: str) -> Line:
    """A line without its end; raises EvidenceError when it is not one that a monitor of this job wrote."""
    mac, _, body = data.partition(b" ")
    if len(data) > MAX_LINE or not hmac.compare_digest(mac, _mac(key, file, body)):
        raise EvidenceError("a line was not written with the key of this job, or not for this file")
    try:
        line = msgspec.json.decode(body, type=Line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EvidenceError(f"a line is malformed: {error}"[:MAX_TEXT]) from error
    if not (0 <= line.n < MAX_NUMBER and len(line.node) <= MAX_TEXT):
        raise EvidenceError("a line is out of bounds")
    if (line.step is None) == (line.state not in STATES):
        raise EvidenceError("a line says neither a step nor a state")
    if line.step is not None and not _within(line.step):
        raise EvidenceError("a step in a line is out of bounds")
    return line


@dataclass(slots=True)
class Splitter:
    """Bytes as they come, into lines; ``overlong`` once one has no end."""

    rest: bytes = b""
    overlong: bool = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in ``data``; what is left waits."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        yield from lines
        self.overlong = len(self.rest) > MAX_LINE


def _within(step: ReplicaStep) -> bool:
    texts = (step.group, step.machine, step.places)
    numbers = (step.step, step.at, *step.ranks)
    return (
        all(len(text) <= MAX_TEXT for text in texts)
        and all(0 <= number < MAX_NUMBER for number in numbers)
        and 1 <= len(step.ranks) <= MAX_RANKS
        and len(step.fingers) <= MAX_FINGERS
        and all(_is_finger(pair) for pair in step.fingers)
    )


def _is_finger(pair: list[int | str]) -> bool:
    tensor, digest = pair if len(pair) == 2 else ("", "")
    return (
        isinstance(tensor, int)
        and 0 <= tensor < MAX_NUMBER
        and isinstance(digest, str)
        and len(digest) <= MAX_TEXT
    )


def _mac(key: bytes, file: str, data: bytes) -> bytes:
    own = hashlib.sha256(key + b"peers").digest()
    return hmac.new(own, file.encode() + b"\0" + data, hashlib.sha256).hexdigest()[:_MAC].encode()
