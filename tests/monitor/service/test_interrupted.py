"""Whoever kills, stops or floods leaves a trace of it, and no run vanishes."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.monitor.service.world import World, wait_for
from veracity.core.errors import UsageError
from veracity.core.summary import RunSummary
from veracity.core.verdict import Outcome
from veracity.ledger.keys import SigningKey
from veracity.monitor.service.handed import unfinished
from veracity.monitor.service.log import ServiceLog
from veracity.monitor.verify import verify_run

pytestmark = pytest.mark.serial

WAITS = "echo on; while [ ! -e go ]; do sleep 0.05; done; echo off; exit 4"


@pytest.fixture
def waiting(world: World) -> Iterator[subprocess.Popen[str]]:
    """A job of alice's that goes on until there is a file ``go``."""
    (world.alice.folder / "go").unlink(missing_ok=True)
    process = world.popen(world.alice, *world.veracity_command("run", "--", "sh", "-c", WAITS))
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    yield process
    (world.alice.folder / "go").touch()


def closed(world: World, run: str) -> bool:
    """Whether the service has closed the run."""
    return any(one["run"] == run for one in world.events("closed"))


def go(world: World, process: subprocess.Popen[str]) -> str:
    """Let the job end; what `veracity run` said."""
    (world.alice.folder / "go").touch()
    out, err = process.communicate(timeout=90)
    assert (process.returncode, out) == (4, "off\n"), err
    return err


def whole(world: World) -> RunSummary:
    """The record of alice's newest run, which verifies."""
    run = world.runs(world.alice)[-1]
    verify_run(run)
    return world.summary(world.alice)


def gaps(summary: RunSummary) -> str:
    return " | ".join(gap.what for gap in summary.gaps)


def test_a_job_whose_user_kills_the_keeper_goes_on_and_says_so(
    world: World, waiting: subprocess.Popen[str]
) -> None:
    (keeper,) = world.keepers()
    world.script(world.alice, f"import os; os.kill({keeper}, 9)")
    wait_for(lambda: bool(world.events("taken up")))
    err = go(world, waiting)
    assert "the service is back and has taken the run up again" in err
    summary = whole(world)
    assert summary.exit_code == 4
    assert summary.verdict is not None
    assert summary.verdict.outcome is Outcome.INCOMPLETE
    assert "was not there for a part of it" in gaps(summary)
    lost = world.events("lost")[-1]
    assert (lost["run"], lost["how"]) == (summary.run, "signal 9")


@pytest.mark.soak
def test_a_keeper_that_is_killed_again_and_again_closes_what_it_has(
    world: World, waiting: subprocess.Popen[str]
) -> None:
    run = world.runs(world.alice)[-1].name
    waiting.send_signal(signal.SIGSTOP)  # so that it does not come back by itself
    world.stop()
    world.start(after=0.2)
    deadline = time.monotonic() + 60
    while not closed(world, run):
        assert time.monotonic() < deadline
        for keeper in world.keepers():
            ends = any(one["run"] == run and one["ends"] is True for one in world.events("taken up"))
            if not ends:
                # One that has not taken on her account yet is not hers to kill.
                kill = "import contextlib, os\nwith contextlib.suppress(OSError): os.kill"
                world.script(world.alice, f"{kill}({keeper}, 9)")
        time.sleep(0.2)
    waiting.send_signal(signal.SIGCONT)
    go(world, waiting)
    world.stop()
    world.start()
    summary = whole(world)
    assert summary.verdict is not None
    assert summary.verdict.outcome is Outcome.INCOMPLETE
    assert "too often" in " ".join(gap.reason for gap in summary.gaps)


def test_a_keeper_that_is_stopped_is_woken(world: World, waiting: subprocess.Popen[str]) -> None:
    (keeper,) = world.keepers()
    world.script(world.alice, f"import os, signal; os.kill({keeper}, signal.SIGSTOP)")
    wait_for(lambda: bool(world.events("held")))
    go(world, waiting)
    assert world.events("held")[-1]["run"] == whole(world).run


def test_a_run_whose_parent_is_killed_is_watched_to_its_end(
    world: World, waiting: subprocess.Popen[str]
) -> None:
    run = world.runs(world.alice)[-1].name
    waiting.kill()
    waiting.wait()  # its output stays open: the job has it, too
    time.sleep(0.5)
    assert not closed(world, run)
    (world.alice.folder / "go").touch()
    wait_for(lambda: closed(world, run))
    summary = whole(world)
    assert "`veracity run` does not speak" in gaps(summary)
    assert summary.verdict is not None


def test_a_service_that_ends_and_starts_again_takes_its_runs_up(
    world: World, waiting: subprocess.Popen[str]
) -> None:
    run = world.runs(world.alice)[-1].name
    world.stop()
    stopped, ended = world.events()[-3:][0], world.events()[-1]
    assert (stopped["event"], stopped["signal"], stopped["by_uid"]) == ("stopped", signal.SIGTERM, 0)
    assert ended["event"] == "ended"
    assert [folder.run for folder, _ in unfinished(world.home)] == [run]
    world.start()
    assert world.events("started")[-1]["before"] == "ended"
    wait_for(lambda: any(one["run"] == run for one in world.events("taken up")))
    err = go(world, waiting)
    assert "the service has gone; the job goes on" in err
    assert whole(world).exit_code == 4


def test_a_service_that_is_killed_loses_nothing(world: World, waiting: subprocess.Popen[str]) -> None:
    """The keeper goes on without it."""
    run = world.runs(world.alice)[-1].name
    world.stop(signal.SIGKILL)
    world.start()
    assert world.events("started")[-1]["before"] not in ("ended", "")
    go(world, waiting)
    wait_for(lambda: closed(world, run))
    summary = whole(world)
    assert (summary.exit_code, gaps(summary)) == (4, "")


def test_without_a_service_the_job_is_not_started(world: World) -> None:
    world.stop()
    try:
        done = world.call(world.alice, "run", "--", "echo", "never")
        assert (done.returncode, done.stdout) == (2, "")
        assert "--monitor none" in done.stderr
        alone = world.call(world.alice, "run", "--monitor", "none", "--", "echo", "alone")
        assert (alone.returncode, alone.stdout) == (0, "alone\n")
        assert "(same account: tamper-visible only)" in alone.stderr
    finally:
        world.start()


@pytest.mark.soak
def test_a_flood_of_one_account_does_not_disturb_another(world: World) -> None:
    flood = world.popen(
        world.alice,
        world.python,
        "-c",
        """
import os, socket, time
held, until = [], time.monotonic() + 6
while time.monotonic() < until:
    try:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        one.settimeout(1)
        one.connect(os.environ["VERACITY_MONITOR"])
        one.send(b"nonsense")
        held.append(one)
    except OSError:
        held.clear()
""",
    )
    done = world.call(world.bob, "run", "--", "echo", "fine")
    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert "recorded by the account" in done.stderr
    flood.communicate(timeout=60)
    refused = [one for one in world.events("refused") if one["uid"] == world.alice.uid]
    assert 1 <= len(refused) <= 3


def test_what_goes_beyond_the_quota_is_not_recorded_and_said(world: World) -> None:
    program = world.write(
        world.bob,
        "fill.py",
        """
        import json, os, sys, time
        config = json.load(open(os.environ["VERACITY_GUARD"]))
        sys.path.insert(0, config["archive"])
        from _veracity_guard.core.wire import pack
        with open(f"{config['spool']}/{os.getpid()}-0badc0de.000000.spool", "ab", buffering=0) as spool:
            for number in range(3000):
                body = dict(what="w" * 3000, reason="", remedy="", law="", stops=False)
                spool.write(pack("gap", number, time.time_ns(), body))
        while not os.path.exists("enough"):
            time.sleep(0.05)
        """,
    )
    world.stop()
    world.start(run_bytes=1 << 20, runs_at_once=1)
    try:
        first = world.popen(world.bob, *world.veracity_command("run", "--", world.python, program))
        wait_for(lambda: bool(world.runs(world.bob)) and bool(world.keepers()))
        second = world.call(world.bob, "run", "--", "true")
        assert second.returncode == 2
        assert "has 1 run going on already" in second.stderr
        (world.bob.folder / "enough").touch()
        _, err = first.communicate(timeout=90)
        assert first.returncode == 0, err
    finally:
        world.stop()
        world.start()
    run = world.runs(world.bob)[-1]
    verify_run(run)
    summary = world.summary(world.bob)
    assert "records are not kept any more" in gaps(summary)
    assert summary.verdict is not None
    assert summary.verdict.outcome is Outcome.INCOMPLETE
    assert any("used up the 1,048,576 bytes" in reason for reason in summary.verdict.reasons)
    assert sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) < 8 << 20


def test_a_second_service_of_the_same_home_is_refused(world: World) -> None:
    words = ["monitor", "--system", "--home", str(world.home), "--socket", str(world.socket)]
    done = world.call(world.veracity, *words)
    assert done.returncode == 2
    assert "CAP_SETUID" in done.stderr, "without capabilities it says what it lacks"
    with pytest.raises(UsageError, match="another process"):
        ServiceLog(world.home, SigningKey.generate("veracity.local"))
