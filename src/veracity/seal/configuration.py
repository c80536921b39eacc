"""Where the configuration stands: ``veracity.toml``, or ``[tool.veracity]`` of a ``pyproject.toml``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..core.errors import Error, EvidenceError, UsageError
from ..observe.toml import read_toml

FILE_NAME = "veracity.toml"
PROJECT = "pyproject.toml"
MAX_FILE = 1 << 20
KNOWN = ("policy", "scan")


def tables_in(
    home: Path, folder: Path, given: Path | None = None
) -> Iterator[tuple[Path, Mapping[str, object]]]:
    """The tables of the file that is ``given``; else of each there is, in the order in which they count.

    The home's comes before that of a project: who may write the code is not to say who approves it. Raises
    UsageError when a file cannot be read, everybody can write it, or it has an unknown key.
    """
    places = (home / FILE_NAME, folder / FILE_NAME, folder / PROJECT)
    for path in [given] if given is not None else filter(os.path.lexists, places):
        yield path, _tables(path)


def wrong(path: Path, error: Error) -> UsageError:
    """The error of a configuration that says what cannot be."""
    said = error.diagnostics()
    return UsageError(f"the configuration is wrong: {said.what}", where=str(path), remedy=said.remedy)


def _tables(path: Path) -> Mapping[str, object]:
    try:
        if path.stat().st_mode & 0o002:
            raise UsageError("everybody can write this file", remedy=f"chmod o-w {path}, and read it again")
        value: object = read_toml(path, MAX_FILE)
        if path.name == PROJECT and isinstance(value, dict):
            tools = value.get("tool", {})
            value = tools.get("veracity", {}) if isinstance(tools, dict) else {}
        if not isinstance(value, dict):
            raise UsageError("[tool.veracity] is no table")
        unknown = next((name[:80] for name in sorted(value) if name not in KNOWN), None)
        if unknown is not None:
            raise UsageError(f"unknown key {unknown!r}", remedy=f"known: {', '.join(KNOWN)}")
    except OSError as error:
        raise UsageError(f"the configuration cannot be read: {error.strerror}", where=str(path)) from error
    except (EvidenceError, UsageError) as error:
        raise wrong(path, error) from error
    return value
