"""A worker gets the share of the processors that its work is worth."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from veracity.monitor import pace
from veracity.scan.lineworker import TENTH, Share

PROGRAM = """
import os, sys
from veracity.scan.lineworker import LineWorker, Share
os.sched_setscheduler(0, {policy}, os.sched_param(0))
worker = LineWorker([sys.executable, "-c", "import sys; sys.stdin.read()"], "it", seconds=60, share={share})
worker.send(1, {{}})
worker.pump()
print(os.sched_getscheduler(worker.pid), os.getpriority(os.PRIO_PROCESS, worker.pid))
worker.close()
"""


def standing(share: Share, policy: int) -> tuple[int, int]:
    """Class and niceness of a worker that a process of the class ``policy`` starts."""
    program = PROGRAM.format(share=share, policy=policy)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found, niceness = result.stdout.split()
    return int(found), int(niceness)


def test_it_takes_what_others_leave_over() -> None:
    assert standing(Share.LEFT_OVER, os.SCHED_OTHER)[0] == os.SCHED_IDLE


def test_it_has_the_share_of_its_starter() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert standing(Share.ITS_STARTERS, os.SCHED_OTHER) == (os.SCHED_OTHER, own)
    assert standing(Share.ITS_STARTERS, os.SCHED_IDLE)[0] == os.SCHED_IDLE


@pytest.mark.parametrize("policy", [os.SCHED_OTHER, os.SCHED_IDLE])
def test_it_has_a_tenth_where_that_can_be_given(policy: int) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    given = policy == os.SCHED_OTHER or pace._can_return()  # leaving the idle class takes a privilege
    assert standing(Share.TENTH, policy) == ((os.SCHED_OTHER, TENTH) if given else (os.SCHED_IDLE, own))
