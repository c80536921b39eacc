"""A monitor that is stopped for a while says so in the record."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.jobs.conftest import Jobs
from veracity.monitor.clocks import SECOND, SILENCE


@pytest.mark.soak
def test_a_monitor_that_was_stopped_says_so(jobs: Jobs) -> None:
    process = jobs.start("sleep", "20")
    deadline = time.monotonic() + 10
    while not (jobs.home / "runs").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(SILENCE / SECOND + 2)
    os.kill(process.pid, signal.SIGCONT)
    done = jobs.finish(process)
    (gap,) = done.gaps("the monitor saw nothing for 1")
    assert gap["law"] == "record"
