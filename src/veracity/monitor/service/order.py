"""What the service hands to a process of its own: one JSON document on standard input, from nobody else."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass

import msgspec

from ...core.errors import EvidenceError
from ..allowance import Quota
from ..launch import Child
from .protocol import Open, Reference

MAX_ORDER = 8 << 20
NICENESS = 5
"""Whoever asks for much takes from those who train as little as can be."""
_ENVIRONMENT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TZ")
HELD_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Order:
    """For one process: the caller as the kernel told it, where the run lies, and what was asked for.

    ``connection``: the number of the descriptor that leads to the caller, -1 without one. ``opened`` is None
    when a run is taken up again; ``ends``: then it is closed as it stands, whether or not its job goes on.
    """

    home: str
    run: str
    uid: int
    gid: int
    groups: list[int]
    pid: int
    starttime: int
    guard: str
    quota: Quota
    connection: int = -1
    opened: Open | None = None
    references: list[Reference] | None = None
    ends: bool = False
    asked: str = ""
    limit: int = 0


def start(module: str, order: Order, connection: socket.socket | None) -> Child:
    """Run ``module`` of this folder in a process of its own. Raises OSError when there is no room for one."""
    data = json.dumps(asdict(order), ensure_ascii=True).encode("ascii")
    # In memory and not through a pipe: nobody waits for anybody.
    handle = os.memfd_create("order")
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(data)
        os.lseek(handle, 0, os.SEEK_SET)
        return subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.{module}"],
            stdin=handle,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            pass_fds=[] if connection is None else [connection.fileno()],
            start_new_session=True,
        )
    finally:
        os.close(handle)


def ended_by(process: Child, seconds: float) -> None:
    """Wait for a process so long, and kill it then."""
    try:
        process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def read_order() -> Order:
    """The order of this process. Raises EvidenceError when there is none.

    Also makes it fit to go where a caller is: what it still imports comes from nowhere that is named by
    where it stands.
    """
    sys.path[:] = [path for path in sys.path if os.path.isabs(path) and path != os.sep]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)
    os.nice(NICENESS)
    data = sys.stdin.buffer.read(MAX_ORDER + 1)
    try:
        order = msgspec.convert(json.loads(data), type=Order)
        if order.connection >= 0:
            os.set_inheritable(order.connection, False)
    except OSError as error:
        raise EvidenceError("the connection to the caller is not there") from error
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise EvidenceError("this program is started by `veracity monitor` and by nobody else") from error
    return order
