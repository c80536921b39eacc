"""Which checkpoint came from which run: every recorded file digest of a home, looked up by digest or path.

The table is derived. What counts is the entry in the run's ledger that a row points to; a row whose entry
does not say the same is ignored, and what the table does not know is looked for in the ledgers themselves.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec

from ..core.digest import Digest
from ..core.errors import Error, EvidenceError
from ..core.observation import TensorDigest
from ..ledger.entry import Entry
from ..ledger.reader import Reader
from .accounts import recorded as by_the_recorder
from .recordedfiles import RecordedFiles

FILE_NAME = "index.sqlite"
MAX_MATCHES = 50
MAX_UNCOMMITTED = 4096
# Each stands for 100,000 instructions: somebody may have put a view there that never ends.
MAX_TURNS = 1000
_Row: TypeAlias = tuple[str, str, str, int, int, str]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A checkpoint file that some run recorded when it was saved."""

    digest: str
    path: str
    run: str
    at: int
    tensors: list[TensorDigest]


def described(tensors: list[TensorDigest]) -> str:
    """A checkpoint's tensors as the table keeps them."""
    return json.dumps(msgspec.to_builtins(tensors), sort_keys=True)


def described_digest(text: str) -> str:
    """What the ledger's entry says of them, so that the table cannot say anything else."""
    return str(Digest.of(text.encode()))


class Lineage:
    """The checkpoint table of one home."""

    def __init__(self, home: Path, current: str) -> None:
        self._home = home
        self._current = current
        self._path = home / FILE_NAME
        self._files = RecordedFiles(home)
        self._uncommitted: dict[int, tuple[str, str, str]] = {}

    @by_the_recorder
    def remember(self, recorded: Recorded, entry: int) -> None:
        """Add a saved checkpoint, recorded as entry number ``entry`` of its run's ledger."""
        path = _spelled(recorded.path)
        tensors = described(recorded.tensors)
        row = (recorded.digest, path, recorded.run, recorded.at, entry, tensors)
        while len(self._uncommitted) >= MAX_UNCOMMITTED:
            del self._uncommitted[next(iter(self._uncommitted))]
        self._uncommitted[entry] = (recorded.digest, path, described_digest(tensors))
        try:
            with closing(self._open()) as database, database:
                database.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    @by_the_recorder
    def by_digest(self, digest: str, *, search: bool = True) -> list[Recorded]:
        """Records of a file with this digest, newest first. Raises EvidenceError.

        ``search``: in the ledgers too when the table has none; a file just saved is seldom known to any.
        """
        found = list(self._find("digest = ?", digest))
        return found or (self._in_ledgers(lambda one: one.digest == digest) if search else [])

    @by_the_recorder
    def by_path(self, path: str) -> list[Recorded]:
        """Records of a file saved at this path, newest first. Raises EvidenceError."""
        spelled = _spelled(path)
        found = list(self._find("path = ?", spelled))
        return found or self._in_ledgers(lambda one: _spelled(one.path) == spelled)

    def _in_ledgers(self, wanted: Callable[[Recorded], bool]) -> list[Recorded]:
        """Records of the whole home; raises EvidenceError when none is found and not all were searched."""
        found = [one for one in (Recorded(*row) for row in self._files.rows()) if wanted(one)]
        if not found and self._files.incomplete:
            raise EvidenceError(
                "a file that the table does not know was not found",
                where=str(self._home / "runs"),
                remedy=self._files.incomplete,
            )
        return found

    def _find(self, condition: str, value: str) -> Iterator[Recorded]:
        query = f"SELECT * FROM checkpoint WHERE {condition} ORDER BY at DESC LIMIT {MAX_MATCHES}"  # noqa: S608
        try:
            with closing(self._open()) as database:
                rows = database.execute(query, (value,)).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        for row in rows:
            try:
                digest, path, run, at, entry, tensors = msgspec.convert(row, type=_Row)
                described = msgspec.json.decode(tensors, type=list[TensorDigest])
            except (msgspec.DecodeError, RecursionError):
                continue  # not a row of ours: the table is derived and anybody may have written to it
            if self._is_in_ledger(run, entry, (digest, path, described_digest(tensors))):
                yield Recorded(digest, path, run, at, described)

    def _is_in_ledger(self, run: str, index: int, said: tuple[str, str, str]) -> bool:
        """Whether that entry says the same digest, path and tensors as the row."""
        if "/" in run or run.startswith("."):
            return False
        try:
            with Reader(self._home / "runs" / run / "ledger") as reader:
                if index >= reader.size:
                    # The run that goes on now has appended it and not committed yet.
                    return run == self._current and self._uncommitted.get(index) == said
                entry = Entry.decode(next(iter(reader.entries(index, index + 1))))
        except (Error, OSError, ValueError):
            return False
        return (
            entry.kind == "checkpoint"
            and (
                str(entry.body.get("digest")),
                _spelled(str(entry.body.get("path"))),
                str(entry.body.get("tensors")),
            )
            == said
        )

    def _open(self) -> sqlite3.Connection:
        try:
            database = sqlite3.connect(self._path, timeout=5.0)
            turns = itertools.count()
            database.set_progress_handler(lambda: next(turns) >= MAX_TURNS, 100_000)
            database.execute(
                "CREATE TABLE IF NOT EXISTS checkpoint (digest TEXT, path TEXT, run TEXT, at INTEGER,"
                " entry INTEGER, tensors TEXT, PRIMARY KEY (digest, path, run))"
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return database

    def _unusable(self, error: sqlite3.Error) -> EvidenceError:
        return EvidenceError(
            f"the table of checkpoints cannot be used: {error}",
            where=str(self._path),
            remedy="delete it: it is derived from the ledgers",
        )


def _spelled(path: str) -> str:
    """``path`` as SQLite can hold it: file names need not be valid Unicode."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
