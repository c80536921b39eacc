"""Jobs that end badly, hide, or meddle: a clear word, the right exit code, nothing recorded is lost."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs.conftest import Done, Jobs


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait for a condition; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.05)


def clear(done: Done) -> None:
    """What a user reads is a message of ours and no traceback of ours."""
    assert "Traceback" not in done.err
    assert "veracity" in done.err


# --- commands that are none --------------------------------------------------------------------------


def test_a_command_that_does_not_exist(jobs: Jobs) -> None:
    done = jobs.run("no-such-command-anywhere")
    clear(done)
    assert done.code == 127
    assert "no-such-command-anywhere: command not found" in done.err
    assert done.verdict == "incomplete"
    assert len(jobs.folders()) == 1


def test_commands_that_cannot_be_executed(jobs: Jobs) -> None:
    plain = jobs.write("print(1)")
    wrong = jobs.write("#!/no/such/interpreter\n", name="wrong")
    wrong.chmod(0o755)
    empty = jobs.write("\0\1\2", name="empty")
    empty.chmod(0o755)
    for command, code in ((plain, 126), (jobs.folder, 126), (empty, 126), (wrong, 127)):
        done = jobs.run(command)
        clear(done)
        assert (done.code, done.verdict) == (code, "incomplete")


@pytest.mark.parametrize(("command", "code"), [(["true"], 0), (["false"], 1), (["sh", "-c", "exit 7"], 7)])
def test_commands_that_are_not_python(jobs: Jobs, command: list[str], code: int) -> None:
    done = jobs.run(*command)
    clear(done)
    assert (done.code, done.verdict) == (code, "incomplete")


def test_a_program_that_dies_at_import(jobs: Jobs) -> None:
    done = jobs.python("import no_such_module_anywhere")
    assert done.code == 1
    assert done.err.count("Traceback") == 1
    assert "No module named 'no_such_module_anywhere'" in done.err
    assert "_veracity_guard" not in done.err
    assert done.verdict == "incomplete"


def test_bytes_pass_through_unchanged(jobs: Jobs) -> None:
    done = jobs.python("import os; os.write(1, bytes(range(256)) * 3); os.write(2, b'\\xff\\x00 raw')")
    assert done.out == bytes(range(256)) * 3
    assert "\x00 raw" in done.err
    assert done.code == 0


def test_standard_streams_are_inherited_and_not_piped(jobs: Jobs) -> None:
    program = jobs.write("import os; print([os.fstat(n).st_ino for n in (0, 1, 2)])")
    out = jobs.folder / "out"
    with open(os.devnull, "rb") as source, out.open("wb") as sink, (jobs.folder / "err").open("wb") as errors:
        wanted = [os.fstat(file.fileno()).st_ino for file in (source, sink, errors)]
        words = jobs.command("run", "--quiet", "--", sys.executable, program)
        done = subprocess.run(
            words, env=jobs.environment(), stdin=source, stdout=sink, stderr=errors, check=False
        )
    assert done.returncode == 0
    assert out.read_text() == f"{wanted}\n"


# --- programs that leave their place -----------------------------------------------------------------


@pytest.mark.serial
def test_a_daemon_does_not_hold_the_run_up(jobs: Jobs) -> None:
    done = jobs.python(
        """
        steps(5)
        import os, sys
        sys.stdout.flush()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in range(3):
                    os.close(number)
                os.execv("/bin/sleep", ["sleep", "8"])
            os._exit(0)
        os.wait()
        steps(5)
        """,
        train=True,
    )
    clear(done)
    assert (done.code, done.verdict) == (0, "held"), done.err
    assert done.shown["coverage"]["update"]["checked"] == 10


def test_descriptors_closed_and_folder_changed_in_the_middle(jobs: Jobs) -> None:
    done = jobs.python(
        f"""
        import os
        steps(4)
        os.closerange(3, 1024)
        files = [open(f"{jobs.folder}/own-{{number}}", "wb") for number in range(6)]
        steps(4)
        os.chdir({str(jobs.folder)!r})
        steps(4)
        for file in files:
            file.write(b"mine")
            file.close()
        torch.save(model.state_dict(), "last.pt")
        """,
        train=True,
    )
    own = sorted(jobs.folder.glob("own-*"))
    assert [path.read_bytes() for path in own] == [b"mine"] * 6
    assert (done.code, done.verdict) == (0, "held"), done.err
    assert done.shown["coverage"]["update"]["checked"] == 12


# --- programs that shut the guard out ----------------------------------------------------------------

SPAWN = """
    import os, subprocess, sys
    {before}
    sys.exit(subprocess.call([sys.executable, {inner!r}], env={environment}))
"""
INNER = """
    import time
    steps(3)
    time.sleep({seconds})
"""


def unheard(done: Done, word: str) -> None:
    clear(done)
    assert done.code == 0
    assert done.verdict == "incomplete"
    (gap,) = done.gaps(word)
    assert gap["remedy"]


# Which flags there are is in tests/observe/test_process.py.
@pytest.mark.parametrize("flag", ["-I", *(pytest.param(one, marks=pytest.mark.soak) for one in ("-E", "-S"))])
def test_flags_that_shut_the_guard_out_are_named(jobs: Jobs, flag: str) -> None:
    more = ""
    if flag == "-S":
        import torch

        more = f"import sys; sys.path.insert(0, {str(Path(torch.__file__).parents[1])!r})\n"
    program = jobs.write(INNER.format(seconds=2.0), train=True)
    program.write_text(more + program.read_text())
    unheard(jobs.run(sys.executable, flag, program, silent_after=0.5), f"with {flag}")


def test_an_emptied_environment_is_named(jobs: Jobs) -> None:
    inner = jobs.write(INNER.format(seconds=2.0), train=True, name="inner.py")
    outer = jobs.write(
        SPAWN.format(before="os.environ.clear()", inner=str(inner), environment="{}"), name="outer.py"
    )
    unheard(jobs.run(sys.executable, outer, silent_after=0.5), "environment was emptied")


def test_an_environment_deleted_in_place_is_named(jobs: Jobs) -> None:
    inner = jobs.write(INNER.format(seconds=2.0), train=True, name="inner.py")
    before = "os.environ.clear(); os.environ['PATH'] = '/bin'"
    outer = jobs.write(SPAWN.format(before=before, inner=str(inner), environment="None"), name="outer.py")
    unheard(jobs.run(sys.executable, outer, silent_after=0.5), "PYTHONPATH was removed")


def test_a_launcher_that_replaces_the_path_is_named(jobs: Jobs) -> None:
    inner = jobs.write(INNER.format(seconds=2.0), train=True, name="inner.py")
    script = jobs.write(f"#!/bin/sh\nPYTHONPATH=/opt exec {sys.executable} {inner}\n", name="launch.sh")
    script.chmod(0o755)
    unheard(jobs.run(script, silent_after=0.5), "PYTHONPATH was replaced")


@pytest.mark.serial
def test_a_guarded_job_beside_an_unguarded_one_is_told(jobs: Jobs) -> None:
    inner = jobs.write(INNER.format(seconds=2.0), train=True, name="inner.py")
    text = f"""
        steps(5)
        import subprocess, sys
        subprocess.check_call([sys.executable, "-I", {str(inner)!r}])
        steps(5)
        """
    done = jobs.python(text, train=True, silent_after=5.0)
    clear(done)
    # Said, and nothing more: it may be any program that happens to use torch.
    (gap,) = done.gaps("has no guard")
    assert "with -I" in gap["reason"]
    assert (done.code, done.shown["coverage"]["update"]["checked"]) == (0, 10)


def test_an_unguarded_process_that_ends_soon_is_told_as_well(jobs: Jobs) -> None:
    program = jobs.write(INNER.format(seconds=2.0), train=True)
    unheard(jobs.run(sys.executable, "-I", program), "with -I")


@pytest.mark.soak
@pytest.mark.serial
def test_a_slow_import_of_torch_is_no_silence(jobs: Jobs) -> None:
    text = "import time; time.sleep(6)"
    program = jobs.write("steps(3)", train=True)
    program.write_text(f"{text}\n{program.read_text()}")
    done = jobs.run(sys.executable, program, silent_after=6.0)
    assert done.gaps("has no guard") == []
    assert done.verdict == "held"


# --- homes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", ["file", "below-file", "proc", "ro"])
def test_a_home_that_cannot_be_used(jobs: Jobs, home: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    place = {
        "file": file,
        "below-file": file / "home",
        "proc": Path("/proc/self/home"),
        "ro": Path("/sys/home"),
    }[home]
    ran = tmp_path / "ran"
    words = Jobs(place, jobs.folder).command("run", "--", "touch", ran)
    done = subprocess.run(words, env=jobs.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "home" in done.stderr
    assert str(place) in done.stderr
    assert not ran.exists()


def test_two_runs_at_once_in_one_home(jobs: Jobs) -> None:
    program = jobs.write("steps(20)", train=True)
    started = [jobs.start(sys.executable, program) for _ in range(2)]
    for process in started:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    folders = jobs.folders()
    assert len(folders) == 2
    for folder in folders:
        shown = jobs.show(folder.name)
        assert (shown["verdict"], shown["coverage"]["update"]["checked"]) == ("held", 20)


# --- monitors that are killed, records that are edited -----------------------------------------------

PACED = """
    import pathlib, sys, time
    for number in range({steps}):
        steps(1)
        pathlib.Path({mark!r}).write_text(str(number))
        time.sleep(0.05)
    pathlib.Path({mark!r}).write_text("finished")
"""


def paced(jobs: Jobs, steps: int, *, train: bool = True) -> tuple[Path, Path]:
    """A program that tells in a file how far it is, and that file; without ``train``, one without torch."""
    mark = jobs.folder / "mark"
    text = PACED.format(steps=steps, mark=str(mark))
    return jobs.write(text if train else text.replace("steps(1)", "pass"), train=train), mark


def has_stepped(mark: Path) -> Callable[[], bool]:
    return lambda: mark.exists() and mark.read_text() not in ("", "0", "1", "2")


@pytest.mark.serial
def test_a_spool_cut_while_the_job_runs_is_found(jobs: Jobs) -> None:
    program, mark = paced(jobs, 60)
    process = jobs.start(sys.executable, program)
    until(has_stepped(mark))
    (folder,) = jobs.folders()
    until(lambda: any(path.stat().st_size > 2000 for path in (folder / "spool").iterdir()))
    time.sleep(0.5)
    (path,) = (folder / "spool").iterdir()
    os.truncate(path, 100)
    done = jobs.finish(process)
    assert done.code == 0
    assert mark.read_text() == "finished"
    assert done.verdict == "broken"
    assert "record-spool-altered" in done.rules
    clear(done)


@pytest.mark.soak
@pytest.mark.serial
def test_a_spool_folder_removed_while_the_job_runs_stops_nothing(jobs: Jobs) -> None:
    program, mark = paced(jobs, 40)
    process = jobs.start(sys.executable, program)
    until(has_stepped(mark))
    (folder,) = jobs.folders()
    time.sleep(0.5)
    for path in (folder / "spool").iterdir():
        path.unlink()
    (folder / "spool").rmdir()
    done = jobs.finish(process)
    assert (done.code, mark.read_text()) == (0, "finished")
    assert done.verdict == "broken"
    assert "record-spool-altered" in done.rules
    clear(done)


@pytest.mark.serial
def test_a_killed_monitor_does_not_end_the_training(jobs: Jobs) -> None:
    program, mark = paced(jobs, 40)
    process = jobs.start(sys.executable, program)
    until(has_stepped(mark))
    (pid,) = children(process.pid, "program.py")
    process.kill()
    process.communicate(timeout=60)
    until(lambda: mark.read_text() == "finished")
    until(lambda: has_ended(pid))
    (folder,) = jobs.folders()
    assert jobs.show()["verdict"] != "held"
    assert list((folder / "spool").iterdir())


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie that whoever adopted it has not reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except FileNotFoundError:
        return True


def children(pid: int, word: str) -> list[int]:
    """Children of ``pid`` with ``word`` in their command line."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found if word.encode() in Path(f"/proc/{one}/cmdline").read_bytes()]


@pytest.mark.serial
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_to_the_monitor_reach_the_job(jobs: Jobs, number: signal.Signals) -> None:
    program, mark = paced(jobs, 2000)
    process = jobs.start(sys.executable, program)
    until(has_stepped(mark))
    process.send_signal(number)
    done = jobs.finish(process)
    assert done.code == 128 + number
    assert mark.read_text() != "finished"
    assert done.verdict in ("held", "incomplete")
    assert not done.rules & {"life-killed", "life-crashed"}
    assert done.err.count("Traceback") == (number == signal.SIGINT)
    assert done.shown["coverage"]["update"]["checked"] >= 3


@pytest.mark.serial
def test_a_program_that_handles_a_signal_ends_as_it_likes(jobs: Jobs) -> None:
    program, mark = paced(jobs, 2000, train=False)
    handler = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
    program.write_text(handler + program.read_text())
    process = jobs.start(sys.executable, program)
    until(has_stepped(mark))
    process.send_signal(signal.SIGTERM)
    assert jobs.finish(process).code == 5


@pytest.mark.serial
def test_ctrl_c_at_a_terminal_arrives_once(jobs: Jobs) -> None:
    program, mark = paced(jobs, 2000, train=False)
    count = jobs.folder / "count"
    handler = f"""
import signal, sys, time
def interrupted(*_):
    with open({str(count)!r}, "a") as file:
        file.write("x")
    time.sleep(1.0)
    sys.exit(130)
signal.signal(signal.SIGINT, interrupted)
"""
    program.write_text(handler + program.read_text())
    words = jobs.command("run", "--", sys.executable, program)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(words[0], words, jobs.environment())
    try:
        until(has_stepped(mark))
        os.write(terminal, b"\x03")
        ended: list[int] = []

        def over() -> bool:
            os.set_blocking(terminal, False)
            try:
                os.read(terminal, 65536)
            except OSError:
                pass
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                ended.append(os.waitstatus_to_exitcode(status))
            return bool(done)

        until(over)
    finally:
        os.close(terminal)
    assert ended == [130]
    assert count.read_text() == "x"
    assert jobs.show()["verdict"] in ("held", "incomplete")


@pytest.mark.serial
def test_a_job_killed_by_somebody_else_is_told(jobs: Jobs) -> None:
    program, mark = paced(jobs, 2000, train=False)
    process = jobs.start(sys.executable, program)
    until(has_stepped(mark))
    (pid,) = children(process.pid, "program.py")
    os.kill(pid, signal.SIGKILL)
    done = jobs.finish(process)
    clear(done)
    assert done.code == 137
    assert "life-killed" in done.rules
    assert done.verdict != "held"
