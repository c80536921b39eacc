"""``veracity run`` where a service records: it starts the command and stands beside it, and nothing else.

The command is a child of this process and has its streams; signals that arrive here reach it; its exit code
is passed on. Processes that have ended are left unreaped for a while, so that the service, which is not their
parent, can read how they ended.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import select
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import Error, EvidenceError, TransportError, UsageError
from ...core.verdict import Outcome
from ...observe import process
from ...seal.folder import make_home
from .. import launch
from ..job import JobResult, RunOptions
from ..prepare import guarded_environment
from .finding import ask_summary, connect, refusal
from .protocol import (
    Channel,
    Judged,
    NotStarted,
    Open,
    Opened,
    Reference,
    Resume,
    Signalled,
    Started,
)

OPEN_SECONDS = 60.0
JUDGE_SECONDS = 240.0
"""How long the end of a run waits for the service: what it still checks takes at most this long."""
COME_BACK_SOON = 0.5
COME_BACK_LATE = 60.0
"""Seconds between two attempts to reach a service that has gone: at first, and after many."""
ASK_EVERY = 2.0
"""The same, and whether the run has been closed, once the command has ended."""
COME_BACK_SECONDS = 20.0
"""How long the end of a run tries to reach a service that has gone."""
UNREAPED_SECONDS = 3.0
TICK = 0.5
PLACES = "handed"


class RefusedError(UsageError):
    """The service does not record this run."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The result as of a run that is recorded by oneself; without one when the service has gone.

    ``told``: what the person should know of the service meanwhile.
    """

    exit_code: int
    run: str
    result: JobResult | None
    told: Sequence[str] = ()


@dataclass(slots=True)
class _Beside:
    """Stands beside one command."""

    socket: Path
    asked: bool
    channel: Channel | None
    run: str
    child: launch.Child
    signals: launch.Signals
    told: list[str] = field(default_factory=list)
    judged: bool = False
    closing: Judged | None = None
    _ended: dict[int, float] = field(default_factory=dict)
    _next_try: float = 0.0
    _reached: float = 0.0
    _pause: float = COME_BACK_SOON
    _over: bool = False
    _impatient: bool = False

    def started(self) -> None:
        """Tell the service which process the command's is."""
        try:
            if self.channel is not None:
                self.channel.send(Started(self.child.pid))
        except TransportError:
            self._lost()

    def stand(self) -> int:
        """Until the command has ended and the record is closed; the wait status."""
        handle = os.pidfd_open(self.child.pid)
        try:
            while not select.select([handle], [], [], 0)[0]:
                self._turn([handle])
            self._wait_for_verdict()
        finally:
            os.close(handle)
        return self.child.wait()

    def _turn(self, handles: list[int]) -> None:
        channel = self.channel
        watched: list[int] = [self.signals.reader, *handles]
        if channel is not None:
            watched.append(channel.connection.fileno())
        ready = select.select(watched, [], [], TICK)[0]
        for number, sent in self.signals.take():
            self._impatient = self._over and number in (signal.SIGINT, signal.SIGTERM)
            if self.channel is not None and number != signal.SIGCHLD:
                try:
                    self.channel.send(Signalled(number, sent))
                except Error:
                    self._lost()
        if channel is not None and channel is self.channel and channel.connection.fileno() in ready:
            self._hear(channel)
        self._reap()
        if self.channel is None and not self.judged:
            self._come_back()

    def _hear(self, channel: Channel) -> None:
        try:
            message = channel.receive(TICK)
        except Error:
            message = None
        if isinstance(message, Judged):
            self.judged, self.closing = True, message
            channel.close()
            self.channel = None
        elif not isinstance(message, Opened):
            self._lost()

    def _lost(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None
            self._pause = COME_BACK_SOON
            self._next_try = time.monotonic() + self._pause
            self.told.append("the service has gone; the job goes on, and what the guard writes is kept")

    def _come_back(self) -> None:
        """The service went: is it back, and is the run taken up or even closed by now?"""
        now = time.monotonic()
        if now < self._next_try:
            return
        self._pause = ASK_EVERY if self._over else min(2 * self._pause, COME_BACK_LATE)
        self._next_try = now + self._pause
        try:
            channel = connect(self.socket, asked=self.asked)
        except TransportError:
            return
        self._reached = time.monotonic()
        try:
            channel.send(Resume(self.run))
            if isinstance(channel.receive(COME_BACK_SECONDS / 2), Opened):
                self.told.append("the service is back and has taken the run up again")
                self.channel = channel
                self.started()
                return
            if self._over:  # it may be recorded by somebody who has no connection to us
                self.judged = ask_summary(self.socket, self.run, asked=self.asked).verdict is not None
        except Error:
            pass  # it may be there the next time
        channel.close()

    def _wait_for_verdict(self) -> None:
        deadline = time.monotonic() + JUDGE_SECONDS
        self._reached = time.monotonic()
        self._over, self._next_try = True, min(self._next_try, self._reached + COME_BACK_SOON)
        while not (self.judged or self._impatient) and time.monotonic() < deadline:
            if self.channel is None and time.monotonic() - self._reached > COME_BACK_SECONDS:
                return
            self._turn([])

    def _reap(self) -> None:
        """Of orphans of the job that became ours, those that ended a while ago."""
        now = time.monotonic()
        for pid in _children():
            status = process.read_stat(pid) if pid != self.child.pid else None
            if status is None or status.state != "Z":
                continue
            if now - self._ended.setdefault(pid, now) > UNREAPED_SECONDS:
                del self._ended[pid]
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


@dataclass(slots=True)
class Handover:
    """A run that the service has opened: :meth:`run` starts its command, once."""

    command: Sequence[str]
    options: RunOptions
    socket: Path
    asked: bool
    channel: Channel
    place: Path
    opened: Opened

    def run(self) -> HandedOver:
        """Run the command to its end and wait for the verdict.

        Raises CommandError when it cannot be started, after that has been recorded.
        """
        environment = guarded_environment(os.environ, Path(self.opened.archive), Path(self.opened.config))
        signals = launch.Signals()
        try:
            child = launch.start(self.command, environment)
        except launch.CommandError as error:
            signals.close()
            with contextlib.suppress(Error):
                self.channel.send(NotStarted(error.status, str(error)))
                self.channel.receive(JUDGE_SECONDS)
            self.channel.close()
            shutil.rmtree(self.place, ignore_errors=True)
            raise
        launch.become_subreaper()
        signals.reach(child.pid)
        beside = _Beside(self.socket, self.asked, self.channel, self.opened.run, child, signals)
        try:
            beside.started()
            code = launch.shell_status(beside.stand())
        finally:
            signals.close()
        return self._result(beside, code)

    def _result(self, beside: _Beside, code: int) -> HandedOver:
        run = self.opened.run
        if not beside.judged:
            kept = f"{run} is not closed: the service takes it up from {self.place} when it is back"
            return HandedOver(code, run, None, [*beside.told, kept])
        shutil.rmtree(self.place, ignore_errors=True)
        try:
            summary = ask_summary(self.socket, run, asked=self.asked)
        except Error as error:
            return HandedOver(code, run, None, [*beside.told, f"{run} is recorded, but not shown: {error}"])
        outcome = summary.verdict.outcome if summary.verdict is not None else Outcome.INCOMPLETE
        if self.options.policy == "enforce" and code == 0 and outcome is not Outcome.HELD:
            code = outcome.exit_code
        closing = beside.closing or Judged(run, "", witnessed=self.options.witness_policy is None)
        if beside.closing is None and (self.options.witnesses or self.options.timestamps):
            beside.told.append("whether witnesses and authorities signed was not heard from the service")
        unsigned = closing.uncosigned, closing.witnessed, closing.unstamped
        return HandedOver(code, run, JobResult(run, code, summary, *unsigned), beside.told)


def hand_over(command: Sequence[str], options: RunOptions, socket: Path, *, asked: bool) -> Handover:
    """Have the service at ``socket`` open a run of ``command``; nothing is started yet.

    Raises RefusedError, TransportError or UsageError when the service does not.
    """
    channel = connect(socket, asked=asked)
    place = _place(options.home)
    try:
        opened = _open(command, options, channel, place, socket)
    except BaseException as error:
        channel.close()
        shutil.rmtree(place, ignore_errors=True)
        if isinstance(error, EvidenceError):
            raise RefusedError(error.diagnostics().what) from error
        raise
    return Handover(command, options, socket, asked, channel, place, opened)


def _open(command: Sequence[str], options: RunOptions, channel: Channel, place: Path, socket: Path) -> Opened:
    for one in options.references:
        channel.send(Reference(one.path, one.text))
    channel.send(
        Open(
            list(command),
            str(place),
            options.name,
            options.policy,
            options.overhead,
            options.stacks,
            options.hang_after,
            options.job,
            str(options.job_folder.absolute()) if options.job_folder is not None else "",
            [f"{one.url}={one.key.vkey}" for one in options.witnesses],
            ""
            if options.witness_policy is None
            else base64.b64encode(options.witness_policy.encode()).decode(),
            list(options.timestamps),
        )
    )
    answer = channel.receive(OPEN_SECONDS)
    if not isinstance(answer, Opened):
        said = refusal(answer, socket).diagnostics()
        raise RefusedError(said.what, where=said.where, remedy=said.remedy)
    return answer


def _place(home: Path) -> Path:
    """A new folder of ours for what passes between job and service. Raises UsageError."""
    place = home / PLACES / f"run-{secrets.token_hex(8)}"
    make_home(place.parent)
    make_home(place)
    return place


def _children() -> list[int]:
    """This process's children, none where the kernel does not list them."""
    try:
        words = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except OSError:
        return []
    return [int(word) for word in words if word.isdecimal()][:4096]
