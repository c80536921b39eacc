"""What ``veracity run`` and a service say to each other: one JSON document per packet of a Unix socket.

``{"v": version, "k": kind, "b": body}``, each kind a dataclass below. The socket is a SOCK_SEQPACKET one, so
the kernel keeps packets apart; a packet is bounded, and so is everything in it. Who speaks is never in a
packet: the kernel says it (:mod:`.caller`). Nothing that is opened is taken from a packet either, but what
the caller's own account may open (:mod:`.keeper`).
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
from dataclasses import asdict, dataclass, field
from typing import TypeAlias

import msgspec

from ...core.errors import EvidenceError, TransportError

VERSION = 2
MAX_PACKET = 160 << 10
MAX_WORDS = 10_000
MAX_NAME = 4096
MAX_OUTSIDERS = 16
"""Witnesses, and time-stamping authorities, of one run."""
MAX_POLICY = 64 << 10
KEPT_DESCRIPTORS = 1


@dataclass(frozen=True, slots=True)
class Reference:
    """A file that says what an optimizer computes: sent before :class:`Open`, one packet each."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Open:
    """Have a run recorded. All of it is the caller's own word, recorded as such.

    ``place`` is a folder of the caller's for what passes between the job and the service. ``witnesses``:
    ``URL=vkey`` each; ``witness_policy``: a tlog-policy in base64; ``timestamps``: addresses of authorities.
    """

    command: list[str]
    place: str
    name: str = ""
    policy: str = "observe"
    overhead: float = 0.01
    stacks: bool = True
    hang_after: float = 120.0
    job: str = ""
    job_folder: str = ""
    witnesses: list[str] = field(default_factory=list)
    witness_policy: str = ""
    timestamps: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with a run of the caller's, whose recording ended before it."""

    run: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The run is recorded from now on: what the job's environment must name so that the guard enters."""

    run: str
    archive: str
    config: str


@dataclass(frozen=True, slots=True)
class Started:
    """The command runs as this process, a child of the caller."""

    pid: int


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The command could not be started; ``status`` is what a shell would return."""

    status: int
    note: str


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal reached the caller; ``sent``: it was sent on to the command."""

    number: int
    sent: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """The record is closed. ``uncosigned`` and ``unstamped``: sentences about who did not sign it;
    ``witnessed``: whether the witness policy, if there was one, has its cosignatures.
    """

    run: str
    outcome: str
    uncosigned: list[str] = field(default_factory=list)
    unstamped: list[str] = field(default_factory=list)
    witnessed: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """The service does not do what was asked, and why."""

    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class AskRuns:
    """List the caller's runs; answered by :class:`Answer` with a descriptor."""

    limit: int = 10_000


@dataclass(frozen=True, slots=True)
class AskSummary:
    """Show one of the caller's runs: its id, a prefix, or ``latest``."""

    run: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The descriptor that comes with it holds ``length`` bytes of JSON."""

    length: int


Message: TypeAlias = (
    Reference
    | Open
    | Resume
    | Opened
    | Started
    | NotStarted
    | Signalled
    | Judged
    | Refused
    | AskRuns
    | AskSummary
    | Answer
)
_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        *(Reference, Open, Resume, Opened, Started, NotStarted, Signalled, Judged, Refused),
        *(AskRuns, AskSummary, Answer),
    )
}


def encode(message: Message) -> bytes:
    """The packet of a message; raises EvidenceError when it is too long for one."""
    body = {"v": VERSION, "k": type(message).__name__, "b": asdict(message)}
    data = json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    if len(data) > MAX_PACKET:
        raise EvidenceError(f"{len(data):,} bytes are too many for one message (at most {MAX_PACKET:,})")
    return data


def decode(data: bytes) -> Message:
    """The message in a packet; raises EvidenceError when it is none, or of a version not known here."""
    if len(data) > MAX_PACKET:
        raise EvidenceError("a message is too long")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EvidenceError("a message is not JSON") from error
    version = body.get("v") if isinstance(body, dict) else None
    if type(version) is not int:
        raise EvidenceError("a message has no version")
    if version != VERSION:
        raise EvidenceError(
            f"the other side speaks version {version} of the protocol, this one {VERSION}",
            remedy="let service and `veracity run` be of the same release",
        )
    kind = body.get("k")
    wanted = _KINDS.get(kind) if isinstance(kind, str) else None
    if wanted is None:
        raise EvidenceError("a message is of a kind that is not known")
    try:
        message = msgspec.convert(body.get("b"), type=wanted, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise EvidenceError(f"a message is not as its kind has it: {str(error)[:200]}") from error
    if isinstance(message, Open):
        _check_open(message)
    if isinstance(message, Reference) and len(message.path) > MAX_NAME:
        raise EvidenceError("a name is too long")
    return message


def _check_open(message: Open) -> None:
    if max(map(len, (message.place, message.name, message.job, message.job_folder))) > MAX_NAME:
        raise EvidenceError("a name is too long")
    words = [*message.command, message.place, message.name, message.job, message.job_folder]
    if not message.command or len(words) > MAX_WORDS or any("\0" in word for word in words):
        raise EvidenceError("no command, or one that no process can have")
    # Written so that what is not a number fails too.
    if not (0 <= message.overhead <= 1 and 1 <= message.hang_after <= 1e6):
        raise EvidenceError("overhead or time out of range")
    outsiders = [*message.witnesses, *message.timestamps]
    if max(len(message.witnesses), len(message.timestamps)) > MAX_OUTSIDERS:
        raise EvidenceError(f"more than {MAX_OUTSIDERS} witnesses or time-stamping authorities")
    if any(len(one) > MAX_NAME for one in outsiders) or len(message.witness_policy) > MAX_POLICY:
        raise EvidenceError("a witness, an authority or a policy that is too long")
    if message.policy not in ("observe", "enforce"):
        raise EvidenceError("a policy that is not known")


@dataclass(slots=True)
class Channel:
    """One end of a connection."""

    connection: socket.socket
    _pending: list[int] = field(default_factory=list)

    def send(self, message: Message, descriptor: int = -1) -> None:
        """Send a message, with a descriptor when one is given. Raises TransportError when nobody is there."""
        data = encode(message)
        attached = []
        if descriptor >= 0:
            attached = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        try:
            self.connection.sendmsg([data], attached, socket.MSG_NOSIGNAL)
        except OSError as error:
            raise TransportError(f"the other side does not listen: {error.strerror or error}") from error

    def receive(self, seconds: float | None = None, *, descriptors: bool = False) -> Message | None:
        """The next message; None when the other side has gone. Descriptors are kept when wanted.

        Raises TransportError when nothing comes in time, EvidenceError for what is no message. Descriptors
        that are not wanted never reach this process: without room for them the kernel closes them.
        """
        room = socket.CMSG_SPACE(KEPT_DESCRIPTORS * array.array("i").itemsize) if descriptors else 0
        self.connection.settimeout(seconds)
        try:
            data, attached, flags, _ = self.connection.recvmsg(MAX_PACKET + 1, room, socket.MSG_CMSG_CLOEXEC)
        except (TimeoutError, BlockingIOError) as error:
            raise TransportError("the other side does not answer") from error
        except OSError:
            return None
        for level, kind, found in attached:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(found[: len(found) - len(found) % numbers.itemsize])
                self._pending += numbers
        if not data:
            return None
        if flags & socket.MSG_TRUNC:
            raise EvidenceError("a message is too long")
        return decode(data)

    def take_descriptor(self) -> int:
        """The descriptor that came last, which is the caller's to close; -1 without one."""
        return self._pending.pop() if self._pending else -1

    def close(self) -> None:
        """Close the connection and what came over it."""
        for number in self._pending:
            with contextlib.suppress(OSError):
                os.close(number)
        self._pending.clear()
        self.connection.close()
