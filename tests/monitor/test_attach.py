"""A monitor that is killed, and the run judged afterwards from what it and the guards left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from veracity.cli.main import main
from veracity.core.observation import Gap, ModuleChecked, Observation
from veracity.ledger.blobs import Blobs
from veracity.ledger.entry import Entry
from veracity.ledger.reader import Reader
from veracity.monitor.attach import attach_run
from veracity.monitor.replayed import replayed

MODULES = 12
# The real monitor, but that it is killed where it has read of the guard's segments and committed nothing.
MONITOR = """
import os, signal, sys
from pathlib import Path
from veracity.cli.main import main
from veracity.monitor import recorder
home, program, folder, *flags = sys.argv[1:]
commit = recorder.Recorder.commit
def commit_or_end(self, *, publish=False):
    if publish:
        return commit(self, publish=publish)
    if (Path(folder) / "imported").exists() and self.size > self._ledger.head.size + 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return False
recorder.Recorder.commit = commit_or_end
main(["run", "--home", home, *flags, "--quiet", "--", sys.executable, program])
"""
# The real guard, with segments of the size of a record. A torch that it is too new for wakes it, and no more.
TORCH = """
__version__ = "1.0"
class Anything:
    cpu = None
    def __call__(self):
        return ""
def __getattr__(name):
    return Anything()
"""
PROGRAM = """
import importlib, sys, time
from pathlib import Path
for number in range({modules}):
    importlib.import_module(f"own{{number}}")
importlib.import_module("_veracity_guard.guard.stream").SEGMENT_BYTES = 100
import torch
(Path(__file__).parent / "imported").touch()
time.sleep(3)
"""


def _program(folder: Path) -> None:
    folder.mkdir()
    (folder / "train.py").write_text(PROGRAM.format(modules=MODULES))
    for number in range(MODULES):
        (folder / f"own{number}.py").write_text(f"NUMBER = {number}\n")
    (folder / "torch.py").write_text(TORCH)


def _killed(home: Path, code: Path, *flags: str) -> Path:
    """The folder of a run whose monitor was killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run(
        [sys.executable, "-c", MONITOR, str(home), str(code / "train.py"), str(code), *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.returncode == -signal.SIGKILL
    (folder,) = (home / "runs").iterdir()
    return folder


def _observations(folder: Path) -> list[Observation]:
    with Reader(folder / "ledger") as reader:
        entries = [Entry.decode(data) for data in reader.entries()]
    found = [replayed(entry, Blobs(folder / "blobs")) for entry in entries]
    return [one for one in found if one is not None]


def test_what_was_read_and_not_committed_is_read_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _program(tmp_path / "code")
    folder = _killed(home, tmp_path / "code")
    names = sorted(path.name for path in (folder / "spool").glob("*.spool"))
    assert len(names) > 1
    assert names[0].endswith(".000000.spool")
    attach_run(home, folder.name)
    with Reader(folder / "ledger") as reader:
        entries = [Entry.decode(data) for data in reader.entries()]
    numbers = [int(str(entry.body["seq"])) for entry in entries if "seq" in entry.body]
    assert numbers[0] == 0
    assert numbers == sorted(set(numbers))
    found = _observations(folder)
    checked = {one.module for one in found if isinstance(one, ModuleChecked)}
    assert checked >= {f"own{number}" for number in range(MODULES)}
    assert not [one for one in found if isinstance(one, Gap) and "never arrived" in one.what]
    assert not list((folder / "spool").glob("*.spool"))


def test_the_seal_that_the_run_was_started_on_is_opened_again(tmp_path: Path) -> None:
    home, code = tmp_path / "home", tmp_path / "code"
    _program(code)
    assert main(["seal", str(code), "--home", str(home), "--quiet"]) == 0
    (code / "own3.py").write_text("NUMBER = 30\n")
    folder = _killed(home, code, "--seal", "latest")
    without = tmp_path / "without"
    shutil.copytree(home, without)
    summary = attach_run(home, folder.name)
    standing = {one.module: one.sealed for one in _observations(folder) if isinstance(one, ModuleChecked)}
    wanted = {f"own{number}": "same" for number in range(MODULES)} | {"own3": "differs"}
    assert {name: standing.get(name) for name in wanted} == wanted
    assert summary.coverage["sealed-code"].checked >= MODULES
    assert [one.locations[0].path for one in summary.findings if one.rule == "code-unlike-seal"] == [
        str(code / "own3.py")
    ]

    (seal,) = (without / "seals").glob("seal-*")
    (seal / "seal.dsse.json").write_text("{}")
    summary = attach_run(without, folder.name)
    assert summary.coverage["sealed-code"].checked == 0
    (gap,) = [
        one
        for one in _observations(without / "runs" / folder.name)
        if isinstance(one, Gap) and "not compared with seal-" in one.what
    ]
    assert gap.stops
