from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.monitor.frames import frame_of
from veracity.core import wire
from veracity.core.errors import TransportError
from veracity.monitor import listener as module
from veracity.monitor.listener import MAX_DATAGRAM, Listener, Peer


class Open:
    """A listener and its selector, with the turns of the monitor's loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.selector = selectors.DefaultSelector()
        self.listener = Listener(path, self.selector)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(str(self.path))
        return client

    def turn(self, timeout: float = 1.0) -> list[tuple[Peer, wire.Frame]]:
        found = []
        for key, _ in self.selector.select(timeout):
            assert self.listener.owns(key.fileobj)
            found += list(self.listener.ready(key.fileobj))
        return found


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    one = Open(tmp_path / "guard.sock")
    yield one
    one.listener.close()
    one.selector.close()


def test_the_kernel_names_the_sender(opened: Open) -> None:
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        "s.connect(sys.argv[1]); s.send(bytes.fromhex(sys.argv[2])); sys.stdin.read()"
    )
    data = frame_of("hello")
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", script, str(opened.path), data.hex()], stdin=subprocess.PIPE
    )
    try:
        found: list[tuple[Peer, wire.Frame]] = []
        for _ in range(20):
            found += opened.turn()
            if found:
                break
        ((peer, frame),) = found
        assert peer == Peer(child.pid, os.getuid())
        assert frame.raw == data
    finally:
        child.communicate(timeout=30)


def test_datagrams_arrive_in_order_and_until_the_peer_goes(opened: Open) -> None:
    client = opened.connect()
    assert opened.turn() == []
    for seq in range(3):
        client.send(frame_of("bye", seq))
    client.close()
    assert [frame.raw for _, frame in opened.turn()] == [frame_of("bye", seq) for seq in range(3)]
    assert len(opened.selector.get_map()) == 1
    assert opened.turn(0) == []


@pytest.mark.parametrize(
    "data", [b"x", b"garbage of some length" * 9, frame_of("bye")[:-1], wire.MAGIC + bytes(12)]
)
def test_garbage_is_passed_over(opened: Open, data: bytes) -> None:
    with opened.connect() as client:
        opened.turn()
        damaged = bytearray(frame_of("bye", 1))
        damaged[-1] ^= 1
        for datagram in (data, damaged, frame_of("bye", 2)):
            client.send(datagram)
        frames = [frame.raw for _, frame in opened.turn()]
    assert frames[-1] == frame_of("bye", 2)
    assert bytes(damaged) not in frames


def test_an_oversized_datagram_is_passed_over(opened: Open) -> None:
    with opened.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_DATAGRAM)
        opened.turn()
        large = wire.pack("step", 0, 0, {}, bytes(MAX_DATAGRAM))
        try:
            client.send(large)
        except OSError:
            pytest.skip("this system does not let a process send that much")
        client.send(frame_of("bye", 2))
        assert [frame.raw for _, frame in opened.turn()] == [frame_of("bye", 2)]


def test_an_empty_datagram_ends_the_connection_and_no_more(opened: Open) -> None:
    with opened.connect() as client, opened.connect() as other:
        opened.turn()
        opened.turn(0.1)
        client.send(b"")
        other.send(frame_of("bye"))
        assert len(opened.turn()) == 1


def test_a_talker_is_heard_in_portions(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PER_ROUND", 2)
    with opened.connect() as client:
        opened.turn()
        for seq in range(5):
            client.send(frame_of("bye", seq))
        assert [len(opened.turn()) for _ in range(3)] == [2, 2, 1]


def test_peers_are_bounded(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PEERS", 1)
    with opened.connect() as first, opened.connect() as second:
        opened.turn()
        opened.turn()
        assert second.recv(1) == b""
        first.send(frame_of("bye"))
        assert len(opened.turn()) == 1


def test_the_socket_is_the_owners_and_is_gone_afterwards(tmp_path: Path) -> None:
    one = Open(tmp_path / "guard.sock")
    assert one.path.stat().st_mode & 0o777 == 0o600
    assert not one.listener.owns(object())
    assert list(one.listener.ready(object())) == []
    with one.connect():
        one.turn()
        one.listener.close()
    assert not one.path.exists()
    assert len(one.selector.get_map()) == 0
    one.selector.close()


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "guard.sock").write_text("left behind")
    one = Open(tmp_path / "guard.sock")
    with one.connect():
        one.turn()
    one.listener.close()
    one.selector.close()


@pytest.mark.parametrize("name", ["none/guard.sock", "x" * 120])
def test_a_socket_that_cannot_be_opened_is_said(tmp_path: Path, name: str) -> None:
    with selectors.DefaultSelector() as selector, pytest.raises(TransportError, match="socket"):
        Listener(tmp_path / name, selector)
