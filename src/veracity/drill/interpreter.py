"""The Python that the drill's jobs run in: which one has torch, and where its torch lies.

Nothing is imported here: the interpreter itself is asked, in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UsageError

SECONDS = 120.0

_FIND = """\
import importlib.util, json
spec = importlib.util.find_spec("torch")
print(json.dumps([spec.origin if spec else None]))
"""


@dataclass(frozen=True, slots=True)
class TrainingPython:
    """An interpreter with torch: its path, and the folder of the installed package ``torch``."""

    python: str
    torch: Path

    def run(self, code: str, *arguments: str) -> None:
        """Run a few lines of Python in it. Raises UsageError with the last line of its complaint."""
        status, _, complaint = _run([self.python, "-c", code, *arguments])
        if status != 0:
            last = (complaint.strip().splitlines() or ["no message"])[-1]
            raise UsageError(f"the drill's own step failed: {last}", where=self.python)


def training_python() -> TrainingPython:
    """This interpreter when it has torch, else the ``python`` or ``python3`` on PATH that has.

    Raises UsageError when none has.
    """
    candidates = [sys.executable, *(shutil.which(name) for name in ("python", "python3"))]
    tried: list[str] = []
    for candidate in candidates:
        if not candidate or candidate in tried:
            continue
        tried.append(candidate)
        torch = find_torch(candidate)
        if torch is not None:
            return TrainingPython(candidate, torch)
    raise UsageError(
        "no Python with torch was found to train in",
        where=", ".join(tried),
        remedy="install torch beside Veracity, or put a Python that has it first on PATH",
    )


def find_torch(python: str) -> Path | None:
    """The folder of the package ``torch`` that ``python`` would import; None when there is none."""
    status, answer, _ = _run([python, "-c", _FIND])
    if status != 0:
        return None
    try:
        (origin,) = json.loads(answer)
    except (ValueError, TypeError):
        return None
    if not isinstance(origin, str):
        return None
    folder = Path(origin).parent
    return folder if (folder / "__init__.py").is_file() else None


def _run(command: Sequence[str]) -> tuple[int, str, str]:
    """Exit status (-1: could not be started or did not end), standard output, standard error."""
    try:
        done = subprocess.run(
            command, env=dict(os.environ), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        return -1, "", str(error)
    return done.returncode, done.stdout, done.stderr
