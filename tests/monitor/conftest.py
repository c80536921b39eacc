from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from veracity.monitor.processes import Processes

_SCRIPT = """
import sys
from pathlib import Path
from veracity.monitor.job import RunOptions, run_job
result = run_job(sys.argv[2:], RunOptions(home=Path(sys.argv[1]), stacks=False, quiet=True))
sys.exit(result.exit_code)
"""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of a small program without torch, from launch to verdict. Not to be edited.

    The monitor runs in a process of its own: it takes over signals, orphans and its niceness.
    """
    home = tmp_path_factory.mktemp("home")
    program = [sys.executable, "-c", "print('trained'); raise SystemExit(3)"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(home), *program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stdout) == (3, "trained\n"), done.stderr
    (folder,) = (home / "runs").iterdir()
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may edit."""
    home = shutil.copytree(finished.parent.parent, tmp_path / "home")
    return home / "runs" / finished.name


@pytest.fixture
def processes() -> Iterator[Processes]:
    """The processes below this one, which stands for what `run` started."""
    with selectors.DefaultSelector() as selector:
        one = Processes(os.getpid(), "", selector)
        yield one
        one.close()
