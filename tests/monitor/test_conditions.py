"""What is done to processes from outside: real ones are stopped and reniced, groups are simulated."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from veracity.core.observation import GroupLoad, MonitorHeld, Observation, ProcessChanged, ProcessHeld
from veracity.monitor import conditions
from veracity.monitor.conditions import Conditions
from veracity.monitor.processes import Processes
from veracity.observe import process
from veracity.observe.cgroup import Groups, Mount

T = TypeVar("T", bound=Observation)


class Watched:
    """A victim that idles, watched as a rank that has made ten steps, in a simulated control group."""

    def __init__(self, folder: Path) -> None:
        code = "import sys, time\nprint(flush=True)\ntime.sleep(60)"
        self.victim = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert self.victim.stdout is not None
        self.victim.stdout.readline()
        self.pid = self.victim.pid
        self.selector = selectors.DefaultSelector()
        self.processes = Processes(self.pid, "", self.selector)
        self.processes.known[self.pid].step = 10
        self.tree = folder / "tree"
        self.proc = folder / "proc"
        self.group("/job", cpu_max="max 100000", frozen=0)
        self.conditions = Conditions(
            self.processes, Groups({"unified": Mount(str(self.tree), "/")}, str(self.proc))
        )
        self.seen: list[Observation] = []

    def group(self, path: str, cpu_max: str, frozen: int, throttled: int = 0) -> None:
        folder = self.tree / path.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(cpu_max)
        (folder / "cpu.stat").write_text(
            f"nr_periods 100\nnr_throttled {throttled}\nthrottled_usec {throttled}\n"
        )
        (folder / "cgroup.events").write_text(f"frozen {frozen}\n")
        (self.proc / str(self.pid)).mkdir(parents=True, exist_ok=True)
        (self.proc / str(self.pid) / "cgroup").write_text(f"0::{path}\n")

    def look(self) -> None:
        wait = process.read_wchan(self.pid) or ""
        self.conditions._next_look = 0.0
        self.seen += self.conditions.look({self.pid: wait})

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self.seen
            self.look()
            time.sleep(0.01)

    def of(self, kind: type[T]) -> list[T]:
        return [one for one in self.seen if isinstance(one, kind)]

    def close(self) -> None:
        self.victim.kill()
        self.victim.communicate()
        self.processes.close()
        self.selector.close()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    one = Watched(tmp_path)
    yield one
    one.close()


def test_nothing_is_done_to_it(watched: Watched) -> None:
    for _ in range(5):
        watched.look()
    assert watched.seen == []


def test_stopped_and_continued(watched: Watched) -> None:
    watched.look()
    os.kill(watched.pid, signal.SIGSTOP)
    watched.until(lambda: watched.pid in watched.conditions._held)
    time.sleep(0.2)
    watched.look()
    os.kill(watched.pid, signal.SIGCONT)
    watched.until(lambda: watched.of(ProcessHeld))
    (held,) = watched.of(ProcessHeld)
    assert (held.how, held.over, held.role, held.step) == ("stopped", True, "rank", 10)
    assert held.span >= 150_000_000


def test_stopped_for_long_is_told_before_it_goes_on(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "REPORT_AFTER", 0.1)
    os.kill(watched.pid, signal.SIGSTOP)
    watched.until(lambda: watched.of(ProcessHeld))
    assert not watched.of(ProcessHeld)[0].over
    os.kill(watched.pid, signal.SIGCONT)
    watched.until(lambda: len(watched.of(ProcessHeld)) == 2)
    assert watched.of(ProcessHeld)[1].over


def test_killed_while_it_was_stopped(watched: Watched) -> None:
    os.kill(watched.pid, signal.SIGSTOP)
    watched.until(lambda: watched.pid in watched.conditions._held)
    os.kill(watched.pid, signal.SIGKILL)
    del watched.processes.known[watched.pid]
    watched.look()
    assert [held.over for held in watched.of(ProcessHeld)] == [False]


def test_frozen_by_its_group_wherever_it_waits(watched: Watched) -> None:
    watched.look()
    watched.group("/job", "max 100000", frozen=1)
    watched.until(lambda: watched.pid in watched.conditions._held)
    watched.group("/job", "max 100000", frozen=0)
    watched.until(lambda: watched.of(ProcessHeld))
    assert [held.how for held in watched.of(ProcessHeld)] == ["frozen"]


def test_where_it_waits_alone_does_not_make_it_frozen(watched: Watched) -> None:
    for _ in range(3):
        assert list(watched.conditions.look({watched.pid: "get_signal"})) == []
    assert watched.conditions._held == {}


def test_reniced_and_bound(watched: Watched) -> None:
    for _ in range(3):
        watched.look()
    os.setpriority(os.PRIO_PROCESS, watched.pid, 9)
    watched.until(lambda: any(change.what == "nice" for change in watched.of(ProcessChanged)))
    (change,) = watched.of(ProcessChanged)
    assert (change.before, change.after) == (os.getpriority(os.PRIO_PROCESS, 0), 9)
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(watched.pid, {min(os.sched_getaffinity(0))})
        watched.until(lambda: watched.of(ProcessChanged)[-1].what == "cpus")
        assert watched.of(ProcessChanged)[-1].after == 1


def test_a_limit_that_is_lowered_and_throttles(watched: Watched) -> None:
    watched.look()
    watched.group("/job", "50000 100000", frozen=0, throttled=60)
    watched.until(lambda: watched.of(GroupLoad))
    load = watched.of(GroupLoad)[0]
    assert (load.quota_before, load.quota, load.throttled, load.throttled_ns) == (-1, 500, 60, 60_000)


def test_moved_into_another_group_is_told_when_it_lasts(watched: Watched) -> None:
    watched.look()
    watched.group("/other", "max 100000", frozen=0)
    watched.look()
    assert watched.of(ProcessChanged) == [], "a process that ends leaves its groups first"
    watched.look()
    (change,) = watched.of(ProcessChanged)
    assert change.detail == "unified:/job → unified:/other"


def test_the_monitor_was_held_itself(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "run_delay", lambda: 1.0)
    slept = watched.conditions.slept
    list(slept(0.2, 0.21, 0.0, 4))
    assert list(slept(0.2, 2.1, 0.0, 4)) == []
    assert list(slept(0.2, 9.0, 8.7, 4)) == [], "it waited for a processor"
    (held,) = slept(0.2, 9.2, 0.0, 4)
    assert isinstance(held, MonitorHeld)
    assert held.span == 9_000_000_000
    monkeypatch.setattr(conditions, "run_delay", lambda: 0.0)
    assert list(slept(0.2, 9.2, 0.0, 4)) == [], "the kernel does not say for what it waited"


def test_reports_are_bounded(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "MAX_REPORTS", 3)
    watched.look()
    for nice in range(1, 10):
        os.setpriority(os.PRIO_PROCESS, watched.pid, nice)
        watched.look()
    assert len(watched.of(ProcessChanged)) == 3
