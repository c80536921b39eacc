"""The start of an interpreter is read once and compared with the last run that held."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from veracity.core.observation import EarlyModule, Gap, Hello, StartedWith, StartupItem
from veracity.core.origin import Origin, Trust
from veracity.monitor.startup import Startup
from veracity.observe import process
from veracity.observe.pyenv import RecordIndex
from veracity.observe.startup import LAW


@pytest.fixture
def python(tmp_path: Path) -> Path:
    program = tmp_path / "env" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text("")
    site = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (site / "a.pth").write_text("import sys\n")
    return program


def origin(pid: int) -> Origin:
    return Origin("guard", Trust.USERLAND, pid, 0, 0, 1)


def greeted(startup: Startup, python: Path, pid: int | None = None) -> list[StartupItem | Gap]:
    pid = os.getpid() if pid is None else pid
    hello = Hello(origin(pid), 1, "rank", str(python), "3.11.7", "2.6.0", 0, {}, {})
    return startup.greeted(hello, str(python), RecordIndex([]))


def from_files(found: list[StartupItem | Gap], python: Path) -> list[str]:
    """``before`` of the items that the made environment has, whatever the test's own variables add."""
    root = str(python.parents[1])
    return [item.before for item in found if isinstance(item, StartupItem) and item.path.startswith(root)]


def test_once_for_all_processes_that_start_alike(tmp_path: Path, python: Path) -> None:
    startup = Startup(tmp_path / "cache", tmp_path / "guard.zip")
    assert from_files(greeted(startup, python), python) == ["first"]
    assert greeted(startup, python) == []


def test_compared_with_the_last_run_that_held(tmp_path: Path, python: Path) -> None:
    startup = Startup(tmp_path / "cache", tmp_path / "guard.zip")
    greeted(startup, python)
    startup.held()
    site = python.parents[1] / "lib" / "python3.11" / "site-packages"
    again = Startup(tmp_path / "cache", tmp_path / "guard.zip")
    assert from_files(greeted(again, python), python) == ["same"]
    (site / "a.pth").write_text("import os\n")
    (site / "b.pth").write_text("import os\n")
    later = Startup(tmp_path / "cache", tmp_path / "guard.zip")
    assert from_files(greeted(later, python), python) == ["changed", "new"]


def test_a_damaged_memory_is_none(tmp_path: Path, python: Path) -> None:
    startup = Startup(tmp_path / "cache", tmp_path / "guard.zip")
    greeted(startup, python)
    startup.held()
    (remembered,) = (tmp_path / "cache").glob("startup-*.json")
    for text in ("[", "[]", "[" * 100_000):
        remembered.write_text(text)
        again = Startup(tmp_path / "cache", tmp_path / "guard.zip")
        assert from_files(greeted(again, python), python) == ["first"]


def test_a_process_that_is_gone_leaves_a_gap(tmp_path: Path, python: Path) -> None:
    startup = Startup(tmp_path / "cache", tmp_path / "guard.zip")
    found = greeted(startup, python, pid=2**22 + 1)
    assert isinstance(found[0], Gap)
    assert found[0].law == "start-up-purity"


def test_what_the_guard_found_early(tmp_path: Path, python: Path) -> None:
    startup = Startup(tmp_path / "cache", tmp_path / "guard.zip")
    greeted(startup, python)
    hidden = tmp_path / "hidden.py"
    hidden.write_text("import random\nrandom.random = None\nrandom.seed = print\n")
    modules = [
        EarlyModule("hidden", str(hidden)),
        EarlyModule("odd", "relative.py"),
        EarlyModule("no", "/no"),
    ]
    (item,) = startup.began(StartedWith(origin(os.getpid()), modules, 0, ["ignore"]))
    assert (item.name, item.effect, item.standing) == ("hidden", "replaces", "none")
    assert startup.began(StartedWith(origin(4), modules, 0, [])) == []


def test_a_process_that_is_gone_is_read_by_what_its_guard_told(tmp_path: Path, python: Path) -> None:
    """A busy machine brings the greeting of a short process after its end."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    told = {"HOME": str(tmp_path), "PYTHONPATH": str(tmp_path / "planted"), "UNKNOWN": "x"}
    planted = tmp_path / "planted" / "sitecustomize.py"
    planted.parent.mkdir()
    planted.write_text("import torch\n")
    hello = Hello(origin(gone.pid), 1, "rank", str(python), "3.11.7", "2.6.0", 0, {}, {}, told)
    while process.read_stat(gone.pid).state != "Z":  # type: ignore[union-attr]
        time.sleep(0.01)
    for ended in (False, True):
        if ended:
            gone.wait()
        found = Startup(tmp_path / "cache", tmp_path / "guard.zip").greeted(
            hello, str(python), RecordIndex([])
        )
        assert str(planted) in {item.path for item in found if isinstance(item, StartupItem)}
        assert not [item for item in found if isinstance(item, Gap) and "variables" in item.what]
    silent = Startup(tmp_path / "cache", tmp_path / "guard.zip")
    assert [item.law for item in greeted(silent, python, gone.pid) if isinstance(item, Gap)][:1] == [LAW]


def test_a_process_that_lives_is_read_by_the_kernels_word(tmp_path: Path, python: Path) -> None:
    told = {"PYTHONPATH": str(tmp_path / "not there")}
    hello = Hello(origin(os.getpid()), 1, "rank", str(python), "3.11.7", "2.6.0", 0, {}, {}, told)
    startup = Startup(tmp_path / "cache", tmp_path / "guard.zip")
    startup.greeted(hello, str(python), RecordIndex([]))
    assert greeted(startup, python) == [], "another key would be another interpreter"
