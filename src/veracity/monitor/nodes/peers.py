"""What this monitor tells those of the job's other nodes, and what it hears of them, while the run goes on.

All of it is read and written in a thread of its own: a shared file system that hangs costs the law its sight
of other nodes, not the monitor its pace.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, field

from ...core import observation as seen
from ...core.origin import Origin, Trust, monitor_origin
from ..pace import be_modest
from .files import OwnFile, PeerFiles, Trouble, file_name
from .lines import Line
from .meeting import Meeting
from .ownranks import OwnRanks

LAW = "replica-agreement"
VISIT_EVERY = 1.0
VISIT_SECONDS = 10.0
WAIT = 5.0
"""Seconds at the end of a run for which the last words of others are waited for."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """What one visit to the folder brought. ``failed``: why it could not be made."""

    lines: list[tuple[str, Line]] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    unread: int = 0
    full: bool = False
    failed: str = ""


class Peers:
    """The other monitors of this run's job. ``started_at`` in ns since the epoch."""

    def __init__(self, meeting: Meeting, joined: seen.JobJoined, run: str, started_at: int) -> None:
        self.joined = joined
        self._meeting = meeting
        self._own_name = file_name(joined.node, run)
        self._started = started_at / 1e9
        self._ranks = OwnRanks(joined.node)
        self._waiting = [Line(0, joined.node, "began")]
        self._running: Future[_Heard] | None = None
        self._next_visit = 0.0
        self._files: tuple[OwnFile, PeerFiles] | None = None
        self._states: dict[str, tuple[str, str]] = {}
        self._told: dict[str, int] = {}
        self._said: set[str] = set()
        self._behind = False
        self._fault = ""
        self._visits: queue.SimpleQueue[tuple[list[Line], Future[_Heard]] | None] = queue.SimpleQueue()
        # Begun now, so that the thread does not take over the monitor's idle class, which may starve it. Not
        # a pool's thread: Python would wait for it at its end, and it may hang for ever.
        threading.Thread(target=self._serve, name="peers", daemon=True).start()

    def take(self, observation: seen.Observation) -> None:
        """Something a guard below this monitor said."""
        if not self._fault:
            try:
                self._ranks.take(observation)
            except Exception as error:  # noqa: BLE001 - a fault costs the sight of other nodes, not the run
                self._fault = f"{type(error).__name__}: {error}"[:300]

    def look(self) -> Iterator[seen.Observation]:
        """What others have said since the last look; begin the next one."""
        now = time.monotonic()
        if self._running is not None:
            if self._running.done():
                yield from self._heard(self._running.result())
                self._running = None
            elif now > self._next_visit + VISIT_SECONDS:
                yield from self._once("the folder of the job does not answer", "a visit to it hangs")
        if self._running is None and now >= self._next_visit:
            self._next_visit = now + VISIT_EVERY
            self._waiting += self._ready()
            self._begin()
        if self._fault:
            yield from self._once("other nodes are not told what the ranks here hold", self._fault)

    def last(self) -> Iterator[seen.Observation]:
        """The job has ended: say what is left and that it was all, and wait a little for others to."""
        self._waiting += self._ready(last=True)
        self._waiting.append(Line(0, self.joined.node, "done"))
        deadline = time.monotonic() + WAIT
        while True:
            yield from self._visit(deadline)
            if time.monotonic() > deadline or not (self._open() or self._waiting or self._behind):
                break
            time.sleep(0.1)
        yield from self._missing()

    def close(self, outcome: str) -> None:
        """The verdict is there; others that still run are told."""
        self._waiting.append(Line(0, self.joined.node, outcome))
        deadline = time.monotonic() + WAIT
        while self._waiting and time.monotonic() < deadline:
            list(self._visit(deadline))
        self._visits.put(None)

    def _ready(self, *, last: bool = False) -> list[Line]:
        try:
            return [] if self._fault else self._ranks.ready(last=last)
        except Exception as error:  # noqa: BLE001 - a fault costs the sight of other nodes, not the run
            self._fault = f"{type(error).__name__}: {error}"[:300]
            return []

    def _visit(self, deadline: float) -> Iterator[seen.Observation]:
        """One whole visit, if the folder answers in time."""
        if self._running is None:
            self._begin()
        running = self._running
        if running is None:
            return
        try:
            heard = running.result(max(0.1, deadline - time.monotonic()))
        except NotInTime:
            yield from self._once("the folder of the job does not answer", "a visit to it hangs")
            return
        self._running = None
        self._behind = bool(heard.lines)
        yield from self._heard(heard)

    def _open(self) -> list[str]:
        """Runs that have begun and not said that they are done."""
        return [run for run, (_, state) in self._states.items() if state == "began"]

    # --- what was heard --------------------------------------------------------------------------

    def _heard(self, heard: _Heard) -> Iterator[seen.Observation]:
        steps: dict[tuple[str, str], list[seen.ReplicaStep]] = {}
        states: list[seen.PeerSeen] = []
        for run, line in heard.lines:
            if line.step is not None:
                steps.setdefault((run, line.node), []).append(line.step)
                self._told[run] = line.step.step
            else:
                self._states[run] = line.node, line.state
                states.append(seen.PeerSeen(self._origin(run), line.node, line.state))
        for (run, node), made in steps.items():
            yield seen.PeerReplicas(self._origin(run), node, made)
        yield from states
        for trouble in heard.troubles:
            yield from self._once(
                f"what another monitor says is not read: {trouble.name}",
                trouble.reason,
                "who writes to the folder of the job? Only its monitors are to",
            )
        if heard.unread:
            yield from self._once("not all nodes are compared with this one", "there are too many of them")
        if heard.full:
            yield from self._once("not all steps are told to other nodes", "the file for them is full")
        if heard.failed:
            yield from self._once("the folder of the job cannot be used", heard.failed)

    def _missing(self) -> Iterator[seen.Observation]:
        """Nodes that were not seen, or whose end was not: what they hold is not known, and no more."""
        if self.joined.nodes > len(self._states) + 1:
            yield from self._once(
                f"of the {self.joined.nodes} nodes of job {self.joined.job}, {len(self._states) + 1} met",
                f"no monitor of the others came to {self._meeting.folder}",
                "run `veracity run` on each node, with one --job-folder on a file system that all share",
            )
        for run, (node, state) in self._states.items():
            if state == "began":
                last = f"step {self._told[run]} is the last" if run in self._told else "there is no step"
                yield from self._once(
                    f"{node} ({run}) has not said that it is done",
                    f"{last} of which it told what its ranks held; later ones were not compared with it",
                    "did its monitor end before the job? Its own run says what was seen there",
                )
            elif state in ("broken", "incomplete"):
                yield from self._once(f"the run on {node} ended {state}", f"see {run} there")

    def _once(self, what: str, reason: str, remedy: str = "") -> Iterator[seen.Gap]:
        if what not in self._said and len(self._said) < 256:
            self._said.add(what)
            yield seen.Gap(monitor_origin(time.time_ns()), what, reason, remedy, law=LAW)

    @staticmethod
    def _origin(run: str) -> Origin:
        return Origin(run, Trust.USERLAND, 0, -1, -1, time.time_ns())

    # --- in the thread ---------------------------------------------------------------------------

    def _begin(self) -> None:
        lines, self._waiting = self._waiting, []
        self._running = Future()
        self._visits.put((lines, self._running))

    def _serve(self) -> None:
        be_modest()
        while (visit := self._visits.get()) is not None:
            self._visited(*visit)
        if self._files is not None:
            self._files[0].close()

    def _visited(self, lines: list[Line], future: Future[_Heard]) -> None:
        try:
            if self._files is None:
                folder, key = self._meeting.folder, self._meeting.key
                self._files = (
                    OwnFile(folder, self._own_name, key),
                    PeerFiles(folder, self._own_name, key, self._started),
                )
            own, others = self._files
            own.append(lines)
            found, troubles = others.read()
            told = [(peer.run, line) for peer, line in found]
            future.set_result(_Heard(told, troubles, others.unread, own.full))
        except Exception as error:  # noqa: BLE001 - a fault costs the sight of other nodes, not the run
            future.set_result(_Heard(failed=f"{type(error).__name__}: {error}"[:300]))
