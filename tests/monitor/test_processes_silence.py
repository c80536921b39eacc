"""When a process with torch and without a guard is reported: after a while, or when it ends before."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from veracity.monitor import processes as processes_module
from veracity.monitor.processes import Processes
from veracity.observe import process
from veracity.observe.silence import Silence

SHUT_OUT = Silence("isolated mode", "start it without -I")
NOT_YET = Silence("did not speak", "run doctor", certain=False)


@dataclass
class Watched:
    """A real process, watched on a clock that the test moves and a map of files that it chooses."""

    child: subprocess.Popen[bytes]
    processes: Processes
    now: float = 0.0
    torch: bool = False
    silence: Silence = field(default=SHUT_OUT)

    def reported_at(self, now: float) -> int:
        self.now = now
        return len(list(self.processes.scan()))

    def end(self) -> int:
        """End the process; how many gaps that gave."""
        pidfd = self.processes.known[self.child.pid].pidfd
        self.child.kill()
        os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOWAIT)
        assert self.processes.ended(pidfd) is not None
        return len(list(self.processes.ended_unheard()))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    selector = selectors.DefaultSelector()
    child = subprocess.Popen(["sleep", "600"])
    watched = Watched(child, Processes(child.pid, "/guard.zip", selector))
    watched.processes.known[child.pid].first_seen = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: watched.now)
    monkeypatch.setattr(process, "maps_torch", lambda pid: watched.torch)
    monkeypatch.setattr(processes_module, "explain_silence", lambda pid, archive: watched.silence)
    monkeypatch.setattr(process.Descent, "look", lambda self: [])
    yield watched
    watched.processes.close()
    selector.close()
    if child.poll() is None:
        child.kill()
        child.wait()


def test_the_wait_begins_when_torch_is_mapped(watched: Watched) -> None:
    assert watched.reported_at(100) == 0
    watched.torch = True
    assert watched.reported_at(110) == 0
    assert watched.reported_at(119) == 0
    assert watched.reported_at(121) == 1
    assert watched.reported_at(140) == 0
    assert watched.end() == 0


def test_a_slow_import_is_waited_for(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = [0.0]
    monkeypatch.setattr(process, "read_schedule", lambda pid: process.Schedule(int(1e9 * ran[0]), 0))
    watched.torch, watched.silence = True, NOT_YET
    assert watched.reported_at(100) == 0
    ran[0] = 9.0  # of a machine that is busy with other things
    assert watched.reported_at(160) == 0
    ran[0] = 11.0
    assert watched.reported_at(161) == 1


def test_one_that_waits_for_ever_is_reported_at_last(watched: Watched) -> None:
    watched.torch, watched.silence = True, NOT_YET
    assert watched.reported_at(100) == 0
    assert watched.reported_at(150) == 0
    assert watched.reported_at(221) == 1


def test_a_process_that_greets_in_time_is_not_reported(watched: Watched) -> None:
    watched.torch = True
    assert watched.reported_at(5) == 0
    watched.processes.known[watched.child.pid].greeted = True
    assert watched.reported_at(50) == 0
    assert watched.end() == 0


@pytest.mark.parametrize(("silence", "gaps"), [(SHUT_OUT, 1), (NOT_YET, 0)])
def test_one_that_ends_before_is_reported_when_the_guard_was_shut_out(
    watched: Watched, silence: Silence, gaps: int
) -> None:
    watched.torch, watched.silence = True, silence
    assert watched.reported_at(5) == 0
    assert watched.end() == gaps


def test_one_without_torch_is_never_reported(watched: Watched) -> None:
    assert watched.reported_at(5) == 0
    assert watched.reported_at(500) == 0
    assert watched.end() == 0
