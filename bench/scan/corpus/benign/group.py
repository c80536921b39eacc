"""Benign files of one library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Group:
    """``make(folder, scratch)`` writes files into ``folder``, and uses ``scratch`` for what does not belong there.

    It raises ImportError when its library is not installed.
    """

    name: str
    library: str
    make: Callable[[Path, Path], None]
