"""Processes that appear below the job: told with their parent, some of each kind."""

from __future__ import annotations

import os
import shutil
import subprocess

from veracity.core.observation import ProcessAppeared
from veracity.monitor.processes import MAX_OF_A_KIND, Processes


def scan(processes: Processes) -> list[ProcessAppeared]:
    processes._next_scan = 0.0
    return [seen for seen in processes.scan() if isinstance(seen, ProcessAppeared)]


def test_children_are_told_with_their_parent_and_not_without_end(processes: Processes) -> None:
    processes.known[os.getpid()].step = 8
    processes.mask = lambda words: ["masked" for _ in words]
    scan(processes)
    program = os.path.realpath(shutil.which("sleep") or "")
    started = [subprocess.Popen(["sleep", "60"]) for _ in range(MAX_OF_A_KIND + 3)]
    try:
        found = scan(processes)
        assert scan(processes) == [], "each of them once"
    finally:
        for one in started:
            one.kill()
            one.wait()
    assert len(found) == MAX_OF_A_KIND
    assert {(one.program, one.parent, one.parent_role, one.step) for one in found} == {
        (program, os.getpid(), "rank", 8)
    }
    assert {(one.command, one.fork) for one in found} == {("masked masked", False)}
    assert {one.origin.pid for one in found} <= {one.pid for one in started}
