"""Reference files that ``run`` is given: read once, before the launch, by the monitor and nobody else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ..core.digest import Digest
from ..core.errors import UsageError
from ..core.observation import ReferenceDeclared
from ..core.origin import monitor_origin
from ..detect.rules.update.reference.function import MAX_TEXT, parse

MAX_FILES = 16


def read_references(paths: Sequence[Path]) -> tuple[ReferenceDeclared, ...]:
    """The files, each found to be one; raises UsageError, naming file and line, for what is none.

    What is judged later is the text read here: a file that the job edits changes nothing.
    """
    if len(paths) > MAX_FILES:
        raise UsageError(f"{len(paths)} reference files are too many", remedy=f"name at most {MAX_FILES}")
    found = []
    for path in paths:
        found.append(declared(str(path), _read(path)))
    return tuple(found)


def declared(path: str, data: bytes) -> ReferenceDeclared:
    """What a file called ``path`` declares; raises UsageError when it holds no references."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError("a reference file is not UTF-8", where=path) from error
    parse(text, path)
    return ReferenceDeclared(monitor_origin(time.time_ns()), path, str(Digest.of(data)), text)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(4 * MAX_TEXT + 1)
    except OSError as error:
        raise UsageError(
            f"a reference file cannot be read: {error.strerror}",
            where=str(path),
            remedy="name a file with --optimizer-reference FILE",
        ) from error
    if len(data) > 4 * MAX_TEXT:
        raise UsageError(f"a reference file has at most {MAX_TEXT} characters", where=str(path))
    return data
