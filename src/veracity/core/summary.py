"""What people read about a run: everything ``show`` and ``report`` print, derived from the ledger alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from .coverage import Coverage
from .finding import Finding
from .verdict import Verdict


@dataclass(frozen=True, slots=True)
class GapSummary:
    """One gap: what could not be observed, why, what to do, and whose law lost sight by it."""

    what: str
    reason: str
    remedy: str
    law: str
    rank: int
    pid: int
    at: int


@dataclass(frozen=True, slots=True)
class StepPoint:
    """One step of one rank for plots. ``ns`` is the whole step's duration; ``phases`` its parts in ns."""

    rank: int
    step: int
    loss: float | None
    lr: float | None
    ns: int
    phases: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProcessSummary:
    """One process of the job that spoke or ended. ``trained`` and ``spent`` in ns: see ``Goodbye``."""

    pid: int
    rank: int
    role: str
    command: str
    steps: int
    records: int
    dropped: int
    how: str
    code: int
    explained: str
    trained: int = 0
    spent: int = 0


@dataclass(frozen=True, slots=True)
class SealedItem:
    """One line of "what ran": ``kind`` (git, interpreter, distribution, module, library, data, environment,
    host), its name, a digest or value, and a remark (``as RECORD says``, ``altered``, ``uncommitted``)."""

    kind: str
    name: str
    value: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run from launch to verdict. Times are ns since the epoch; ``ended_at`` None while it goes on.

    ``same_account``: monitor and job ran under one account, so the record is tamper-visible only. Else
    ``recorder`` is the account that recorded, with its number, and ``ran_as`` the number of the job's.
    """

    run: str
    command: tuple[str, ...]
    folder: str
    host: str
    user: str
    started_at: int
    ended_at: int | None
    exit_code: int | None
    same_account: bool
    verdict: Verdict | None
    findings: tuple[Finding, ...]
    gaps: tuple[GapSummary, ...]
    coverage: dict[str, Coverage]
    processes: tuple[ProcessSummary, ...]
    points: tuple[StepPoint, ...]
    sealed: tuple[SealedItem, ...]
    contract: tuple[tuple[str, str, str], ...]
    """``(field, value, origin)``: origin is approved, pinned, read or observed."""
    entries: int
    tree_root: str
    job: str = ""
    """The job over several nodes that it says it is part of, empty without one."""
    peers: tuple[str, ...] = ()
    """``node (run id)`` of the other monitors of that job that it met."""
    refused: tuple[str, ...] = ()
    """Why it was not started; empty for what was."""
    recorder: str = ""
    recorder_uid: int = -1
    ran_as: int = -1
