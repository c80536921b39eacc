"""The status of a process that somebody else has reaped, of real processes."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from veracity.observe.pidfd import exit_status

KERNEL = re.match(r"(\d+)\.(\d+)", platform.release())
KEEPS = KERNEL is not None and (int(KERNEL[1]), int(KERNEL[2])) >= (6, 15)
"""Whether the kernel keeps the status of a reaped process."""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
child.wait()
print("reaped", flush=True)
"""


@dataclass(frozen=True, slots=True)
class Grandchild:
    """A process that is not ours to wait for."""

    pid: int
    pidfd: int
    parent: subprocess.Popen[str]

    def reaped(self) -> None:
        """Returns when its parent has waited for it."""
        assert self.parent.stdout is not None
        assert self.parent.stdout.readline() == "reaped\n"


@contextmanager
def grandchild(program: str) -> Iterator[Grandchild]:
    command = [sys.executable, "-c", PARENT, program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        pidfd = os.pidfd_open(pid)
        with closing(os.fdopen(pidfd, "rb", closefd=True)):
            yield Grandchild(pid, pidfd, parent)


def known(one: Grandchild) -> int | None:
    """The exit code, or the signal's number with a minus."""
    status = exit_status(one.pidfd)
    return None if status is None else os.waitstatus_to_exitcode(status)


def test_a_killed_process_is_known_after_it_was_reaped() -> None:
    with grandchild("import time; time.sleep(60)") as one:
        assert exit_status(one.pidfd) is None
        os.kill(one.pid, signal.SIGKILL)
        one.reaped()
        assert known(one) == (-signal.SIGKILL if KEEPS else None)


def test_an_exit_code_is_known_after_it_was_reaped() -> None:
    with grandchild("import sys, time; time.sleep(1); sys.exit(7)") as one:
        one.reaped()
        assert known(one) == (7 if KEEPS else None)


def test_what_is_no_pidfd_has_no_status() -> None:
    with open(os.devnull, "rb") as file:
        assert exit_status(file.fileno()) is None
