"""Starting the job and standing beside it: it inherits our standard streams, our signals reach it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from ..core.errors import UsageError
from ..core.observation import Gap

FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
)
_PR_SET_CHILD_SUBREAPER = 36
Child: TypeAlias = "subprocess.Popen[bytes]"
"""A process that was started here."""
NOT_FOUND = 127
NOT_EXECUTABLE = 126


class CommandError(UsageError):
    """The command cannot be started. ``status`` is what a shell would have returned: 127 or 126."""

    def __init__(self, what: str, status: int, *, remedy: str) -> None:
        super().__init__(what, remedy=remedy)
        self.status = status


def start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the command with our standard streams. Raises CommandError when it cannot be started."""
    try:
        return subprocess.Popen(list(command), env=dict(environment))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CommandError(
            f"{command[0]}: command not found",
            NOT_FOUND,
            remedy="check the spelling; everything after -- is run as it stands, without a shell",
        ) from error
    except (PermissionError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CommandError(
            f"{command[0]}: cannot be executed: {reason}",
            NOT_EXECUTABLE,
            remedy="is the file executable, and does its first line name an interpreter?",
        ) from error


def become_subreaper() -> bool:
    """Let orphans of the job become our children, so that their end is seen; False where it cannot be."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


class Attended(Protocol):
    """Whoever stands beside the job: the signals that reached it, and a way to end it."""

    @property
    def reader(self) -> int:
        """A descriptor that is readable when there is something to take."""

    @property
    def leaves(self) -> bool:
        """Whether the monitor is to leave the job alone, without a verdict."""

    def take(self) -> list[tuple[int, bool]]:
        """Signals that arrived since the last call, and whether each was sent on to the job."""

    def gaps(self) -> list[Gap]:
        """What was lost sight of since the last call."""

    def end(self) -> None:
        """Ask the job to end: SIGTERM."""

    def close(self) -> None:
        """The job has ended."""


class Signals:
    """Passes signals on to the job while it runs; ``take`` tells which arrived.

    Ctrl-C at a terminal reaches the job by itself, since it is in the same process group: then it is not
    sent a second time. Made before the job is started, and told of it with ``reach``: what arrives in
    between would end this process and leave the job without anybody.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._early: list[int] = []
        self._arrived: list[tuple[int, bool]] = []
        self._old: dict[int, object] = {}
        self.reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*FORWARDED, signal.SIGCHLD):
            self._old[number] = signal.signal(number, self._handle)

    def reach(self, pid: int) -> None:
        """The job runs as this process: what has arrived before goes on to it."""
        self._pid = pid
        early, self._early = self._early, []
        for number in early:
            self._send(number)

    def take(self) -> list[tuple[int, bool]]:
        """Signals that arrived since the last call, and whether each was sent on by us."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.reader, 4096)
        arrived, self._arrived = self._arrived, []
        return arrived

    @property
    def leaves(self) -> bool:
        """Never: the job is ours."""
        return False

    def gaps(self) -> list[Gap]:
        """Never one: we are the job's parent."""
        return []

    def end(self) -> None:
        """Ask the job to end: SIGTERM."""
        self._send(signal.SIGTERM)

    def close(self) -> None:
        """Put the old handlers back."""
        signal.set_wakeup_fd(self._old_wakeup)
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.close(self.reader)
        os.close(self._writer)

    def _handle(self, number: int, frame: object) -> None:
        if number == signal.SIGCHLD:
            return
        sent = not (number in (signal.SIGINT, signal.SIGQUIT) and _in_foreground())
        if sent:
            self._send(number)
        self._arrived.append((number, sent))

    def _send(self, number: int) -> None:
        if not self._pid:
            self._early.append(number)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)


def _in_foreground() -> bool:
    try:
        return sys.stdin is not None and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def shell_status(returncode: int) -> int:
    """The exit status a shell would report: the code itself, or 128 plus the signal that ended it."""
    return returncode if returncode >= 0 else 128 - returncode
