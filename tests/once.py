"""What is dear to make is made once per session, whatever the number of workers."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = "TESTS_SHARED"
"""The variable that names a folder which several sessions share; without it, each has its own."""


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder ``name`` of this session, filled by ``make`` for the first who asks. Not to be edited."""
    base = factory.getbasetemp()
    own = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return once_in(Path(os.environ.get(SHARED, own)), name, make)


def once_in(shared: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The folder ``name`` in ``shared``, filled by ``make`` when it is not there.

    The others wait. A failure of ``make`` is the next one's to repeat, in a folder that is empty again.
    """
    made = shared / name
    with (shared / f"{name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=shared))
            make(folder)
            # What is in it may know its own path, so it stays where it is.
            made.symlink_to(folder)
    return made.resolve()
