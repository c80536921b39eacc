"""Ways out of the training process: sockets, spawned programs, files opened for writing."""

from __future__ import annotations

from dataclasses import dataclass, field

from .root import Observation


@dataclass(frozen=True, slots=True)
class CallFrame:
    """One Python frame that led to a call; ``path`` as its code object says."""

    path: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class ChannelUsed(Observation):
    """The interpreter was about to open a way out (an audit event), as the guard saw it.

    ``kind``: ``connect``, ``bind``, ``spawn``, ``dlopen`` or ``write``. ``target``: address, program,
    library or file. ``step``: the last optimizer step before it, -1 before the first. ``inside``: what was
    going on in this thread: ``load`` (torch.load), ``step``, ``backward``, ``clip`` or empty.
    ``importing``: it happened while a module was being imported, below that. ``frames``: innermost first,
    without the standard library and the guard. ``times``: how often the same was seen since the last record.
    """

    kind: str
    target: str
    step: int
    inside: str
    importing: bool
    main: bool
    times: int
    frames: list[CallFrame] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ProcessAppeared(Observation):
    """A process of the job that was not there at the look before.

    ``fork``: it runs what its parent runs (a loader's worker). ``parent_role``: of the process that started
    it. ``step``: the last step of the job. ``program``: the file it executes.
    """

    role: str
    parent: int
    parent_role: str
    program: str
    command: str
    fork: bool
    step: int


@dataclass(frozen=True, slots=True)
class SocketsSeen(Observation):
    """One look at the descriptors of a process of the job: sockets that were not there before, from /proc.

    Each is ``[kind, local, remote]``: kind ``tcp``, ``tcp-listen``, ``udp`` or ``unix``. ``readable``: its
    descriptors could be read.
    """

    role: str
    step: int
    readable: bool
    sockets: list[list[str]]


@dataclass(frozen=True, slots=True)
class FileWritten(Observation):
    """A file of the installed environment or of imported code was opened for writing, renamed or removed.

    ``owner``: the distribution it belongs to; ``what``: ``recorded`` (RECORD lists it), ``unrecorded`` (in an
    environment's folder, in no RECORD) or ``imported`` (code of the program itself). ``seen``: ``audit`` (the
    guard saw the call) or ``descriptor`` (the monitor saw it open).
    """

    path: str
    owner: str
    what: str
    seen: str
    step: int
    frames: list[CallFrame]
