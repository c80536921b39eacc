"""Reading a part of a seal: in full, or at a level at which a home's memory answers for files."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UsageError
from ..core.level import Level
from ..core.tree import Keep
from ..observe.remembering import Again, reread_tree
from ..observe.tree import Asked, Reading, read_tree
from .memory import TreeMemory, cache_of


@dataclass(frozen=True, slots=True)
class Look:
    """At which level is read, and the home that remembers what was read."""

    level: Level
    home: Path


def read_part(
    path: Path,
    keep: Keep,
    look: Look | None,
    holds: Callable[[str], bool],
    asked: Asked,
    skip: Sequence[Path] = (),
) -> Reading:
    """Read what lies at ``path``: all of it without a ``look``, and then nothing is remembered.

    ``holds``: whether the nodes of a digest are kept already. Raises what reading raises, and UsageError when
    the home's memory lies in what is read, or others can write it.
    """
    if look is None:
        return read_tree(
            path,
            keep,
            progress=asked.progress,
            skip=skip,
            seen=asked.seen,
            content=asked.content,
            named=asked.named,
        )
    real, cache = os.path.realpath(path), os.path.realpath(cache_of(look.home))
    if f"{cache}/".startswith(f"{real.rstrip('/')}/"):
        raise UsageError(
            "the home lies in what is read, so that remembering would change it",
            where=cache,
            remedy="choose a home elsewhere with --home DIR, or give no --level",
        )
    with TreeMemory(look.home, path) as memory:
        again = Again(look.level, memory, secrets.token_bytes(32), holds)
        return reread_tree(path, keep, again, asked, skip)
