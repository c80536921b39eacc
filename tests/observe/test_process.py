"""/proc readers on real processes, and why a process is silent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.holding import holding
from veracity.observe import process, silence

GONE = 2**22 + 1  # above the largest process number Linux gives


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-Es", "-c", "import time; time.sleep(60)", "an argument"],
        env={"PYTHONPATH": "/other"},
    )
    deadline = time.monotonic() + 20
    while not process.read_cmdline(child.pid) and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel sets it a moment after the program was started
    yield child
    child.kill()
    child.wait()


def test_a_live_process(sleeper: subprocess.Popen[bytes]) -> None:
    status = process.read_stat(sleeper.pid)
    assert status is not None
    assert (status.pid, status.ppid) == (sleeper.pid, os.getpid())
    assert status.starttime > 0
    assert process.read_cmdline(sleeper.pid) == sleeper.args
    assert process.read_environ(sleeper.pid) == {"PYTHONPATH": "/other"}
    assert process.read_environ(sleeper.pid, frozenset({"HOME"})) == {}
    assert os.path.realpath(sys.executable) == process.read_exe(sleeper.pid)
    assert process.read_cwd(sleeper.pid) == os.getcwd()
    assert sleeper.pid in process.Descent(os.getpid()).look()
    assert process.maps_torch(sleeper.pid) is False
    libraries = process.mapped_files(sleeper.pid)
    assert libraries is not None
    assert any("libc" in path for path in libraries)
    schedule = process.read_schedule(sleeper.pid)
    assert schedule is not None
    assert schedule.cpu >= 0
    assert process.blocked_io_ns(sleeper.pid) is not None
    assert process.read_wchan(sleeper.pid) is not None


def test_a_zombie_tells_how_it_ended() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    )
    deadline = time.monotonic() + 20
    while (status := process.read_stat(child.pid)) is not None and status.state != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert status is not None
    assert os.WTERMSIG(status.exit_code) == signal.SIGKILL
    assert process.read_cmdline(child.pid) == []
    child.wait()


def test_a_process_that_is_gone() -> None:
    readers = (
        process.read_stat,
        process.read_cmdline,
        process.read_environ,
        process.read_exe,
        process.mapped_files,
        process.maps_torch,
        process.read_maps,
        process.read_schedule,
        process.blocked_io_ns,
        process.read_wchan,
        process.oom_kills,
    )
    for reader in readers:
        assert reader(GONE) is None
    assert process.Descent(GONE).look() == []
    assert silence.explain_silence(GONE, "/archive") is None


def test_files_open_for_writing(tmp_path: Path) -> None:
    read, written, gone = (tmp_path / name for name in ("read", "written", "gone"))
    read.touch()
    with holding({read: "rb", written: "a", gone: "w"}) as pid:
        gone.unlink()
        found = process.written_files(pid)
    assert str(written) in found
    assert not {str(read), str(gone)} & set(found)
    assert str(written) not in process.written_files(os.getpid())
    assert process.written_files(GONE) == []


@given(st.binary(max_size=60))
def test_any_bytes_may_stand_in_fdinfo(data: bytes) -> None:
    process.parse_flags(data)


def test_names_with_parentheses_and_spaces() -> None:
    fields = " ".join(str(number) for number in range(4, 53))
    found = process.parse_stat(f"7 (a) b (c) S {fields}\n".encode())
    assert found is not None
    assert (found.pid, found.name, found.state, found.ppid) == (7, "a) b (c", "S", 4)
    assert (found.utime, found.stime, found.threads, found.starttime) == (14, 15, 20, 22)
    assert (found.blocked_io, found.exit_code) == (42, 52)


@given(st.binary(max_size=200))
def test_any_bytes_may_stand_in_stat(data: bytes) -> None:
    found = process.parse_stat(data)
    assert found is None or isinstance(found.ppid, int)


def test_oom_events() -> None:
    assert process.parse_oom_kills(b"low 0\noom 3\noom_kill 2\noom_group_kill 0\n") == 2
    assert process.parse_oom_kills(b"low 0\n") is None
    assert process.parse_oom_kills(None) is None


@pytest.mark.parametrize(
    ("path", "torch"),
    [
        ("/site/torch/lib/libtorch_cpu.so", True),
        ("/x/libc10.so", True),
        ("/x/libtorch.so.2 (deleted)", True),
        ("/x/libtorchvision.so", False),
        ("/x/libc.so.6", False),
        ("/torch/x.py", False),
    ],
)
def test_torch_libraries(path: str, torch: bool) -> None:
    assert process.is_torch_library(path) is torch


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("python train.py -I", ""),
        ("python -I train.py", "I"),
        ("python -Es -W ignore -u train.py", "EsWu"),
        ("python -Wignore -S train.py", "WS"),
        ("python -X dev -m torch.distributed.run -E", "Xm"),
        ("python -c pass -I", "c"),
        ("python -Ic pass", "Ic"),
        ("python --check-hash-based-pycs always -E x.py", "E"),
        ("python - -I", ""),
        ("python", ""),
    ],
)
def test_flags(command: str, flags: str) -> None:
    assert silence.interpreter_flags(command.split()) == flags


ARCHIVE = "/run/guard.zip"
GOOD = {"PYTHONPATH": f"{ARCHIVE}:/other"}


@pytest.mark.parametrize(
    ("command", "environment", "word"),
    [
        (["python3.11", "-I", "t.py"], GOOD, "-I"),
        (["python", "-Es", "t.py"], GOOD, "-E"),
        (["python", "-S", "t.py"], GOOD, "-S"),
        (["python", "t.py"], {}, "emptied"),
        (["python", "t.py"], {"HOME": "/"}, "removed"),
        (["python", "t.py"], {"PYTHONPATH": "/mine"}, "replaced"),
        (["python", "t.py"], GOOD, "did not speak"),
        (["python", "t.py"], None, "another account"),
        (["trainer"], GOOD, "not a Python"),
    ],
)
def test_reasons(command: list[str], environment: dict[str, str] | None, word: str) -> None:
    found = silence.explain(command, f"/usr/bin/{command[0]}", environment, ARCHIVE)
    assert word in found.reason
    assert found.remedy


def test_a_real_silent_process(sleeper: subprocess.Popen[bytes]) -> None:
    found = silence.explain_silence(sleeper.pid, ARCHIVE)
    assert found is not None
    assert "-E" in found.reason


def test_standing(sleeper: subprocess.Popen[bytes]) -> None:
    before = process.read_standing(sleeper.pid)
    assert before == process.Standing(0, len(os.sched_getaffinity(sleeper.pid)))
    os.sched_setaffinity(sleeper.pid, {min(os.sched_getaffinity(0))})
    os.setpriority(os.PRIO_PROCESS, sleeper.pid, 7)
    after, status = process.read_standing(sleeper.pid), process.read_stat(sleeper.pid)
    assert after is not None
    assert status is not None
    assert (after.cpus, status.nice) == (1, 7)
    assert process.read_standing(GONE) is None


@given(st.binary(max_size=100))
def test_any_bytes_may_stand_in_status(data: bytes) -> None:
    assert process.parse_standing(b"TracerPid:\t0\nCpus_allowed:\t" + data) is None or data.strip()


def test_descendants_are_found_when_they_come_and_lost_when_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    descent = process.Descent(os.getpid())
    before = descent.look()
    read: list[int] = []
    reading = process.read_stat

    def noted(pid: int) -> process.Stat | None:
        read.append(pid)
        return reading(pid)

    monkeypatch.setattr(process, "read_stat", noted)
    inner = "import subprocess, sys; subprocess.run(['sleep', '60'])"
    with subprocess.Popen([sys.executable, "-c", inner], start_new_session=True) as child:
        found: list[int] = []
        while len(found) < 2:
            found = [pid for pid in descent.look() if pid not in before]
        assert found[0] == child.pid
        assert child.pid in read
        os.killpg(child.pid, signal.SIGKILL)
    assert not set(found) & set(descent.look())


def test_numbers_that_stay_are_read_again_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number may be another process' by now, and a child another parent's."""
    parents = {1: 0, 10: 1, 11: 1, 12: 10}
    monkeypatch.setattr(os, "listdir", lambda _: [*map(str, parents), "self"])
    monkeypatch.setattr(process, "read_stat", lambda pid: Parent(parents[pid]))
    descent = process.Descent(10)
    assert descent.look() == [12]
    parents[11] = 12
    found = [descent.look() for _ in range(process.READ_AGAIN)]
    assert found[0] == [12]
    assert found[-1] == [12, 11]


def test_nothing_is_read_while_the_processes_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = {1: 0, 10: 1, 11: 10}
    read: list[int] = []
    monkeypatch.setattr(os, "listdir", lambda _: [*map(str, parents), "self"])

    def reading(pid: int) -> Parent:
        read.append(pid)
        return Parent(parents[pid])

    monkeypatch.setattr(process, "read_stat", reading)
    descent = process.Descent(10)
    assert descent.look() == [11]
    read.clear()
    assert descent.look() == [11]
    assert read == []
    parents[12] = 11
    assert descent.look() == [11, 12]
    assert read == [12]
    del parents[11]
    assert descent.look() == []


@dataclass(frozen=True)
class Parent:
    """What is read of a process here."""

    ppid: int
