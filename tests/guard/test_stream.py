"""The way out of the process: nothing foreign is written to, nothing waits, what is dropped is counted."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guard.conftest import config_for, read_frames
from veracity.guard import stream as stream_module
from veracity.guard.session import Session
from veracity.guard.stream import Stream
from veracity.monitor.decode import read_header

BODY = {"what": "x" * 50}


def numbers(folder: Path) -> list[int]:
    return [read_header(frame).seq for frame in read_frames(folder)]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """A monitor's end of the socket, which accepts nothing by itself."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.bind(str(tmp_path / "guard.sock"))
    server.listen(4)
    server.settimeout(5)
    yield server
    server.close()


def a_stream(tmp_path: Path) -> Stream:
    (tmp_path / "spool").mkdir(exist_ok=True)
    return Stream(str(tmp_path / "spool"), str(tmp_path / "guard.sock"))


def test_records_lie_in_the_spool_in_order(tmp_path: Path) -> None:
    stream = a_stream(tmp_path)
    assert all(stream.send("gap", 1, {"number": number}, b"blob") for number in range(5))
    frames = read_frames(tmp_path / "spool")
    assert [read_header(frame).body["number"] for frame in frames] == [0, 1, 2, 3, 4]
    assert {frame.blob for frame in frames} == {b"blob"}
    (path,) = (tmp_path / "spool").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert (stream.sent, stream.dropped) == (5, 0)


def test_a_burst_lies_there_as_if_sent_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "BURST_BYTES", 200)
    monkeypatch.setattr(stream_module, "SEGMENT_BYTES", 1000)
    stream = a_stream(tmp_path)
    stream.send("gap", 1, BODY)
    stream.burst("module", 1, [({"number": number}, memoryview(bytes(number))) for number in range(50)])
    stream.send("gap", 1, BODY)
    frames = read_frames(tmp_path / "spool")
    assert [read_header(frame).seq for frame in frames] == list(range(52))
    assert [len(frame.blob) for frame in frames[1:-1]] == list(range(50))
    assert (stream.sent, stream.dropped) == (52, 0)
    assert len(list((tmp_path / "spool").iterdir())) > 1


def test_what_is_dropped_of_a_burst_is_counted(tmp_path: Path) -> None:
    stream = Stream(str(tmp_path / "absent"), str(tmp_path / "guard.sock"))
    stream.burst("module", 1, [(BODY, memoryview(b""))] * 7)
    (tmp_path / "absent").mkdir()
    stream.burst("module", 1, [(BODY, memoryview(b""))] * 2)
    assert (stream.sent, stream.dropped) == (2, 7)
    assert numbers(tmp_path / "absent") == [7, 8]


def close_ours(stream: Stream) -> set[int]:
    taken = {stream._fd}
    if stream._socket is not None:
        taken.add(stream._socket.fileno())
    for fd in taken:
        os.close(fd)
    return taken


def test_a_descriptor_number_that_was_reused_is_not_written_to(
    tmp_path: Path, listener: socket.socket
) -> None:
    stream = a_stream(tmp_path)
    stream.greet(1, BODY)
    taken = close_ours(stream)
    assert len(taken) == 2
    opened: dict[int, Path] = {}
    while len(opened.keys() & taken) < len(taken):
        path = tmp_path / f"own-{len(opened)}"
        opened[os.open(path, os.O_RDWR | os.O_CREAT)] = path
    try:
        for _ in range(3):
            stream.send("gap", 1, BODY)
        stream.greet(1, BODY)
        assert {path.read_bytes() for path in opened.values()} == {b""}
        # Our forgotten numbers were not closed under the program either.
        for fd in opened:
            os.write(fd, b"the program's")
        assert {path.read_bytes() for path in opened.values()} == {b"the program's"}
    finally:
        for fd in opened:
            os.close(fd)
    assert numbers(tmp_path / "spool") == [0, 1, 2, 3, 4]


def test_a_number_reused_for_a_pipe_or_socket_is_not_written_to(tmp_path: Path) -> None:
    stream = a_stream(tmp_path)
    stream.send("gap", 1, BODY)
    number = stream._fd
    reader, writer = os.pipe2(os.O_NONBLOCK)
    os.dup2(writer, number)
    try:
        assert stream.send("gap", 1, BODY)
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    finally:
        for fd in (reader, writer, number):
            os.close(fd)
    assert numbers(tmp_path / "spool") == [0, 1]


def test_closed_descriptors_cost_nothing(tmp_path: Path, listener: socket.socket) -> None:
    stream = a_stream(tmp_path)
    stream.greet(1, BODY)
    close_ours(stream)
    assert stream.send("gap", 1, BODY)
    assert numbers(tmp_path / "spool") == [0, 1]


def test_a_program_that_closes_all_descriptors(tmp_path: Path) -> None:
    """In a process of its own, as a daemonising program does it."""
    (tmp_path / "spool").mkdir()
    program = textwrap.dedent(
        """
        import os, sys
        from veracity.guard.stream import Stream
        stream = Stream(sys.argv[1], sys.argv[2])
        for number in range(3):
            stream.send("gap", 1, {"number": number})
        os.closerange(3, 256)
        files = [open(os.path.join(sys.argv[3], f"own-{number}"), "wb") for number in range(8)]
        for number in range(3, 6):
            stream.send("gap", 1, {"number": number})
        for file in files:
            file.write(b"mine")
            file.close()
        for number in range(6, 9):
            stream.send("gap", 1, {"number": number})
        """
    )
    arguments = [str(tmp_path / "spool"), str(tmp_path / "guard.sock"), str(tmp_path)]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, env=with_source())
    assert {path.read_bytes() for path in tmp_path.glob("own-*")} == {b"mine"}
    assert numbers(tmp_path / "spool") == list(range(9))


def with_source() -> dict[str, str]:
    """The environment with this package importable, installed or not."""
    root = str(Path(stream_module.__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


# --- disks that are full -----------------------------------------------------------------------------


def test_a_full_file_system_costs_counted_drops_and_recovers(tmp_path: Path) -> None:
    disk = tmp_path / "spool"
    disk.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("needs the right to mount a file system")
    try:
        stream = a_stream(tmp_path)
        results = [stream.send("gap", 1, BODY, bytes(3000)) for _ in range(40)]
        assert results[0]
        assert not results[-1]
        assert stream.dropped == results.count(False)
        written = numbers(disk)
        assert written == list(range(results.count(True)))
        # Room again: the next record follows the last whole one; its number tells how many are lost.
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        assert stream.send("gap", 1, BODY, bytes(3000))
        assert numbers(disk) == [*written, 40]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@given(st.lists(st.one_of(st.none(), st.integers(0, 400), st.just(-1)), max_size=30))
def test_no_sequence_of_short_and_failing_writes_tears_a_frame(
    tmp_path_factory: pytest.TempPathFactory, outcomes: list[int | None]
) -> None:
    """None: written in full; -1: ENOSPC; n: at most n bytes written."""
    folder = tmp_path_factory.mktemp("short")
    stream = a_stream(folder)
    write = os.write
    pending = list(outcomes)

    def cut(fd: int, data: bytes) -> int:
        outcome = pending.pop(0)
        if outcome is None:
            return write(fd, data)
        if outcome < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[:outcome])

    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", cut)
        while pending:
            results.append(stream.send("gap", 1, BODY))
    assert stream.send("gap", 1, BODY)
    expected = [number for number, result in enumerate(results) if result]
    assert numbers(folder / "spool") == [*expected, len(results)]
    assert stream.dropped == results.count(False)


def test_a_cut_frame_that_cannot_be_taken_back_ends_its_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = a_stream(tmp_path)
    stream.send("gap", 1, BODY)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))

    def refuse(fd: int, length: int) -> None:
        raise OSError(errno.EPERM, "append only")

    monkeypatch.setattr(os, "ftruncate", refuse)
    assert not stream.send("gap", 1, BODY)
    monkeypatch.setattr(os, "write", write)
    assert stream.send("gap", 1, BODY)
    assert len(list((tmp_path / "spool").iterdir())) == 2


def test_while_the_disk_is_full_records_go_over_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    stream = a_stream(tmp_path)

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert stream.send("gap", 1, BODY)
    connection, _ = listener.accept()
    connection.settimeout(5)
    assert b'"s":0' in connection.recv(1 << 16)
    connection.close()


# --- sockets that do not take ------------------------------------------------------------------------


def test_a_monitor_that_does_not_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    stream = a_stream(tmp_path)
    stream._folder = str(tmp_path / "nowhere")
    done = threading.Event()

    def fill() -> None:
        while stream.send("gap", 1, BODY, bytes(50_000)):
            pass
        done.set()

    threading.Thread(target=fill, daemon=True).start()
    assert done.wait(30), "a full socket blocked the sender"
    assert stream.dropped == 1
    assert stream.sent > 0


@pytest.mark.parametrize("kind", ["absent", "file", "datagram", "closed"])
def test_a_socket_path_that_leads_nowhere(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "guard.sock"
    if kind == "file":
        path.write_text("")
    elif kind in ("datagram", "closed"):
        other = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_SEQPACKET
        )
        other.bind(str(path))
        if kind == "closed":
            other.listen()
            other.close()
    stream = a_stream(tmp_path)
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        stream.greet(1, BODY)
    assert numbers(tmp_path / "spool") == [0, 1, 2]
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1  # the spool's own


def test_a_monitor_that_is_gone_does_not_end_a_program_with_default_signals(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import signal, socket, sys
        from veracity.guard.stream import Stream
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server.bind(sys.argv[1])
        server.listen(4)
        stream = Stream("/nowhere", sys.argv[1])
        assert stream.send("gap", 1, {})
        server.accept()[0].close()
        server.close()
        assert not stream.send("gap", 1, {})
        """
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "guard.sock")], check=True, env=with_source()
    )


def test_without_spool_and_socket_all_is_dropped_and_counted(tmp_path: Path) -> None:
    stream = Stream(str(tmp_path / "nowhere"), str(tmp_path / "nobody"))
    assert [stream.send("gap", 1, BODY) for _ in range(4)] == [False] * 4
    assert (stream.sent, stream.dropped) == (0, 4)


# --- folders, segments, forks ------------------------------------------------------------------------


def test_segments_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "SEGMENT_BYTES", 1000)
    stream = a_stream(tmp_path)
    for _ in range(40):
        stream.send("gap", 1, BODY)
    paths = sorted((tmp_path / "spool").iterdir())
    assert [path.name.split(".")[1] for path in paths] == [f"{number:06d}" for number in range(len(paths))]
    assert len(paths) > 3
    assert max(path.stat().st_size for path in paths) <= 1000
    assert numbers(tmp_path / "spool") == list(range(40))


def test_a_deleted_spool_folder_costs_drops_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "SEGMENT_BYTES", 1000)
    stream = a_stream(tmp_path)
    stream.send("gap", 1, BODY)
    for path in (tmp_path / "spool").iterdir():
        path.unlink()
    (tmp_path / "spool").rmdir()
    results = [stream.send("gap", 1, BODY) for _ in range(20)]
    assert not results[-1]
    assert stream.dropped == results.count(False)
    (tmp_path / "spool").mkdir()
    assert stream.send("gap", 1, BODY)
    assert numbers(tmp_path / "spool") == [21]


def test_a_spool_is_never_opened_through_a_link(tmp_path: Path) -> None:
    stream = a_stream(tmp_path)
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    os.symlink(precious, stream._path())
    assert not stream.send("gap", 1, BODY)
    assert precious.read_bytes() == b"mine"


@pytest.mark.parametrize("read", [False, True])
def test_a_named_pipe_in_a_segments_place_is_not_waited_for(tmp_path: Path, read: bool) -> None:
    stream = a_stream(tmp_path)
    os.mkfifo(stream._path())
    reader = os.open(stream._path(), os.O_RDONLY | os.O_NONBLOCK) if read else -1
    done = threading.Event()

    def send() -> None:
        assert not stream.send("gap", 1, BODY)
        done.set()

    threading.Thread(target=send, daemon=True).start()
    assert done.wait(10)
    if read:
        assert os.read(reader, 100) == b""
        os.close(reader)


def test_a_forked_child_has_a_spool_of_its_own_that_begins_with_a_hello(tmp_path: Path) -> None:
    session = Session(config_for(tmp_path))
    session.greet("2.9.9", {})
    session.emit("gap", BODY)
    child = os.fork()
    if child == 0:
        try:
            session.emit("gap", {"what": "from the child"})
            session.say_goodbye()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    session.say_goodbye()
    by_pid: dict[int, list[str]] = {}
    for path in sorted((tmp_path / "spool").iterdir()):
        pid = int(path.name.split("-")[0])
        for line in path.read_bytes().split(b"VF01")[1:]:
            by_pid.setdefault(pid, []).append(json.loads(line[12:])["k"])
    assert by_pid == {os.getpid(): ["hello", "gap", "bye"], child: ["hello", "gap", "bye"]}


def test_the_hello_tells_the_variables_of_the_start_and_not_those_set_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "x" * 5_000)
    monkeypatch.setenv("PYTHONPATH", "/bytes/\udcff")
    monkeypatch.setenv("SECRET", "not asked for")
    monkeypatch.delenv("LD_AUDIT", raising=False)
    names = ("LD_AUDIT", "LD_PRELOAD", "PYTHONPATH")
    session = Session(replace(config_for(tmp_path), variables=names))
    monkeypatch.setenv("LD_AUDIT", "later")
    session.greet("2.9.9", {})
    (path,) = (tmp_path / "spool").iterdir()
    body = json.loads(path.read_bytes().split(b"VF01")[1][12:])["b"]
    assert body["variables"] == {"LD_PRELOAD": "x" * 4_096, "PYTHONPATH": "/bytes/?"}


def test_a_fork_while_another_thread_is_sending_does_not_hang_the_child(tmp_path: Path) -> None:
    session = Session(config_for(tmp_path))
    session.greet("2.9.9", {})
    with session.stream._lock:
        child = os.fork()
        if child == 0:
            session.emit("gap", BODY)
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    (path,) = (tmp_path / "spool").glob(f"{child}-*")
    assert path.stat().st_size > 0


def test_threads_do_not_mix_their_records(tmp_path: Path) -> None:
    stream = a_stream(tmp_path)

    def send() -> None:
        for _ in range(50):
            stream.send("gap", 1, BODY, bytes(500))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = numbers(tmp_path / "spool")
    assert written == sorted(written)
    assert len(written) == stream.sent
    assert stream.sent + stream.dropped == 200


def test_what_cannot_be_packed_is_no_torn_spool(tmp_path: Path) -> None:
    stream = a_stream(tmp_path)
    with pytest.raises(TypeError):
        stream.send("gap", 1, {"what": object()})
    assert stream.send("gap", 1, BODY)
    assert numbers(tmp_path / "spool") == [0]
