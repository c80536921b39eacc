"""The monitor's share of the machine: what training leaves, unless that is too little to keep up.

The threads of a step wait for each other at every operation, so a core taken from one of them for a moment is
paid for by all. The monitor therefore runs on idle time: it interrupts no thread of the job that is ready to
run, and what it does not get done now waits in the spools. A machine that leaves it next to nothing would
make it blind, so after a turn that had to wait for too long it takes an ordinary share for some time.

Leaving the idle class again takes a privilege (CAP_SYS_NICE or RLIMIT_NICE, see sched(7)). An account without
it could be starved for good, so there the monitor stays in the ordinary class as its least important member.
"""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time
from pathlib import Path

from ..observe import process

NICENESS = 19
STARVED_SECONDS = 1.0
ORDINARY_SECONDS = 3.0
_NICE_CEILING = 20
_CAP_SYS_NICE = 23


class Pace:
    """Watches how long each turn of the loop had to wait for a processor, and chooses the class by that."""

    def __init__(self) -> None:
        self._returns = _can_return()
        self._ordinary_until = 0.0
        self._waited = run_delay()
        self.starved = 0.0
        """Seconds of the last turn in which no processor was free for the monitor."""
        self._yield()

    def turned(self) -> None:
        """A turn ended."""
        waited = run_delay()
        self.starved, self._waited = waited - self._waited, waited
        if self.starved > STARVED_SECONDS:
            self._ordinary_until = time.monotonic() + ORDINARY_SECONDS
            _join(os.SCHED_OTHER)
        elif self._ordinary_until and time.monotonic() > self._ordinary_until:
            self._ordinary_until = 0.0
            self._yield()

    def end(self) -> None:
        """The job has ended: nobody has to be spared any more."""
        _join(os.SCHED_OTHER)

    def _yield(self) -> None:
        if self._returns:
            _join(os.SCHED_IDLE)
            return
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
        _join(os.SCHED_BATCH)


def be_modest(niceness: int = NICENESS) -> None:
    """Give the calling thread a share so small. One that is not to run on idle time begins before the loop
    does, of whose class it would be otherwise.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def run_delay() -> float:
    """Seconds this process was ready to run and was kept waiting; 0 where the kernel does not say."""
    schedule = process.read_schedule(os.getpid())
    return schedule.run_queue / 1e9 if schedule is not None else 0.0


def _can_return() -> bool:
    """Whether this account may leave the idle class again: sched(7), "SCHED_IDLE" and "privileges"."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NICE)
    if limit == resource.RLIM_INFINITY or _NICE_CEILING - limit <= os.getpriority(os.PRIO_PROCESS, 0):
        return True
    try:
        status = Path("/proc/self/status").read_text(errors="replace")
    except OSError:
        return False
    masks = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    return bool(masks and int(masks[0], 16) >> _CAP_SYS_NICE & 1)


def _join(policy: int) -> bool:
    try:
        os.sched_setscheduler(0, policy, os.sched_param(0))
    except OSError:
        return False
    return True
