"""What the guard tells of the ways out of its process, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.guard.conftest import config_for, read_frames
from veracity.core.observation import ChannelUsed, Gap, Observation
from veracity.guard.channels import MAX_KEYS, Channels
from veracity.guard.session import Session
from veracity.monitor.decode import observation_of, read_header

START = """
    import os, socket, subprocess, sys
    from pathlib import Path
    from tests.guard.conftest import config_for
    from veracity.guard.channels import watch_channels
    from veracity.guard.session import Session
    folder = Path({folder!r})
    session = Session(config_for(folder))
    session.last_step = 4
    session.greet("2.6", {{}})
    audit = watch_channels(session)
"""


Run = Callable[[str], list[ChannelUsed]]


def observations(folder: Path) -> list[Observation]:
    return [
        observation_of(read_header(frame), frame, pid=1, rank=0, verified=True)
        for frame in read_frames(folder / "spool")
    ]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a program with the hook in a process of its own; what it told."""

    def running(text: str) -> list[ChannelUsed]:
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(START.format(folder=str(tmp_path))) + textwrap.dedent(text))
        root = Path(__file__).resolve().parents[2]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root / "src"), str(root)))}
        done = subprocess.run([sys.executable, str(script)], env=environment, check=False, timeout=60)
        assert done.returncode == 0
        seen = observations(tmp_path)
        assert [one for one in seen if isinstance(one, Gap)] == []
        return [one for one in seen if isinstance(one, ChannelUsed)]

    return running


def test_sockets_programs_and_libraries_with_their_line(run: Run, tmp_path: Path) -> None:
    found = run("""
        import ctypes
        def call():
            with socket.socket() as one:
                one.connect_ex(("127.0.0.1", 9))
        for _ in range(12):
            call()
        subprocess.run(["true", "--password=secret"])
        os.system("true secret")
        ctypes.CDLL("libc.so.6")
    """)
    told = [(one.kind, one.target, one.times) for one in found]
    assert told[:2] == [("connect", "127.0.0.1:9", 1), ("connect", "127.0.0.1:9", 9)]
    assert ("spawn", "true", 1) in told
    assert ("dlopen", "libc.so.6", 1) in told
    assert "secret" not in repr(found)
    first = found[0]
    assert (first.frames[0].function, first.frames[0].path) == ("call", str(tmp_path / "program.py"))
    assert (first.step, first.inside, first.importing, first.main) == (4, "", False, True)


def test_what_goes_on_around_a_call(run: Run, tmp_path: Path) -> None:
    """Frames are taken by the name of their file: code with torch's names stands for torch."""
    site = tmp_path / "site-packages" / "torch"
    (site / "optim").mkdir(parents=True)
    call = "import os\ndef %s(*rest):\n    os.system('true')\n    return rest\n"
    (site / "serialization.py").write_text(call % "load")
    (site / "optim" / "adam.py").write_text(call % "step")
    (site / "optim" / "lr_scheduler.py").write_text(call % "step")
    (tmp_path / "starter.py").write_text("import os\nos.system('true')\n")
    (site / "importing.py").write_text("")
    found = run(f"""
        import runpy
        for name in ("serialization", "optim/adam", "optim/lr_scheduler"):
            names = runpy.run_path({str(site)!r} + "/" + name + ".py")
            names.get("load", names.get("step"))()
        sys.path.insert(0, {str(tmp_path)!r})
        import starter
    """)
    assert [(one.inside, one.importing) for one in found] == [
        ("load", False),
        ("step", False),
        ("", False),
        ("", True),
    ]


def test_a_warning_that_is_sent_over_a_network_was_sent_by_logging(run: Run) -> None:
    found = run("""
        import logging, logging.handlers, warnings
        logging.raiseExceptions = False
        logging.getLogger("py.warnings").addHandler(logging.handlers.SocketHandler("127.0.0.1", 9))
        logging.captureWarnings(True)
        warnings.warn("x")
    """)
    assert [one.kind for one in found] == ["connect"]
    assert "logging" in found[0].frames[0].path


def test_writes_below_distributions_and_to_imported_code(run: Run, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    (site / "__pycache__").mkdir(parents=True)
    (tmp_path / "mine.py").write_text("")
    found = run(f"""
        sys.path.insert(0, {str(tmp_path)!r})
        import mine
        site = {str(site)!r}
        open(site + "/a.py", "w").close()
        open(site + "/a.py").close()
        open(site + "/__pycache__/a.pyc", "wb").close()
        os.close(os.open(os.fsencode(site + "/b.py"), os.O_CREAT | os.O_RDWR))
        os.replace(site + "/b.py", site + "/c.py")
        Path(site + "/c.py").unlink()
        open(mine.__file__, "a").close()
        open({str(tmp_path / "other.py")!r}, "w").close()
        open({str(tmp_path / "log.txt")!r}, "w").close()
    """)
    assert [Path(one.target).name for one in found] == ["a.py", "b.py", "c.py", "c.py", "mine.py"]
    assert {one.kind for one in found} == {"write"}


def test_children_by_fork_report_nothing_and_the_guards_own_calls_are_not_told(run: Run) -> None:
    found = run("""
        pid = os.fork()
        if pid == 0:
            with socket.socket() as one:
                one.connect_ex(("127.0.0.1", 9))
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        session.stream._post(b"x")
    """)
    assert found == []


def test_odd_arguments_and_too_many_are_no_failure(tmp_path: Path) -> None:
    session = Session(config_for(tmp_path))
    watch = Channels(session)
    for callback in (watch.connected, watch.bound):
        for address in (("h", 1, 2, 3), b"\0abstract", "\ud800", None, 7, ()):
            callback((None, address))
    spawns: list[tuple[object, ...]]
    spawns = [(None, ["a"]), (None, None), (b"\xff", []), (Path("x"), ()), ("", "")]
    for arguments in spawns:
        watch.spawned(arguments)
    watch.shelled((b"a b",))
    watch.mapped((None,))
    watch.opened((3, None, os.O_WRONLY))
    watch.opened((object(), None, os.O_WRONLY))
    watch.opened(("x", None, None))
    before = len(observations(tmp_path))
    assert before > 5
    for number in range(2 * MAX_KEYS):
        watch.connected((None, ("h", number)))
    gaps = [one for one in observations(tmp_path) if isinstance(one, Gap)]
    assert [gap.law for gap in gaps] == ["channels"]
    assert len(watch._seen) == MAX_KEYS


@pytest.mark.parametrize(
    "how", ["pickle.load(file)", "pickle.Unpickler(file).load()", "pickle._Unpickler(file).load()"]
)
def test_what_a_pickle_starts_is_told_although_the_guard_stands_around_its_load(run: Run, how: str) -> None:
    told = run(
        f"""
        import pickle
        from veracity.guard.unpickling import watch_unpickling
        watch_unpickling(session)
        with open(folder / "planted.pkl", "wb") as file:  # inert: runs the program true
            file.write(b"csubprocess\\ncall\\n(Vtrue\\ntR.")
        with open(folder / "planted.pkl", "rb") as file:
            {how}
        """
    )
    assert [(one.kind, one.target) for one in told if one.kind == "spawn"] == [("spawn", "true")]
    assert told[-1].frames[0].path.endswith("program.py")
