"""The job's parent as the service hears it, whatever it sends."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from veracity.monitor.service.attendant import MAX_TOLD, Attendant
from veracity.monitor.service.protocol import Channel, Judged, Signalled


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """The service's and the parent's end."""
    one, other = (Channel(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    yield one, other
    one.close()
    other.close()


def test_signals_are_heard_of(ends: tuple[Channel, Channel]) -> None:
    attendant = Attendant(ends[0], os.getpid())
    assert attendant.take() == []
    ends[1].send(Signalled(signal.SIGUSR1, True))
    ends[1].send(Signalled(999, True))
    ends[1].send(Judged("run-x", "held"))
    ends[1].send(Signalled(signal.SIGINT, False))
    assert attendant.take() == [(signal.SIGUSR1, True), (signal.SIGINT, False)]
    assert (attendant.gaps(), attendant.is_alone) == ([], False)
    attendant.close()


def test_a_flood_of_signals_is_cut(ends: tuple[Channel, Channel]) -> None:
    attendant = Attendant(ends[0], os.getpid())
    heard = 0
    for _ in range(MAX_TOLD + 50):
        ends[1].send(Signalled(signal.SIGUSR1, True))
        heard += len(attendant.take())
    assert heard == MAX_TOLD
    attendant.close()


@pytest.mark.parametrize("nonsense", [b"nonsense", None])
def test_a_parent_that_goes_is_one_gap_and_its_number_stays(
    ends: tuple[Channel, Channel], nonsense: bytes | None
) -> None:
    number = ends[0].connection.fileno()
    with selectors.DefaultSelector() as selector:
        attendant = Attendant(ends[0], os.getpid())
        selector.register(attendant.reader, selectors.EVENT_READ)
        if nonsense is None:
            ends[1].connection.shutdown(socket.SHUT_RDWR)
        else:
            ends[1].connection.send(nonsense)
        assert [key.fd for key, _ in selector.select(1)] == [number]
        assert attendant.take() == []
        (gap,) = attendant.gaps()
        assert "does not speak" in gap.what
        assert gap.law == "life"
        assert attendant.is_alone
        # Neither ready again and again, nor given to the next file that is opened.
        assert selector.select(0.05) == []
        reader, writer = os.pipe()
        assert number not in (reader, writer)
        assert (attendant.take(), attendant.gaps()) == ([], [])
        attendant.close()
        os.close(reader)
        os.close(writer)


def test_the_job_is_asked_to_end_and_nobody_else() -> None:
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"])
    attendant = Attendant(None, child.pid)
    attendant.end()
    assert child.wait(30) == -signal.SIGTERM
    attendant.end()
    attendant.close()
