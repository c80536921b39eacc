from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from veracity.monitor.launch import CommandError, Signals, become_subreaper, shell_status, start


def status_of(command: list[str]) -> int:
    with pytest.raises(CommandError) as caught:
        start(command, os.environ)
    assert command[0] in str(caught.value)
    assert caught.value.diagnostics().remedy
    assert caught.value.exit_code == 2
    return caught.value.status


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for word in ("no-such-command-here", str(tmp_path / "none"), str(tmp_path / "file" / "none")):
        assert status_of([word]) == 127


def test_a_command_that_cannot_be_executed(tmp_path: Path) -> None:
    plain = tmp_path / "train.py"
    plain.write_text("#!/usr/bin/env python3\n")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\x7fELF but not really")
    binary.chmod(0o700)
    for words in ([str(plain)], [str(tmp_path)], [str(binary)], [sys.executable, "a\0b"]):
        assert status_of(words) == 126


def test_a_command_gets_the_environment_it_was_given(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = "import os, sys; open(sys.argv[1], 'w').write(repr(os.environ.get('ONLY')))"
    process = start([sys.executable, "-I", "-c", script, str(out)], {"ONLY": "this"})
    assert process.wait(60) == 0
    assert out.read_text() == "'this'"


@pytest.mark.parametrize(("code", "status"), [(0, 0), (3, 3), (-9, 137), (-15, 143)])
def test_the_status_a_shell_would_report(code: int, status: int) -> None:
    assert shell_status(code) == status


def test_orphans_are_taken_over() -> None:
    script = (
        "import os, sys; from veracity.monitor.launch import become_subreaper\n"
        "assert become_subreaper()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    if not os.fork(): os._exit(7)\n"
        "    os._exit(0)\n"
        "print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2)))"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={"PYTHONPATH": path}
    )
    assert (done.stdout, done.stderr) == ("[0, 7]\n", "")
    assert callable(become_subreaper)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that says which signal reached it."""
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(41))\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    process = subprocess.Popen([sys.executable, "-I", "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.communicate()


def test_signals_are_passed_on_and_noted_once(child: subprocess.Popen[bytes]) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    signals = Signals()
    signals.reach(child.pid)
    try:
        assert signals.take() == []
        os.kill(os.getpid(), signal.SIGUSR1)
        assert child.wait(60) == 41
        assert (signal.SIGUSR1, True) in signals.take()
        assert signals.take() == []
    finally:
        signals.close()
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_signal_before_the_job_is_there_reaches_it(child: subprocess.Popen[bytes]) -> None:
    """Else it would end the monitor, and the job would go on with nobody beside it."""
    signals = Signals()
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert (signal.SIGUSR1, True) in signals.take()
        assert child.poll() is None
        signals.reach(child.pid)
        assert child.wait(60) == 41
    finally:
        signals.close()


def test_a_signal_for_a_job_that_has_ended_hurts_nobody(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    signals = Signals()
    signals.reach(child.pid)
    try:
        os.kill(os.getpid(), signal.SIGCONT)
        assert [number for number, _ in signals.take()] == [signal.SIGCONT]
    finally:
        signals.close()
