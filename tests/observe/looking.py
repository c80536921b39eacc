"""Trees that are read again with a memory, in tests: what was changed a moment ago counts as settled."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from veracity.core.level import Level, level_of
from veracity.observe import remembering
from veracity.observe.mounts import KEEPS_CHANGE_TIMES, FileSystems
from veracity.observe.remembering import Again, reread_tree
from veracity.observe.tree import Reading
from veracity.seal import memory
from veracity.seal.memory import TreeMemory

SETTLES = 0.03
"""Seconds: longer than a tick of any kernel's clock, so that no change hides in the tick of a reading."""


def settle_soon(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let what was changed settle after a moment, and believe the times where the tests run."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        kind = FileSystems().kind(handle, os.fstat(handle).st_dev)
    finally:
        os.close(handle)
    # Nothing here is written through a mapping, and times on a container's file system will do.
    monkeypatch.setattr(remembering, "KEEPS_CHANGE_TIMES", frozenset({*KEEPS_CHANGE_TIMES, kind}))
    monkeypatch.setattr(memory, "SETTLES", SETTLES)
    monkeypatch.setattr(memory, "write_back_seconds", lambda: 0.0)


def settle() -> None:
    time.sleep(2 * SETTLES)


@dataclass
class Rereader:
    """One tree and the home that remembers it; ``nodes``: those that are kept already."""

    home: Path
    root: Path
    nodes: dict[str, bytes] = field(default_factory=dict)

    def read(self, level: str | Level = "stat", key: bytes = b"k" * 32) -> Reading:
        asked = level_of(level) if isinstance(level, str) else level
        with TreeMemory(self.home, self.root) as remembered:
            again = Again(asked, remembered, key, self.nodes.__contains__)
            return reread_tree(self.root, self.nodes.__setitem__, again)
