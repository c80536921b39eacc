"""Stacks of late steps, the load of the host, how processes ended."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class StackFrame:
    """One frame of a Python stack, innermost first in a sample."""

    path: str
    line: int
    function: str
    source: str


@dataclass(frozen=True, slots=True)
class StackSampled(Observation):
    """The main thread's stack, read from outside while a step was late.

    ``after_step``: the last step heard of. ``late``: nanoseconds since then. ``asleep``: the kernel says the
    thread sleeps on a timer. ``span``: nanoseconds this sample stands for. ``unread``: nanoseconds of sleeps
    since the last sample that ended before a stack could be read.
    """

    after_step: int
    late: int
    asleep: bool
    span: int
    frames: list[StackFrame]
    unread: int = 0


@dataclass(frozen=True, slots=True)
class StacksUnavailable(Observation):
    """Stacks cannot be read from outside in this run, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class HostLoad(Observation):
    """What a rank's process waited for, read from /proc, over ``span`` ns: all values in nanoseconds."""

    span: int
    run_queue: int
    block_io: int
    cpu: int


@dataclass(frozen=True, slots=True)
class ProcessEnded(Observation):
    """A process of the job ended.

    ``how``: ``exited``, ``signalled`` or ``unknown``. ``code``: exit code or signal number.
    ``role``: ``root`` (what ``run`` started), ``rank``, ``launcher``, ``child`` or ``other``.
    ``explained``: the known cause, empty when there is none. ``parent_alive``: its parent was alive.
    """

    role: str
    command: str
    how: str
    code: int
    parent: int
    parent_alive: bool
    explained: str
    step: int


@dataclass(frozen=True, slots=True)
class SignalForwarded(Observation):
    """The monitor received a signal and passed it on to the job."""

    signal: int
