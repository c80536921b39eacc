"""A process that answers requests for us, one after the other, and that a request may end.

Requests and answers are JSON lines over pipes that never block. A request that makes the worker end or takes
longer than its limit is given up (``Failed``); the others are sent again to a new worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

MAX_ANSWER = 64 << 20
MAX_RESTARTS = 20
TENTH = 10
"""The niceness that has a tenth of the weight of an ordinary task: 110 to 1024, see sched(7)."""


class Share(Enum):
    """What a worker gets of a processor that others want as well; one that is free it has whole."""

    LEFT_OVER = "what others leave over"
    TENTH = "a tenth"
    ITS_STARTERS = "that of whoever starts it"


@dataclass(frozen=True, slots=True)
class Answered:
    """The worker's answer to request ``number``."""

    number: int
    body: dict[str, object]


@dataclass(frozen=True, slots=True)
class Failed:
    """Request ``number`` has no answer, and why."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Request:
    number: int
    line: bytes
    seconds: float


class LineWorker:
    """Starts the worker by ``command`` when the first request comes; ``called`` names it in reasons.

    ``seconds``: how long one request may take. ``share``: what it may take of processors that others want.
    """

    def __init__(
        self, command: Sequence[str], called: str, *, seconds: float, share: Share = Share.LEFT_OVER
    ) -> None:
        self._share = share
        self._command = list(command)
        self._called = called
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: deque[_Request] = deque()
        self._sent: deque[_Request] = deque()
        self._unsent = b""
        self._received = bytearray()
        self._since = 0.0
        self._restarts = 0

    @property
    def pending(self) -> int:
        """Requests without an answer."""
        return len(self._waiting) + len(self._sent)

    @property
    def pid(self) -> int:
        """The worker's process id, 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    def send(self, number: int, request: dict[str, object], *, more: float = 0.0) -> None:
        """Queue a request, which may take ``more`` seconds than others; it goes out with :meth:`pump`."""
        line = json.dumps({"id": number, **request}, ensure_ascii=True, separators=(",", ":"))
        self._waiting.append(_Request(number, line.encode("ascii") + b"\n", self._seconds + more))

    def pump(self, seconds: float = 0.0) -> list[Answered | Failed]:
        """Send and receive what goes without blocking, waiting at most ``seconds`` for something to come."""
        results: list[Answered | Failed] = []
        if not self.pending:
            return results
        if self._process is None and not self._start(results):
            return results
        self._write()
        process = self._process
        if process is not None and process.stdout is not None and seconds > 0:
            writers = [process.stdin] if self._unsent and process.stdin is not None else []
            select.select([process.stdout], writers, [], seconds)
        alive = self._read(results)
        self._write()
        if not alive:
            self._restart(results, f"{self._called} ended while it worked on this")
        elif self._sent and time.monotonic() - self._since > self._sent[0].seconds:
            self._restart(results, f"{self._called} took longer than {self._sent[0].seconds:.0f} s")
        return results

    def close(self) -> None:
        """End the worker."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()

    def _start(self, results: list[Answered | Failed]) -> bool:
        environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        if self._restarts and "LD_LIBRARY_PATH" in os.environ:
            # Some interpreters find their own libpython only through it.
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for the job; the monitor ends this worker itself
            )
        except OSError as error:
            self._give_up(results, f"{self._called} cannot be started: {error.strerror}")
            return False
        with contextlib.suppress(OSError):
            if self._share is Share.LEFT_OVER:
                os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
            elif self._share is Share.TENTH:
                # Who started it may have been in the idle class.
                os.sched_setscheduler(process.pid, os.SCHED_OTHER, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, process.pid, TENTH)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
        self._process = process
        self._since = time.monotonic()
        return True

    def _write(self) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        while self._unsent or self._waiting:
            if not self._unsent:
                if not self._sent:
                    self._since = time.monotonic()
                self._sent.append(self._waiting.popleft())
                self._unsent = self._sent[-1].line
            try:
                written = os.write(process.stdin.fileno(), self._unsent)
            except BlockingIOError:
                return
            except BrokenPipeError:
                return  # the read side notices the end
            self._unsent = self._unsent[written:]

    def _read(self, results: list[Answered | Failed]) -> bool:
        """Take answers in; False when the worker has ended or talks nonsense."""
        process = self._process
        if process is None or process.stdout is None:
            return False
        while True:
            try:
                data = os.read(process.stdout.fileno(), 1 << 20)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._received += data
            while (end := self._received.find(b"\n")) >= 0:
                line = bytes(self._received[:end])
                del self._received[: end + 1]
                if not self._accept(line, results):
                    return False
            if len(self._received) > MAX_ANSWER:
                return False

    def _accept(self, line: bytes, results: list[Answered | Failed]) -> bool:
        """One answer; it must be to the oldest request."""
        try:
            body = json.loads(line)
        except (ValueError, RecursionError):
            return False
        if not self._sent or not isinstance(body, dict) or body.get("id") != self._sent[0].number:
            return False
        number = self._sent.popleft().number
        self._since = time.monotonic()
        results.append(Answered(number, body))
        return True

    def _restart(self, results: list[Answered | Failed], reason: str) -> None:
        """Give up the oldest request and queue the others again, in their order."""
        code = self._process.poll() if self._process is not None else None
        self.close()
        if code is not None and code < 0:
            reason += f" ({signal.Signals(-code).name})" if -code in set(signal.Signals) else ""
        self._restarts += 1
        if self._sent and self._restarts > 1:
            results.append(Failed(self._sent.popleft().number, reason))
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self._unsent = b""
        self._received.clear()
        if self._restarts > MAX_RESTARTS:
            self._give_up(results, f"{self._called} ended too often")

    def _give_up(self, results: list[Answered | Failed], reason: str) -> None:
        results += [Failed(one.number, reason) for one in (*self._sent, *self._waiting)]
        self._sent.clear()
        self._waiting.clear()
        self._unsent = b""
