"""The monitor leaves training its processors, and takes a share when it gets nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from veracity.monitor import pace

PROGRAM = """
import os, sys, time
from veracity.monitor import pace
{prepare}
one = pace.Pace()
classes = [os.sched_getscheduler(0)]
time.sleep(0.01)
delay = pace.run_delay()
pace.run_delay = lambda: delay + {starved}
one.turned()
classes.append(os.sched_getscheduler(0))
pace.ORDINARY_SECONDS = 0
one._ordinary_until = one._ordinary_until and time.monotonic()
one.turned()
classes.append(os.sched_getscheduler(0))
one.end()
classes.append(os.sched_getscheduler(0))
print(*classes)
"""
privileged = pytest.mark.skipif(not pace._can_return(), reason="leaving the idle class takes a privilege")
UNPRIVILEGED = "pace._can_return = lambda: False"


def classes(*, prepare: str = "", starved: float = 0.0) -> list[int]:
    program = PROGRAM.format(prepare=prepare, starved=starved)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(word) for word in result.stdout.split()]


def test_an_account_that_could_not_come_back_stays_in_the_ordinary_classes() -> None:
    found = classes(prepare=UNPRIVILEGED, starved=1.1)
    assert found == [os.SCHED_BATCH, os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_OTHER]


@privileged
def test_a_starved_monitor_takes_a_share_for_a_while() -> None:
    assert classes(starved=1.1) == [os.SCHED_IDLE, os.SCHED_OTHER, os.SCHED_IDLE, os.SCHED_OTHER]


@privileged
def test_a_short_wait_is_no_starvation() -> None:
    assert classes(starved=0.9)[:2] == [os.SCHED_IDLE, os.SCHED_IDLE]


@pytest.mark.parametrize("drop", [False, True])
def test_the_kernel_agrees_on_who_may_come_back(drop: bool) -> None:
    program = (
        "import os, resource\n"
        "from veracity.monitor import pace\n"
        f"{drop} and os.geteuid() == 0 and os.setuid(65534)\n"
        "promised = pace._can_return()\n"
        "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\n"
        "print(promised, pace._join(os.SCHED_OTHER))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    promised, kept = result.stdout.split()
    assert promised == kept


def test_the_kernel_tells_how_long_a_thread_waited() -> None:
    """One processor for two: each waits while the other runs."""
    program = (
        "import os, time\n"
        "from veracity.monitor import pace\n"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "child = os.fork()\n"
        "end = time.process_time() + 0.5\n"
        "while time.process_time() < end: pass\n"
        "child or os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(pace.run_delay() > 0.1)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "True"


@pytest.mark.parametrize("prepare", ["", UNPRIVILEGED])
def test_a_modest_thread_keeps_its_share_when_the_monitor_gives_way(prepare: str) -> None:
    program = f"""
import os, threading
from concurrent.futures import ThreadPoolExecutor
from veracity.monitor import pace
{prepare}
pool = ThreadPoolExecutor(1)
pool.submit(pace.be_modest, 10).result()
pace.Pace()
def standing():
    me = threading.get_native_id()
    return os.sched_getscheduler(me), os.getpriority(os.PRIO_PROCESS, me)
print(*standing(), *pool.submit(standing).result())
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    mine, _, its, niceness = map(int, result.stdout.split())
    assert mine in (os.SCHED_IDLE, os.SCHED_BATCH)
    assert (its, niceness) == (os.SCHED_OTHER, 10)
