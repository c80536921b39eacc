"""The rows of results: one JSON line per case, appended, never rewritten."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Row = Mapping[str, object]
ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results"


def commit() -> str:
    """The last commit that changed the package, ``+`` behind it when its sources are edited since."""
    head = _git("log", "-1", "--format=%h", "--abbrev=10", "--", "src")
    return head + ("+" if _git("status", "--porcelain", "--", "src") else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """What the measurement ran on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def append(what: str, row: Row, folder: Path = RESULTS) -> None:
    """Add a row in one write, so that shards may append to one file."""
    folder.mkdir(exist_ok=True)
    line = (without_places(json.dumps(row, separators=(",", ":"))) + "\n").encode()
    fd = os.open(folder / f"{what}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def without_places(text: str) -> str:
    """``text`` with the folders of this machine replaced by what they are."""
    places = {str(ROOT): "<project>", sys.prefix: "<environment>", sys.base_prefix: "<python>"}
    places[tempfile.gettempdir()] = "<temporary>"
    # The longest first: an environment often lies within its project.
    for place in sorted(places, key=len, reverse=True):
        text = text.replace(place, places[place])
    return text


def rows(what: str, folder: Path = RESULTS) -> Iterator[dict[str, object]]:
    """All rows of one kind, oldest first; a line cut by a full disk is left out."""
    path = folder / f"{what}.jsonl"
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def latest(found: Iterable[Row], measured: Sequence[str]) -> list[Row]:
    """The last row of each case that was measured at one of these commits."""
    kept: dict[str, Row] = {}
    for row in found:
        if row.get("commit") in measured:
            kept[str(row["case"])] = row
    return list(kept.values())


def done(what: str, measured: str) -> set[str]:
    """The names of the cases that have a row of this commit."""
    return {str(row["case"]) for row in rows(what) if row.get("commit") == measured}
