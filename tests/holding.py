"""A process of its own that holds files open; this one holds whatever other tests have left open."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_HOLD = """
import sys

held = [open(*one.split("|")) for one in sys.argv[1:]]
print(flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holding(files: dict[Path, str]) -> Iterator[int]:
    """The process' pid, while it holds ``files`` open in their modes."""
    command = [sys.executable, "-I", "-c", _HOLD, *(f"{path}|{mode}" for path, mode in files.items())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
        child.communicate()
