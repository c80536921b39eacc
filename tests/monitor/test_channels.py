"""Looks at descriptors from outside: new sockets once, sealed files that are open for writing once."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import cast

from veracity.core.observation import CallFrame, ChannelUsed, FileWritten, SocketsSeen
from veracity.core.origin import monitor_origin
from veracity.monitor.channels import ChannelLooks, written
from veracity.monitor.code import Code
from veracity.monitor.processes import Processes


class Records:
    """What the run's code says of files."""

    def belongs(self, path: str) -> tuple[str, str]:
        """Python files are torch's."""
        return ("recorded", "torch") if path.endswith(".py") else ("unrecorded", "")


CODE = cast("Code", Records())


def look(looks: ChannelLooks) -> list[SocketsSeen | FileWritten]:
    looks._next_look = 0.0
    return list(looks.look())


def test_sockets_are_told_once_and_each_look_counts(processes: Processes, tmp_path: Path) -> None:
    looks = ChannelLooks(processes, lambda: [str(tmp_path)], CODE)
    assert look(looks) == [], "nobody has greeted"
    processes.known[os.getpid()].greeted = True
    look(looks)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        name = f"127.0.0.1:{one.getsockname()[1]}"
        first, second = look(looks), look(looks)
    assert [seen.sockets for seen in first if isinstance(seen, SocketsSeen)] == [[["tcp-listen", name, ""]]]
    assert [seen.sockets for seen in second if isinstance(seen, SocketsSeen)] == [[]]
    assert list(looks.look()) == [], "not again at once"


def test_files_open_for_writing_are_told_with_their_owner(processes: Processes, tmp_path: Path) -> None:
    processes.known[os.getpid()].greeted = True
    looks = ChannelLooks(processes, lambda: [str(tmp_path)], CODE)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "b.py").write_text("")
    names = ("a.py", "__pycache__/a.pyc")
    files = [(tmp_path / name).open("w") for name in names] + [(tmp_path / "b.py").open()]
    found = [seen for seen in look(looks) + look(looks) if isinstance(seen, FileWritten)]
    for file in files:
        file.close()
    assert [(seen.path, seen.what, seen.owner, seen.seen) for seen in found] == [
        (str(tmp_path / "a.py"), "recorded", "torch", "descriptor")
    ]


def test_a_process_that_cannot_be_read_is_a_look_that_saw_nothing(processes: Processes) -> None:
    known = processes.known[os.getpid()]
    known.greeted, known.pid = True, 2**22 + 1
    (seen,) = look(ChannelLooks(processes, list, CODE))
    assert isinstance(seen, SocketsSeen)
    assert not seen.readable


def test_what_a_guard_saw_gets_an_owner() -> None:
    frames = [CallFrame("/home/u/train.py", 3, "main")]
    used = ChannelUsed(monitor_origin(5, pid=7), "write", "/site/a.py", 9, "", False, True, 1, frames)
    one = written(used, CODE)
    assert (one.path, one.what, one.owner, one.seen, one.step) == (
        "/site/a.py",
        "recorded",
        "torch",
        "audit",
        9,
    )
    assert (one.frames, one.origin.pid) == (frames, 7)
