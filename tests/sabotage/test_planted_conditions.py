"""Processes of a job are held up, and ways out of it are opened, in real training runs.

The clean twins are those of ``test_planted``. What is planted bears the drill's mark.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sabotage.planting import (
    TINY,
    at_start_of_step,
    before_step,
    caught,
    held,
    planted_script,
    shadowed,
    train,
)
from veracity.core.finding import Finding
from veracity.core.rule import Severity
from veracity.core.summary import RunSummary
from veracity.drill.interpreter import training_python
from veracity.drill.sabotage import MARK, Edit

BESIDE = str(Path(sys.executable).parent)
PY_SPY = shutil.which("py-spy", path=os.pathsep.join([BESIDE, os.environ.get("PATH", "")]))
TWO_RANKS = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
needs_stacks = pytest.mark.skipif(PY_SPY is None, reason="py-spy is not installed")
BUSY = "sum(range(1_500_000))"
"""About as long as a short sleep, and work for all that can be seen: steps that a test can act upon."""


def options(folder: Path, steps: int, *more: str) -> list[str]:
    return [*TINY, "--steps", str(steps), "--out-dir", str(folder / "out"), *more]


def warned(summary: RunSummary, rule: str) -> Finding:
    """The first warning of ``rule`` in a run that it must not break."""
    found = [finding for finding in summary.findings if finding.rule == rule]
    assert found, (summary.verdict, summary.findings, summary.gaps)
    assert found[0].severity is Severity.WARNING
    return found[0]


def at_step(folder: Path, step: int, act: Callable[[int], None]) -> threading.Thread:
    """Calls ``act(pid)`` when the victim has made ``step`` steps; its script must write its pid."""
    metrics = folder / "out" / "metrics.jsonl"

    def wait() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if metrics.exists() and metrics.read_bytes().count(b"\n") > step:
                act(int((folder / "pid").read_text()))
                return
            time.sleep(0.005)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def writes_pid() -> tuple[str, str]:
    line = "    loader = make_loader(windows, options, world)\n"
    return line, f"{line}    Path(__file__).with_name('pid').write_text(str(os.getpid()))  {MARK}\n"


# --- time and life ----------------------------------------------------------------------------------


@pytest.mark.serial
@needs_stacks
def test_a_rank_that_is_slow_in_each_step_and_then_sleeps(home: Path, tmp_path: Path) -> None:
    sleep = ("end = time.monotonic() + 12", "while time.monotonic() < end: time.sleep(0.05)")
    script = planted_script(
        tmp_path,
        at_start_of_step("n >= 30 and dist.get_rank() == 1", BUSY),
        before_step("n == 100 and dist.get_rank() == 1", *sleep),
    )
    summary = train(home, script, options(tmp_path, 104), launcher=TWO_RANKS, stacks=True, hang_after=2.0)
    slow, hang = warned(summary, "time-slow-rank"), warned(summary, "life-hang")
    assert slow.rank == 1
    assert slow.first_step is not None
    assert 10 <= slow.first_step <= 75
    assert "rank 0 waits in" in hang.message
    assert "for rank 1" in hang.message
    assert (hang.rank, hang.first_step) == (1, 100)
    assert "time.sleep" in script.read_text().splitlines()[hang.locations[0].line - 1]
    assert any("over after" in reason for reason in summary.coverage["life"].reasons)
    held(summary)


@pytest.mark.serial
@needs_stacks
def test_stopped_and_reniced_from_outside(home: Path, tmp_path: Path) -> None:
    script = planted_script(tmp_path, writes_pid(), before_step("n >= 60", BUSY))

    def act(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(4)
        os.kill(pid, signal.SIGCONT)
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid) + 1)

    thread = at_step(tmp_path, 60, act)
    summary = train(home, script, options(tmp_path, 150), stacks=True)
    thread.join()
    finding = warned(summary, "life-stopped")
    assert "sender not known" in finding.message
    assert finding.first_step is not None
    assert 60 <= finding.first_step <= 70
    assert "niceness" in warned(summary, "time-share-reduced").message
    held(summary)


@pytest.mark.soak
@pytest.mark.serial
@needs_stacks
def test_workers_that_sleep_while_training_waits(home: Path, tmp_path: Path) -> None:
    start = "        start = index * self.block_size\n"
    script = planted_script(tmp_path, (start, f"        time.sleep(0.012)  {MARK}\n{start}"))
    summary = train(home, script, options(tmp_path, 240, "--workers", "2"), stacks=True)
    finding = warned(summary, "time-loader-starved")
    assert finding.locations[0].path == str(script)
    assert "time.sleep" in script.read_text().splitlines()[finding.locations[0].line - 1]
    held(summary)


# --- channels ---------------------------------------------------------------------------------------

SPAWNS = """
import subprocess, sys, torch
class Spawns:
    def __reduce__(self):
        return subprocess.call, (["true"],)
torch.save({"x": Spawns()}, sys.argv[1])
"""


def distribution(site: Path) -> Path:
    """An installed distribution of one module; its file."""
    (site / "quiet-1.0.dist-info").mkdir(parents=True)
    text = b"value = 1\n"
    (site / "quiet.py").write_bytes(text)
    digest = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
    metadata = "Metadata-Version: 2.1\nName: quiet\nVersion: 1.0\n"
    (site / "quiet-1.0.dist-info" / "METADATA").write_text(metadata)
    (site / "quiet-1.0.dist-info" / "RECORD").write_text(f"quiet.py,sha256={digest},{len(text)}\n")
    return site / "quiet.py"


def test_a_step_connects_a_checkpoint_starts_a_program_and_a_library_is_edited(
    home: Path, tmp_path: Path
) -> None:
    checkpoint, site = tmp_path / "shared.pt", tmp_path / "site-packages"
    training_python().run(SPAWNS, str(checkpoint))
    library = distribution(site)
    connect = Edit(
        "optim/adam.py",
        "        loss = None\n        if closure is not None:",
        "        loss = None\n        import socket\n        with socket.socket() as closed:\n"
        f"            closed.connect_ex(('127.0.0.1', 9))  {MARK}\n        if closure is not None:",
    )
    script = planted_script(
        tmp_path,
        at_start_of_step("n == 6", f"open({str(library)!r}, 'a').close()"),
        before_step("n == 8", f"torch.load({str(checkpoint)!r}, weights_only=False)"),
    )
    environment = shadowed(tmp_path, connect)
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], str(site)])
    summary = train(home, script, options(tmp_path, 15), environment=environment)
    step, loaded = caught(summary, "channel-in-step"), caught(summary, "channel-in-load")
    assert step.first_step == 0
    assert step.locations[0].path == str(tmp_path / "shadow" / "torch" / "optim" / "adam.py")
    assert loaded.first_step == 7
    assert "starts 'true'" in loaded.message
    edited = caught(summary, "channel-sealed-write")
    assert edited.first_step == 5
    assert "belongs to the installed quiet" in edited.message
    assert edited.locations[1].path == str(script)
