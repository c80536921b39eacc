"""The status of a process that somebody else has reaped, of real processes."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest

from veracity.observe.pidfd import exit_status

KERNEL = tuple(int("".join(filter(str.isdigit, part)) or "0") for part in platform.release().split(".")[:2])
keeps = pytest.mark.skipif(KERNEL < (6, 15), reason="the kernel keeps no status of a reaped process")
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


@keeps
def test_a_killed_process_is_known_after_it_was_reaped() -> None:
    with grandchild("import time; time.sleep(60)") as one:
        assert exit_status(one.pidfd) is None
        os.kill(one.pid, signal.SIGKILL)
        one.reaped()
        status = exit_status(one.pidfd)
        assert status is not None
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL


@keeps
def test_an_exit_code_is_known_after_it_was_reaped() -> None:
    with grandchild("import sys, time; time.sleep(1); sys.exit(7)") as one:
        one.reaped()
        status = exit_status(one.pidfd)
        assert status is not None
        assert os.WIFEXITED(status)
        assert os.WEXITSTATUS(status) == 7


def test_what_is_no_pidfd_has_no_status() -> None:
    with open(os.devnull, "rb") as file:
        assert exit_status(file.fileno()) is None
