"""How processes of a job ended, of real ones that their own parent reaps at once."""

from __future__ import annotations

import os
import signal

from tests.observe.test_pidfd import KEEPS, Grandchild, grandchild
from veracity.core.observation import ProcessEnded
from veracity.monitor.processes import Processes


def end_of(processes: Processes, one: Grandchild) -> ProcessEnded:
    """What is told of it once it was reaped before anybody could look."""
    one.reaped()
    end = processes.ended(processes.known[one.pid].pidfd)
    assert end is not None
    return end


def test_who_was_reaped_before_a_look_is_known_to_have_been_killed(processes: Processes) -> None:
    with grandchild("import time; time.sleep(60)") as one:
        processes._add(one.pid, "rank")
        os.kill(one.pid, signal.SIGKILL)
        end = end_of(processes, one)
    assert (end.how, end.code) == (("signalled", signal.SIGKILL) if KEEPS else ("unknown", 0))


def test_who_was_reaped_before_a_look_is_known_by_its_exit_code(processes: Processes) -> None:
    with grandchild("import sys, time; time.sleep(1); sys.exit(3)") as one:
        processes._add(one.pid, "rank")
        end = end_of(processes, one)
    assert (end.how, end.code) == (("exited", 3) if KEEPS else ("unknown", 0))
