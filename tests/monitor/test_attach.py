"""A monitor that is killed, and the run judged afterwards from what it and the guards left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from veracity.core.observation import Gap, ModuleChecked
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
from veracity.monitor import recorder
from veracity.monitor.job import RunOptions, run_job
home, program, folder = sys.argv[1:]
commit = recorder.Recorder.commit
def commit_or_end(self, *, publish=False):
    if publish:
        return commit(self, publish=publish)
    if (Path(folder) / "imported").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return False
recorder.Recorder.commit = commit_or_end
run_job([sys.executable, program], RunOptions(home=Path(home), stacks=False, quiet=True))
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


def test_what_was_read_and_not_committed_is_read_again(tmp_path: Path) -> None:
    home, program = tmp_path / "home", tmp_path / "train.py"
    program.write_text(PROGRAM.format(modules=MODULES))
    for number in range(MODULES):
        (tmp_path / f"own{number}.py").write_text(f"NUMBER = {number}\n")
    (tmp_path / "torch.py").write_text(TORCH)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run(
        [sys.executable, "-c", MONITOR, str(home), str(program), str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.returncode == -signal.SIGKILL
    (folder,) = (home / "runs").iterdir()
    assert len(list((folder / "spool").glob("*.spool"))) >= MODULES
    attach_run(home, folder.name)
    with Reader(folder / "ledger") as reader:
        entries = [Entry.decode(data) for data in reader.entries()]
    numbers = [int(str(entry.body["seq"])) for entry in entries if "seq" in entry.body]
    assert numbers[0] == 0
    assert numbers == sorted(set(numbers))
    found = [replayed(entry, Blobs(folder / "blobs")) for entry in entries]
    checked = {one.module for one in found if isinstance(one, ModuleChecked)}
    assert checked >= {f"own{number}" for number in range(MODULES)}
    assert not [one for one in found if isinstance(one, Gap) and "never arrived" in one.what]
    assert not list((folder / "spool").glob("*.spool"))
