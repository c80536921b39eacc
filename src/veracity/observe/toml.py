"""TOML files: the one place that reads them, bounded."""

from __future__ import annotations

import sys
from pathlib import Path

from ..core.errors import EvidenceError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 64 << 20


def read_toml(path: Path, limit: int = MAX_BYTES) -> dict[str, object]:
    """The document in a file; raises EvidenceError when it cannot be read, is too large or is no TOML."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > limit:
        raise EvidenceError(f"{path} is larger than {limit >> 10:,} KiB")
    try:
        return dict(tomllib.loads(data.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{path} is not TOML: {str(error)[:200]}") from error
