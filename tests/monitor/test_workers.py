"""A real worker that sleeps, seen from outside; and one that waits for work."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from veracity.core.observation import StackFrame, WorkersSeen
from veracity.monitor import workers
from veracity.monitor.processes import Processes
from veracity.monitor.workers import Workers

LINE = StackFrame("/home/u/data.py", 3, "__getitem__", "time.sleep(1)")
RANK = """
import os, sys, time
pid = os.fork()
if pid == 0:
    %s
print(pid, flush=True)
sys.stdin.read()
os.kill(pid, 9)
os.wait()
"""


@pytest.fixture
def jobs() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for one in started:
        one.communicate("", timeout=20)


def looks(jobs: list[subprocess.Popen[str]], does: str, monkeypatch: pytest.MonkeyPatch) -> list[WorkersSeen]:
    monkeypatch.setattr(workers, "REPORT_EVERY", 0.05)
    rank = subprocess.Popen(
        [sys.executable, "-c", RANK % does], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    jobs.append(rank)
    assert rank.stdout is not None
    worker = int(rank.stdout.readline())
    selector = selectors.DefaultSelector()
    processes = Processes(rank.pid, "", selector)
    processes._add(worker, "other")
    processes.known[rank.pid].greeted, processes.known[rank.pid].step = True, 12
    asked: list[int] = []

    def read(pid: int) -> list[StackFrame]:
        asked.append(pid)
        return [LINE]

    watch, found = Workers(processes, read), list[WorkersSeen]()
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline and len(found) < 3:
        found += watch.look()
        time.sleep(0.01)
    processes.close()
    selector.close()
    assert set(asked) <= {worker}
    return found


def test_a_worker_that_sleeps(jobs: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    found = looks(jobs, "time.sleep(60)", monkeypatch)
    assert len(found) == 3
    assert {(one.workers, one.asleep, one.step) for one in found} == {(1, 1, 12)}
    assert found[0].frames == [LINE]
    assert found[0].origin.pid == jobs[0].pid


def test_a_worker_that_waits_for_work(
    jobs: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looks(jobs, "import select; select.select([], [], [], 60)", monkeypatch) == []
    assert os.getpid() not in {job.pid for job in jobs}
