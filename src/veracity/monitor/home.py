"""The home: where runs are kept, and how a run is found by its name.

``<home>/runs/<run-id>/run.json`` is derived data for lists; the ledger beside it is the truth. A run
directory may have been edited or half deleted by anybody with access to it, so what cannot be read is listed
as ``unreadable`` and stops nobody from reading the others.
"""

from __future__ import annotations

import difflib
import heapq
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ..core.errors import UsageError
from ..core.verdict import Outcome

LATEST = "latest"
UNFINISHED = "unfinished"
UNREADABLE = "unreadable"
REFUSED = "refused"
MAX_LISTED = 10_000
MAX_DOCUMENT = 1 << 20
MAX_REASON = 500

_RUN = re.compile(r"run-(\d{8}-\d{6})-[0-9a-f]{6}\Z", re.ASCII)
_VERDICTS = frozenset({REFUSED, *(outcome.value for outcome in Outcome)})
_NANOSECONDS = 10**9
_LATEST_TIME = 2**63


@dataclass(frozen=True, slots=True)
class RunListing:
    """One run as a list shows it.

    ``started_at`` is in ns since the epoch. ``verdict`` is held, broken, incomplete, ``unfinished`` while
    there is none, ``refused`` when it was not started, or ``unreadable`` when ``run.json`` is missing,
    edited or not a file; then ``command`` is empty and ``started_at`` is what the id says. ``override``: it
    was started by ``--unsafe-override``; ``reason``: the first one why it was not started.
    """

    run: str
    started_at: int
    command: tuple[str, ...]
    verdict: str
    folder: Path
    override: bool = False
    reason: str = ""


class Home:
    """A home by its path. Nothing is created or written here."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def runs_folder(self) -> Path:
        """Where the run directories are."""
        return self.path / "runs"

    def runs(self) -> list[RunListing]:
        """The newest runs (at most :data:`MAX_LISTED`), newest first; a home that is not there has none.

        Raises OSError when the home exists and cannot be read.
        """
        newest = heapq.nlargest(MAX_LISTED, self._ids())
        listings = [_listing(self.runs_folder / run) for run in newest]
        # Ids hold seconds; runs of one second are told apart by what their documents say.
        return sorted(listings, key=lambda one: (_stamp(one.run), one.started_at, one.run), reverse=True)

    def resolve(self, name: str) -> Path:
        """The run directory called ``name``: an id, a prefix only one id has, or ``latest``.

        Raises UsageError naming the runs that are near when there is no such run or more than one, and when
        what has the name is not a directory.
        """
        folder = self._latest() if name == LATEST else self._by_prefix(name)
        if not is_folder(folder):
            raise UsageError(
                "this is not a run directory but a link or a file",
                where=str(folder),
                remedy="a run is never moved or linked: find out who did it",
            )
        return folder

    def _latest(self) -> Path:
        listings = self.runs()
        if listings:
            return listings[0].folder
        raise UsageError(
            "there is no run yet",
            where=str(self.path),
            remedy="make one with `veracity run -- CMD`, or name another home with --home DIR",
        )

    def _by_prefix(self, name: str) -> Path:
        ids = sorted(self._ids(), reverse=True)
        matches = [run for run in ids if name and (run.startswith(name) or run[4:].startswith(name))]
        if len(matches) == 1:
            return self.runs_folder / matches[0]
        if matches:
            raise UsageError(
                f"{name!r} names {len(matches)} runs",
                where=str(self.path),
                remedy=f"write more of the id: {', '.join(matches[:5])}{' …' if len(matches) > 5 else ''}",
            )
        near = difflib.get_close_matches(name[:64], ids[:500], n=3, cutoff=0.6) or ids[:3]
        raise UsageError(
            f"there is no run {name[:200]!r}",
            where=str(self.path),
            remedy=f"did you mean {' or '.join(near)}?" if near else "this home has no run yet",
        )

    def _ids(self) -> Iterator[str]:
        try:
            entries = os.scandir(self.runs_folder)
        except FileNotFoundError:
            return
        except NotADirectoryError as error:
            raise UsageError(
                "the home is not a directory", where=str(self.path), remedy="name another with --home DIR"
            ) from error
        with entries:
            for entry in entries:
                if _RUN.match(entry.name):
                    yield entry.name


def is_folder(path: Path) -> bool:
    """Whether it is one and no link, which could lead to a directory that somebody else controls."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _stamp(run: str) -> str:
    match = _RUN.match(run)
    return match.group(1) if match else ""


def _listing(folder: Path) -> RunListing:
    document = _read_document(folder)
    found = _listing_of(folder, document) if document is not None else None
    if found is not None:
        return found
    return RunListing(folder.name, _time_of(folder.name), (), UNREADABLE, folder)


def _read_document(folder: Path) -> Mapping[str, object] | None:
    """``run.json`` as a mapping, None when it is not one. Follows no link and waits for no pipe."""
    if not is_folder(folder):
        return None
    try:
        descriptor = os.open(folder / "run.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(MAX_DOCUMENT + 1)
    except OSError:
        return None
    if len(data) > MAX_DOCUMENT:
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _listing_of(folder: Path, document: Mapping[str, object]) -> RunListing | None:
    run, started_at = document.get("run"), document.get("started_at")
    command, verdict = document.get("command"), document.get("verdict")
    if run != folder.name or isinstance(started_at, bool) or not isinstance(started_at, int):
        return None
    if not 0 <= started_at < _LATEST_TIME or not isinstance(command, list):
        return None
    words = tuple(word for word in command if isinstance(word, str))
    if len(words) != len(command):
        return None
    override = document.get("override") is True
    if verdict is None:
        return RunListing(folder.name, started_at, words, UNFINISHED, folder, override)
    if not isinstance(verdict, str) or verdict not in _VERDICTS:
        return None
    reason = document.get("reason")
    said = reason[:MAX_REASON] if isinstance(reason, str) and verdict == REFUSED else ""
    return RunListing(folder.name, started_at, words, verdict, folder, override, said)


def _time_of(run: str) -> int:
    """The time in a run's id, in ns since the epoch; 0 when its digits are no date."""
    try:
        moment = datetime.strptime(_stamp(run), "%Y%m%d-%H%M%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return 0
    return max(0, int(moment.timestamp())) * _NANOSECONDS
