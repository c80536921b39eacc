"""Sockets and files of a process, on this very process and on rows as the kernel writes them."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.observe import descriptors
from veracity.observe.descriptors import (
    Socket,
    may_write,
    parse_table,
    parse_unix,
    read_descriptors,
    read_sockets,
)

HEAD = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROW = b"   0: %s %s %s 00000000:00000000 00:00000000 00000000     0        0 %d 1 0 100 0 0 10 0\n"


def test_own_sockets_are_found_with_their_addresses(tmp_path: Path) -> None:
    with socket.socket() as listening, socket.socket() as calling, socket.socket(socket.AF_UNIX) as local:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        calling.connect(("127.0.0.1", port))
        local.bind(str(tmp_path / "here"))
        held = read_descriptors(os.getpid(), [])
        assert held is not None
        inodes = [os.fstat(one.fileno()).st_ino for one in (listening, calling, local)]
        assert set(inodes) <= set(held.sockets)
        found = read_sockets(os.getpid(), inodes)
    assert found[inodes[0]] == Socket("tcp-listen", f"127.0.0.1:{port}", "")
    assert found[inodes[1]].remote == f"127.0.0.1:{port}"
    assert found[inodes[2]] == Socket("unix", str(tmp_path / "here"), "")


def test_files_below_a_folder_and_what_they_may_be_used_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with (tmp_path / "a").open() as reading, (tmp_path / "b").open("w") as writing:
        held = read_descriptors(os.getpid(), [str(tmp_path)])
        assert held is not None
        found = {path: may_write(os.getpid(), number) for number, path in held.files}
        assert found == {str(tmp_path / "a"): False, str(tmp_path / "b"): True}
        assert {reading.fileno(), writing.fileno()} == {number for number, _ in held.files}
    other = read_descriptors(os.getpid(), [str(tmp_path / "elsewhere")])
    assert other is not None
    assert other.files == ()


def test_a_process_that_is_gone() -> None:
    assert read_descriptors(2**22 + 1, []) is None
    assert not may_write(2**22 + 1, 3)
    assert read_sockets(2**22 + 1, [5]) == {}


@pytest.mark.skipif(sys.byteorder != "little", reason="rows stand in the machine's own order")
@pytest.mark.parametrize(
    ("table", "local", "remote", "state", "expected"),
    [
        ("tcp", b"0100007F:1F90", b"0A00000A:01BB", b"01", Socket("tcp", "127.0.0.1:8080", "10.0.0.10:443")),
        ("tcp", b"00000000:0016", b"00000000:0000", b"0A", Socket("tcp-listen", "0.0.0.0:22", "")),
        ("udp", b"00000000:0044", b"00000000:0000", b"07", Socket("udp", "0.0.0.0:68", "")),
        (
            "tcp6",
            b"0000000000000000FFFF00000100007F:0050",
            b"B80D0120000000000000000001000000:01BB",
            b"01",
            Socket("tcp", "127.0.0.1:80", "2001:db8::1:443"),
        ),
    ],
)
def test_rows(table: str, local: bytes, remote: bytes, state: bytes, expected: Socket) -> None:
    data = HEAD + ROW % (local, remote, state, 77)
    assert parse_table(table, data, {77}) == {77: expected}
    assert parse_table(table, data, {78}) == {}


@given(st.binary(max_size=300))
def test_any_bytes_may_stand_in_the_tables(data: bytes) -> None:
    wanted = {0, 1, 2, 77}
    assert set(parse_table("tcp", HEAD + data, wanted)) <= wanted
    assert set(parse_unix(HEAD + data, wanted)) <= wanted


def test_tables_of_the_network_are_left_alone_for_what_is_in_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They cost milliseconds, and workers of loaders make unix sockets all the time."""
    read: list[str] = []
    reading = descriptors._read

    def noted(path: str, limit: int) -> bytes | None:
        read.append(path.rpartition("/")[2])
        return reading(path, limit)

    monkeypatch.setattr(descriptors, "_read", noted)
    left, right = socket.socketpair()
    with left, right:
        inodes = [os.fstat(one.fileno()).st_ino for one in (left, right)]
        assert {one.kind for one in read_sockets(os.getpid(), inodes).values()} == {"unix"}
    assert read == ["unix"]
    assert read_sockets(os.getpid(), []) == {}
