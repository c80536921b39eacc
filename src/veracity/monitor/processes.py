"""The job's processes: who they are, who stays silent, how each one ended.

A process that ends is noticed through its pidfd at once, and its exit status is read from ``/proc`` while it
waits to be reaped by its parent (or by us, for our own children and adopted orphans), or else from what newer
kernels keep of it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ..core.observation import Gap, Hello, HostLoad, ProcessAppeared, ProcessEnded
from ..core.origin import monitor_origin
from ..observe import process
from ..observe.pidfd import exit_status
from ..observe.silence import Silence, explain_silence

SILENT_AFTER = 10.0
PATIENCE = 12
SCAN_EVERY = 1.0
MAX_PROCESSES = 4096
MAX_KINDS = 64
MAX_OF_A_KIND = 4


@dataclass(slots=True)
class Known:
    """What is known of one process of the job."""

    pid: int
    parent: int
    starttime: int
    command: tuple[str, ...]
    first_seen: float
    role: str = "other"
    rank: int = -1
    greeted: bool = False
    reported_silent: bool = False
    silence: Silence | None = None
    torch_since: float = 0.0
    cpu_since: int = 0
    pidfd: int = -1
    step: int = -1
    load: tuple[int, int, int, int] | None = None
    oom_kills: int | None = None
    worker: bool = False


@dataclass(slots=True)
class Processes:
    """Watches everything below the process that ``run`` started."""

    root: int
    archive: str
    selector: selectors.BaseSelector
    known: dict[int, Known] = field(default_factory=dict)
    forwarded: list[int] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    mask: Callable[[Sequence[str]], list[str]] = field(default=list)
    is_ours: Callable[[int], bool] = field(default=lambda pid: False)
    above: int = field(default_factory=os.getpid)
    """The process whose descendants the job's are: the one that started the command."""
    _unheard: list[Gap] = field(default_factory=list)
    _appeared: Counter[tuple[str, str]] = field(default_factory=Counter)
    _next_scan: float = 0.0
    _descent: process.Descent = field(init=False)

    def __post_init__(self) -> None:
        self._descent = process.Descent(self.above)
        self._add(self.root, "root")

    def greeted(self, hello: Hello, pid: int, rank: int) -> None:
        """A guard spoke up in process ``pid``."""
        known = self.known.get(pid) or self._add(pid, hello.role)
        if known is None:
            return
        known.greeted = True
        known.rank = rank
        if known.role != "root":
            known.role = hello.role

    def stepped(self, pid: int, step: int) -> None:
        """Process ``pid`` has done optimizer step ``step``."""
        if pid in self.known:
            self.known[pid].step = step

    def scan(self) -> Iterator[Gap | HostLoad | ProcessAppeared]:
        """Find new processes and silent ones; at most once in ``SCAN_EVERY`` seconds."""
        now = time.monotonic()
        if now < self._next_scan:
            return
        self._next_scan = now + SCAN_EVERY
        for pid in self._descent.look():
            if pid not in self.known and len(self.known) < MAX_PROCESSES and not self.is_ours(pid):
                appeared = self._appear(self._add(pid, "other"))
                if appeared is not None:
                    yield appeared
        for known in list(self.known.values()):
            gap = self._silence(known, now)
            if gap is not None:
                yield gap
            if known.greeted and known.step >= 0:
                load = self._load(known)
                if load is not None:
                    yield load

    def ended_unheard(self) -> Iterator[Gap]:
        """Processes with torch and without a guard that ended before they were due to be reported."""
        gaps, self._unheard = self._unheard, []
        yield from gaps

    def owns(self, candidate: object) -> bool:
        """Whether a ready descriptor of the selector is one of our pidfds."""
        return isinstance(candidate, int) and any(known.pidfd == candidate for known in self.known.values())

    def note_status(self, pidfd: int) -> None:
        """Read how the process behind ``pidfd`` ended, at once: its parent may reap it any moment."""
        for known in self.known.values():
            if known.pidfd == pidfd:
                status = self._exit_status(known)
                if status is not None:
                    self.statuses[known.pid] = status

    def ended(self, pidfd: int) -> ProcessEnded | None:
        """The process behind ``pidfd`` has ended."""
        for known in list(self.known.values()):
            if known.pidfd == pidfd:
                return self._end(known)
        return None

    def greeted_alive(self) -> list[Known]:
        """Processes with a guard that have not ended."""
        return [known for known in self.known.values() if known.greeted]

    def trainers(self) -> list[int]:
        """All processes of the job, those that were seen to train first."""
        return sorted(self.known, key=lambda pid: (self.known[pid].step < 0, pid))

    def close(self) -> None:
        """Let go of all pidfds."""
        for known in self.known.values():
            self._forget_pidfd(known)
        self.known.clear()

    # --- one process -----------------------------------------------------------------------------

    def _add(self, pid: int, role: str) -> Known | None:
        status = process.read_stat(pid)
        if status is None:
            return None
        command = tuple(process.read_cmdline(pid) or ())
        known = Known(pid, status.ppid, status.starttime, command, time.monotonic(), role)
        known.oom_kills = process.oom_kills(pid)
        try:
            known.pidfd = os.pidfd_open(pid)
            self.selector.register(known.pidfd, selectors.EVENT_READ)
        except OSError:
            known.pidfd = -1
        self.known[pid] = known
        return known

    def _appear(self, known: Known | None) -> ProcessAppeared | None:
        """What to say of a process that was not there at the last scan; some of each kind are enough."""
        parent = self.known.get(known.parent) if known is not None else None
        if known is None or parent is None:
            return None
        program = process.read_exe(known.pid) or (known.command[0] if known.command else "")
        kind = ("rank" if parent.step >= 0 else parent.role, program)
        if len(self._appeared) < MAX_KINDS or kind in self._appeared:
            self._appeared[kind] += 1
        if not 0 < self._appeared[kind] <= MAX_OF_A_KIND:
            return None
        return ProcessAppeared(
            origin=monitor_origin(time.time_ns(), pid=known.pid, source="/proc"),
            role=known.role,
            parent=parent.pid,
            parent_role=kind[0],
            program=program[:300],
            command=" ".join(self.mask(known.command))[:300],
            fork=self._is_fork_of_greeted(known),
            step=max((one.step for one in self.known.values()), default=-1),
        )

    def _silence(self, known: Known, now: float) -> Gap | None:
        if known.greeted or known.reported_silent:
            return None
        if known.silence is None:
            if self._is_fork_of_greeted(known) or not process.maps_torch(known.pid):
                return None
            known.silence, known.torch_since = explain_silence(known.pid, self.archive), now
            known.cpu_since = process.cpu_time(known.pid)
        # Counted from when torch was mapped: the guard speaks when `import torch` is done. Where nothing
        # shuts it out, an import may merely be slow, on a busy machine or from a cold disk: what counts is
        # the processor time it had, up to a limit for one that waits for ever.
        waited = now - known.torch_since
        if known.silence is None or waited < SILENT_AFTER:
            return None
        ran = (process.cpu_time(known.pid) - known.cpu_since) / 1e9
        if not known.silence.certain and ran < SILENT_AFTER and waited < PATIENCE * SILENT_AFTER:
            return None
        return self._unguarded(known, known.silence)

    def _unguarded(self, known: Known, silence: Silence) -> Gap:
        known.reported_silent = True
        command = " ".join(self.mask(known.command))[:200]
        return Gap(
            origin=monitor_origin(time.time_ns(), pid=known.pid, source="/proc"),
            what=f"process {known.pid} uses torch and has no guard: {command}",
            reason=silence.reason,
            remedy=silence.remedy,
            law="update" if silence.certain else "",
        )

    def is_worker(self, known: Known) -> bool:
        """Whether a process is a child that runs what its guarded parent runs, such as a loader's worker."""
        # Only a yes is kept: a child that starts anew greets later, and only then is known for what it is.
        known.worker = known.worker or known.role == "child" or self._is_fork_of_greeted(known)
        return known.worker

    def _is_fork_of_greeted(self, known: Known) -> bool:
        """A child by fork alone (a loader's worker) maps what its parent maps and trains nothing itself."""
        command = tuple(process.read_cmdline(known.pid) or known.command)
        parent = self.known.get(known.parent)
        depth = 0
        while parent is not None and depth < 8:
            if parent.greeted and (
                parent.command == command or tuple(process.read_cmdline(parent.pid) or ()) == command
            ):
                return True
            parent, depth = self.known.get(parent.parent), depth + 1
        return False

    def _load(self, known: Known) -> HostLoad | None:
        schedule = process.read_schedule(known.pid)
        blocked = process.blocked_io_ns(known.pid)
        if schedule is None or blocked is None:
            return None
        now = time.time_ns()
        current = (now, schedule.run_queue, blocked, schedule.cpu)
        before, known.load = known.load, current
        if before is None:
            return None
        span, waited, io, cpu = (after - earlier for after, earlier in zip(current, before, strict=True))
        return HostLoad(
            monitor_origin(now, pid=known.pid, rank=known.rank, source="/proc"), span, waited, io, cpu
        )

    def _end(self, known: Known) -> ProcessEnded:
        status = self._exit_status(known)
        self._forget_pidfd(known)
        del self.known[known.pid]
        parent_alive = process.read_stat(known.parent) is not None
        how, code = "unknown", 0
        if status is not None:
            how, code = (
                ("signalled", os.WTERMSIG(status))
                if os.WIFSIGNALED(status)
                else ("exited", os.WEXITSTATUS(status))
            )
        explained = self._explain(known, how, code)
        if (
            known.silence is not None
            and known.silence.certain
            and not (known.greeted or known.reported_silent)
        ):
            self._unheard.append(self._unguarded(known, known.silence))
        bad = how == "signalled" or (how == "exited" and code != 0)
        if bad and known.role in ("root", "rank", "launcher"):
            self.failed.append(f"process {known.pid} ({known.role}) had ended before")
        return ProcessEnded(
            origin=monitor_origin(time.time_ns(), pid=known.pid, rank=known.rank, source="/proc"),
            role="rank" if known.role == "root" and known.step >= 0 else known.role,
            command=" ".join(self.mask(known.command))[:300],
            how=how,
            code=code,
            parent=known.parent,
            parent_alive=parent_alive,
            explained=explained,
            step=known.step,
        )

    def _exit_status(self, known: Known) -> int | None:
        """The wait status: by reaping our own children, else of the zombie in /proc, else of the pidfd."""
        if known.pid in self.statuses:
            return self.statuses[known.pid]
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(known.pid, os.WNOHANG)
            if pid == known.pid:
                self.statuses[pid] = status
                return status
        seen = process.read_stat(known.pid)
        if seen is not None and seen.state in ("Z", "X") and seen.starttime == known.starttime:
            return seen.exit_code
        return exit_status(known.pidfd) if known.pidfd >= 0 else None

    def _explain(self, known: Known, how: str, code: int) -> str:
        if how != "signalled":
            return ""
        if self.forwarded:
            names = ", ".join(signal.Signals(number).name for number in dict.fromkeys(self.forwarded))
            return f"the monitor had passed {names} on"
        if self.failed:
            return self.failed[0]
        if code == signal.SIGKILL and known.oom_kills is not None:
            now = process.oom_kills(self.above)
            if now is not None and now > known.oom_kills:
                return "the kernel killed a process of this control group for memory"
        return ""

    def _forget_pidfd(self, known: Known) -> None:
        if known.pidfd >= 0:
            with contextlib.suppress(KeyError):
                self.selector.unregister(known.pidfd)
            os.close(known.pidfd)
            known.pidfd = -1
