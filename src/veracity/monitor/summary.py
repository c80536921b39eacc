"""From a run's ledger to what people read. Nothing else is consulted: the ledger is the truth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from ..core.canonical import Json
from ..core.coverage import Coverage
from ..core.digest import Digest
from ..core.errors import Error, EvidenceError
from ..core.finding import Finding
from ..core.observation import (
    Gap,
    Goodbye,
    Hello,
    JobJoined,
    OptimizerDeclared,
    PeerSeen,
    ProcessEnded,
    SchedulerDeclared,
    StepsPassed,
)
from ..core.quantity import quantity
from ..core.summary import GapSummary, ProcessSummary, RunSummary, SealedItem, StepPoint
from ..core.verdict import Outcome, Verdict
from ..ledger.blobs import Blobs
from ..ledger.entry import Entry
from ..ledger.reader import Reader
from .folder import RunFolder
from .replayed import recorded
from .sealing import sealed_items

_T = TypeVar("_T")
MAX_GAPS = 500
MAX_POINTS = 2_000_000
MAX_PAYLOAD = 80 << 20
_PHASES = ("data", "forward", "backward", "optimizer", "other")


@dataclass(slots=True)
class _Process:
    pid: int
    rank: int = -1
    role: str = "other"
    command: str = ""
    steps: int = 0
    records: int = 0
    dropped: int = 0
    how: str = ""
    code: int = 0
    explained: str = ""
    trained: int = 0
    spent: int = 0


@dataclass(slots=True)
class _Gathered:
    opening: Mapping[str, Json] = field(default_factory=dict)
    judged: Mapping[str, Json] | None = None
    findings: list[Finding] = field(default_factory=list)
    gaps: list[GapSummary] = field(default_factory=list)
    processes: dict[int, _Process] = field(default_factory=dict)
    points: list[StepPoint] = field(default_factory=list)
    contract: list[tuple[str, str, str]] = field(default_factory=list)
    sealed: list[SealedItem] = field(default_factory=list)
    job: str = ""
    peers: dict[str, None] = field(default_factory=dict)
    refused: tuple[str, ...] = ()


def load_summary(folder: Path) -> RunSummary:
    """The summary of the run in ``folder``; raises EvidenceError when its ledger cannot be read."""
    run = RunFolder(folder)
    gathered = _Gathered()
    blobs = Blobs(run.blobs)
    with Reader(run.ledger) as reader:
        for data in reader.entries():
            _take(gathered, Entry.decode(data), blobs)
        size, root = reader.size, reader.tree_head.root.hex()
    opening, judged = gathered.opening, gathered.judged
    recorder = opening.get("recorder")
    recorder = recorder if isinstance(recorder, dict) else {}
    return RunSummary(
        run=run.run,
        command=tuple(str(word) for word in _list(opening.get("command"))),
        folder=str(folder),
        host=str(opening.get("host", "")),
        user=str(opening.get("user", "")),
        started_at=_int(opening.get("started_at")),
        ended_at=_int(judged.get("ended_at")) if judged is not None else None,
        exit_code=_exit_code(judged),
        same_account=opening.get("same_account") is not False,
        verdict=_verdict(judged) if judged is not None else None,
        findings=tuple(
            sorted(
                gathered.findings, key=lambda one: (-one.severity.weight, not one.breaks, one.first_step or 0)
            )
        ),
        gaps=tuple(gathered.gaps),
        coverage=_coverage(judged),
        processes=tuple(
            ProcessSummary(
                one.pid,
                one.rank,
                one.role,
                one.command,
                one.steps,
                one.records,
                one.dropped,
                one.how,
                one.code,
                one.explained,
                one.trained,
                one.spent,
            )
            for one in gathered.processes.values()
        ),
        points=tuple(gathered.points),
        sealed=tuple(gathered.sealed),
        contract=tuple(gathered.contract),
        entries=size,
        tree_root=root,
        job=gathered.job,
        peers=tuple(gathered.peers),
        refused=gathered.refused,
        recorder=str(recorder.get("account", "")),
        recorder_uid=_int(recorder.get("uid", -1)),
        ran_as=_int(opening.get("uid", -1)),
    )


def _take(gathered: _Gathered, entry: Entry, blobs: Blobs) -> None:
    body = entry.body
    if entry.kind == "run":
        gathered.opening = body
    elif entry.kind == "judged":
        gathered.judged = body
    elif entry.kind == "refused":
        gathered.refused = tuple(map(str, _list(body.get("reasons")))) or ("no reason was recorded",)
    elif entry.kind == "finding":
        gathered.findings.append(_convert(body.get("finding"), Finding))
    elif entry.kind == "record":
        _take_record(gathered, body, blobs)
    elif entry.kind == "observed":
        _take_observed(gathered, body, blobs)
    elif entry.kind == "seal":
        with contextlib.suppress(Error):
            envelope = blobs.get(Digest.parse(str(body.get("envelope"))), MAX_PAYLOAD)
            gathered.sealed = sealed_items(envelope)


def _take_record(gathered: _Gathered, body: Mapping[str, Json], blobs: Blobs) -> None:
    kind, pid, rank = str(body.get("kind")), _int(body.get("pid")), _int(body.get("rank"))
    process = gathered.processes.setdefault(pid, _Process(pid))
    process.records += 1
    if kind == "step":
        process.steps += 1
        if len(gathered.points) < MAX_POINTS and body.get("optimizer") == 0:
            gathered.points.append(_point(body, rank))
    elif kind in ("hello", "bye", "gap", "optimizer", "rested", "scheduler"):
        try:
            observation = recorded(body, blobs)
        except Error:
            return
        if isinstance(observation, Hello):
            process.rank, process.role = rank, observation.role
        elif isinstance(observation, StepsPassed):
            process.steps += observation.count
        elif isinstance(observation, Goodbye):
            process.trained, process.spent = observation.trained, observation.spent
        elif isinstance(observation, Gap):
            _add_gap(gathered, observation)
        elif isinstance(observation, OptimizerDeclared):
            gathered.contract += _optimizer_lines(observation)
        elif isinstance(observation, SchedulerDeclared) and rank in (-1, 0):
            gathered.contract += _scheduler_lines(observation)


def _take_observed(gathered: _Gathered, body: Mapping[str, Json], blobs: Blobs) -> None:
    kind = body.get("kind")
    if kind not in ("Gap", "JobJoined", "PeerSeen", "ProcessEnded"):
        return
    value = body.get("body")
    if value is None:
        return
    if kind == "Gap":
        _add_gap(gathered, _convert(value, Gap))
    elif kind == "JobJoined":
        gathered.job = _convert(value, JobJoined).job
    elif kind == "PeerSeen":
        peer = _convert(value, PeerSeen)
        gathered.peers[f"{peer.node} ({peer.origin.source})"] = None
    else:
        ended = _convert(value, ProcessEnded)
        process = gathered.processes.setdefault(ended.origin.pid, _Process(ended.origin.pid))
        if process.role == "other":
            process.role = ended.role
        process.command, process.how, process.code = ended.command, ended.how, ended.code
        process.explained = ended.explained


def _point(body: Mapping[str, Json], rank: int) -> StepPoint:
    times = [_int(value) for value in _list(body.get("ns"))]
    phases = dict(zip(_PHASES, times, strict=False))
    return StepPoint(
        rank, _int(body.get("step")), _float(body.get("loss")), _float(body.get("lr")), sum(times), phases
    )


def _optimizer_lines(declared: OptimizerDeclared) -> Iterator[tuple[str, str, str]]:
    if declared.origin.rank > 0:
        return
    optimizer = declared.optimizer
    prefix = f"optimizer {optimizer.index}"
    total = sum(tensor.numel for tensor in optimizer.tensors)
    yield prefix, optimizer.class_name, "read"
    yield f"{prefix}: parameters", f"{total:,} in {quantity(len(optimizer.tensors), 'tensor')}", "read"
    for number, group in enumerate(optimizer.groups):
        values = ", ".join(f"{key}={value}" for key, value in sorted(group.items()) if value is not None)
        yield f"{prefix}: group {number}", values, "read"


def _scheduler_lines(declared: SchedulerDeclared) -> Iterator[tuple[str, str, str]]:
    scheduler = declared.scheduler
    for level, one in [(0, scheduler)] + [(1, child) for child in scheduler.children]:
        named = [f"{key}={value}" for key, value in sorted(one.parameters.items())]
        values = ", ".join([*named, *map(str, one.functions)])
        name = f"schedule {scheduler.index}" + (f".{one.index}" if level else "")
        yield name, f"{one.class_name.rsplit('.', 1)[-1]}({values})", "read"


def _add_gap(gathered: _Gathered, gap: Gap) -> None:
    if len(gathered.gaps) < MAX_GAPS:
        origin = gap.origin
        gathered.gaps.append(
            GapSummary(gap.what, gap.reason, gap.remedy, gap.law, origin.rank, origin.pid, origin.at)
        )


def _exit_code(judged: Mapping[str, Json] | None) -> int | None:
    code = judged.get("exit_code") if judged is not None else None
    return code if isinstance(code, int) else None


def _verdict(judged: Mapping[str, Json]) -> Verdict:
    try:
        outcome = Outcome(str(judged.get("outcome")))
    except ValueError as error:
        raise EvidenceError("the ledger holds an unknown verdict") from error
    return Verdict(outcome, tuple(str(reason) for reason in _list(judged.get("reasons"))))


def _coverage(judged: Mapping[str, Json] | None) -> dict[str, Coverage]:
    value = judged.get("coverage") if judged is not None else None
    return _convert(value, dict[str, Coverage]) if isinstance(value, dict) else {}


def _convert(value: object, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as error:
        raise EvidenceError(f"an entry does not fit its kind: {error}") from error


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _int(value: Json) -> int:
    return value if isinstance(value, int) else 0


def _float(value: Json) -> float | None:
    try:
        return float.fromhex(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
