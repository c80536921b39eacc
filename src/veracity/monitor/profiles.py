"""Files that say what earlier runs were like: ``<home>/profiles/<likeness>/<run-id>.json``.

They are derived from the record, once a run has held. Whoever can write to the home can edit them, so nothing
but a weak signal rests on them; what was read is noted in the ledger of the run that was compared.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from pathlib import Path

import msgspec

from ..core.likeness import LENGTH
from ..core.observation import EarlierRun, EarlierSeries
from ..core.profile import MAX_SERIES
from ..core.windows import WINDOWS
from ..ledger.files import write_private
from .accounts import recorded
from .home import is_folder

VERSION = 1
KEPT = 64
"""Runs of one likeness; the newest."""
MAX_LIKENESSES = 512
MAX_LISTED = 4096
MAX_TRIED = 128
MAX_BYTES = 1 << 17
MAX_NAME = 200
# exp of it is still a number.
MAX_MEAN = 700.0
_LIKENESS = re.compile(rf"[0-9a-f]{{{LENGTH}}}\Z")
_FILE = re.compile(r"(run-\d{8}-\d{6}-[0-9a-f]{6})\.json\Z")


@dataclass(frozen=True, slots=True)
class _Document:
    """What a file holds."""

    version: int
    likeness: str
    profile: EarlierRun


class Profiles:
    """The files of one home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "profiles"

    @recorded
    def read(self, likeness: str, *, apart_from: str) -> list[EarlierRun]:
        """Those of one likeness, the newest first. What is not as it was written is passed over."""
        folder = self._folder / likeness
        if not _LIKENESS.match(likeness) or not is_folder(folder):
            return []
        found: list[EarlierRun] = []
        for run in heapq.nlargest(MAX_TRIED, _runs_in(folder)):
            profile = _read(folder / f"{run}.json") if run != apart_from else None
            if profile is not None and (profile.likeness, profile.profile.run) == (likeness, run):
                found.append(profile.profile)
            if len(found) == KEPT:
                break
        return found

    @recorded
    def write(self, likeness: str, profile: EarlierRun) -> None:
        """Keep one more, and the newest of all. Raises OSError when the home cannot be written."""
        folder = self._folder / likeness
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = msgspec.json.encode(_Document(VERSION, likeness, profile))
        write_private(folder / f"{profile.run}.json", data + b"\n")
        runs = sorted(_runs_in(folder), reverse=True)
        for run in runs[KEPT:]:
            with contextlib.suppress(FileNotFoundError):
                (folder / f"{run}.json").unlink()
        self._make_room(keep=likeness)

    def _make_room(self, keep: str) -> None:
        """Contracts that were not trained for longest go."""
        with os.scandir(self._folder) as entries:
            names = [entry.name for entry in islice(entries, MAX_LISTED) if _LIKENESS.match(entry.name)]
        if len(names) <= MAX_LIKENESSES:
            return
        by_age = sorted(names, key=lambda name: (name == keep, (self._folder / name).lstat().st_mtime_ns))
        for name in by_age[:-MAX_LIKENESSES]:
            if is_folder(self._folder / name):
                shutil.rmtree(self._folder / name, ignore_errors=True)


def _runs_in(folder: Path) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in islice(entries, MAX_LISTED):
            match = _FILE.match(entry.name)
            if match:
                yield match.group(1)


def _read(path: Path) -> _Document | None:
    """A file's content, None when it is not one of ours. Follows no link and waits for no pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    if len(data) > MAX_BYTES:
        return None
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    series = document.profile.series
    sound = document.version == VERSION and 0 < len(series) <= MAX_SERIES and all(map(_is_sound, series))
    return document if sound else None


def _is_sound(series: EarlierSeries) -> bool:
    """Whether its windows are ascending and each has a mean that is a number."""
    windows, means = series.windows, series.means
    return (
        0 < len(windows) == len(means) <= WINDOWS
        and len(series.name) <= MAX_NAME
        and all(before < after for before, after in zip([-1, *windows], windows, strict=False))
        and windows[-1] < WINDOWS
        and all(isfinite(mean) and abs(mean) < MAX_MEAN for mean in means)
    )
