"""The process and its guard: who woke up, what it said last, what could not be seen."""

from __future__ import annotations

from dataclasses import dataclass, field

from .root import Observation


@dataclass(frozen=True, slots=True)
class Hello(Observation):
    """A process in which the guard woke up because torch was imported.

    ``role``: ``rank`` (may train), ``launcher`` (torchrun's agent) or ``child`` (a multiprocessing child).
    ``ids``: RANK, WORLD_SIZE, LOCAL_RANK and so on as the environment gave them.
    ``variables``: those that decide what is executed at its start, as they were then (records of earlier
    versions have none). The monitor reads them from the kernel; these are for a process that is gone by then.
    """

    ppid: int
    role: str
    executable: str
    python: str
    torch: str
    optimize: int
    ids: dict[str, str]
    numerics: dict[str, str]
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Goodbye(Observation):
    """The guard's last word at interpreter exit, with what it counted.

    ``trained``: ns from the end of the first step to that of the last; ``spent``: how much of it the guard's
    own code took on the threads that train (records of earlier versions have neither).
    """

    records: int
    dropped: int
    steps: int
    trained: int = 0
    spent: int = 0


@dataclass(frozen=True, slots=True)
class RecordDamaged(Observation):
    """A spool is not what the guard wrote: cut, overwritten, removed, or its numbers run backwards.

    ``reason`` says how it was noticed; ``after_seq`` is the last record that was taken in before.
    """

    stream: str
    reason: str
    after_seq: int
    step: int


@dataclass(frozen=True, slots=True)
class RecordsMissing(Observation):
    """A source's sequence numbers jumped from ``expected`` to ``got``: records in between never arrived.

    ``after_step`` is the last step heard of before the jump.
    """

    stream: str
    expected: int
    got: int
    after_step: int
