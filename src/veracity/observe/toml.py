"""TOML files: the one place that reads them, bounded.

The parser keeps every prefix of a dotted key, so a key of a hundred thousand parts takes gigabytes. How many
dots stand in one line is therefore bounded before it is asked.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from ..core.errors import EvidenceError, ResourceLimitError

MAX_BYTES = 64 << 20
USUAL_DOTS = 16
MAX_SQUARES = 20_000_000
"""The sum of the squares of the dots of lines that have more than usual: some 100 MB of prefixes."""


def read_toml(path: Path, limit: int = MAX_BYTES) -> dict[str, object]:
    """What a TOML 1.0 file of at most ``limit`` bytes says.

    Raises EvidenceError when it cannot be read or is none, ResourceLimitError when it is longer, or made so
    that reading it would take very much more memory than it has bytes.
    """
    return parse_toml(_bytes_of(path, limit), str(path))


def parse_toml(data: bytes, where: str) -> dict[str, object]:
    """What the bytes of a TOML 1.0 file say; raises as :func:`read_toml`."""
    dots = (line.count(b".") for line in data.split(b"\n"))
    if sum(count**2 for count in dots if count > USUAL_DOTS) > MAX_SQUARES:
        raise ResourceLimitError(f"the names in {where} have too many parts")
    # Most commands read no TOML, and their start would pay for it.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return dict(tomllib.loads(data.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{where} is not TOML: {str(error)[:200]}") from error


def _bytes_of(path: Path, limit: int) -> bytes:
    try:
        # Without O_NONBLOCK, a named pipe in the file's place would hold the reader for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise EvidenceError(f"{path} is not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise ResourceLimitError(f"{path} is larger than {limit:,} bytes")
    return data
