"""Taking part in a job over several nodes: whether this run does, and what is said when it cannot."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import Error, EvidenceError
from ...core.observation import Gap, JobJoined, Observation
from ...core.origin import Origin, Trust, monitor_origin
from ..folder import RunFolder
from .label import label_of, name_of
from .meeting import Meeting, meet
from .peers import LAW, Peers

MEET_SECONDS = 15.0
JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class Joined:
    """The monitors of the job's other nodes, None where the run is alone; ``said`` is recorded first.

    ``key`` is the sampling key that they share, empty for one of the run's own.
    """

    peers: Peers | None = None
    key: bytes = b""
    said: list[Observation] = field(default_factory=list)


def join(
    folder: RunFolder,
    started_at: int,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    job: str = "",
    place: Path | None = None,
) -> Joined:
    """Meet the other monitors of the command's job, ``job`` or what it says itself, in ``place`` or the home.

    A run that cannot goes on alone, and says so.
    """
    label = label_of(job, environment, command, meets=place is not None)
    if not label.job:
        return Joined()
    place = place.absolute() if place is not None else folder.home / JOBS / label.folder
    try:
        meeting = _met(place)
    except Error as error:
        said = error.diagnostics()
        origin = monitor_origin(time.time_ns())
        what = f"the monitors of job {label.job} do not meet: this one compares only the ranks it sees"
        return Joined(said=[Gap(origin, what, f"{said.what}: {place}", said.remedy, law=LAW)])
    # Whoever submits the job says so: the label, the number of nodes and the name of this one.
    origin = Origin(label.named, Trust.SELF_REPORT, 0, -1, -1, time.time_ns())
    node = name_of(socket.gethostname() or "node")
    joined = JobJoined(origin, label.job, label.named, node, label.nodes)
    return Joined(Peers(meeting, joined, folder.run, started_at), meeting.key, [joined])


def _met(place: Path) -> Meeting:
    """In a thread of its own: a file system that hangs must not keep the job from being started."""
    future: Future[Meeting] = Future()

    def visit() -> None:
        try:
            future.set_result(meet(place))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            future.set_exception(error)

    threading.Thread(target=visit, name="meeting", daemon=True).start()
    try:
        return future.result(MEET_SECONDS)
    except NotInTime as error:
        raise EvidenceError("the folder of the job does not answer") from error
