"""What was done to the job's processes from outside: held, slowed down, left without processors or data."""

from __future__ import annotations

from dataclasses import dataclass

from .life import StackFrame
from .root import Observation


@dataclass(frozen=True, slots=True)
class ProcessHeld(Observation):
    """A process of the job did not run because somebody held it.

    ``how``: ``stopped`` (by a signal), ``traced`` (a tracer holds it) or ``frozen`` (its control group is).
    ``span``: nanoseconds between the first and the last look that saw it so. ``over``: it runs again.
    ``tracer``: the tracer's pid and command, empty when there is none. ``step``: the last one heard of.
    """

    how: str
    role: str
    command: str
    step: int
    span: int
    over: bool
    tracer: str = ""


@dataclass(frozen=True, slots=True)
class ProcessChanged(Observation):
    """The share of the machine that a process of the job may have was changed while it ran.

    ``what``: ``nice`` (−20 … 19), ``cpus`` (number of processors it may run on), ``tracer`` (pid, 0 for
    none) or ``cgroup`` (then ``before`` and ``after`` are 0 and ``detail`` names both).
    """

    what: str
    before: int
    after: int
    role: str
    step: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class GroupLoad(Observation):
    """The control group of a rank over ``span`` ns.

    ``quota``: CPUs it may use at a time in thousandths, -1 without a limit, and what it was at the look
    before. ``periods`` of the quota passed,
    in ``throttled`` of them the group was stopped for having used it up, in sum over its processors for
    ``throttled_ns``. ``frozen``: it is frozen now. ``reclaimed``: how often its memory limit slowed it.
    """

    group: str
    span: int
    quota: int
    quota_before: int
    periods: int
    throttled: int
    throttled_ns: int
    frozen: bool
    reclaimed: int
    step: int


@dataclass(frozen=True, slots=True)
class MonitorHeld(Observation):
    """The monitor itself did not run for ``span`` ns, though it waited neither for a processor nor a disk."""

    span: int
    step: int


@dataclass(frozen=True, slots=True)
class WorkersSeen(Observation):
    """Workers of a rank's loader at one look: how many there are, and how many sleep on a timer.

    ``frames``: the stack of one that sleeps, innermost first, where it could be read.
    """

    workers: int
    asleep: int
    step: int
    frames: list[StackFrame]


@dataclass(frozen=True, slots=True)
class RankStuck:
    """One rank while nobody makes steps.

    ``state``: of its main thread, as in proc(5); ``gone`` when it has ended. ``cpu``: thousandths of a
    processor it used between the looks. ``same``: its stack was the same at all looks.
    """

    rank: int
    pid: int
    step: int
    state: str
    cpu: int
    same: bool
    frames: list[StackFrame]


@dataclass(frozen=True, slots=True)
class JobStuck(Observation):
    """No rank made a step for ``span`` ns, where the median is ``usual`` ns; ``over``: steps go on.

    ``looks``: how often the stacks were read meanwhile.
    """

    span: int
    usual: int
    over: bool
    looks: int
    ranks: list[RankStuck]
