"""Checkpoints as the ledgers of a home have them, for when its table does not say: read run by run.

The table in ``index.sqlite`` is derived, and whoever can write to the home can take rows out of it. A file
that it does not know is therefore looked for in the ledgers themselves, newest run first. They are read once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..core.digest import Digest
from ..core.errors import Error, ResourceLimitError
from ..core.observation import TensorDigest
from ..core.quantity import quantity
from ..ledger.blobs import Blobs
from ..ledger.entry import Entry
from ..ledger.reader import Reader

MAX_SECONDS = 10.0
MAX_RUNS = 2000
MAX_DESCRIPTION = 64 << 20
_MARK = b'"k":"checkpoint"'


class RecordedFiles:
    """``(digest, path, run, at, tensors)`` of every saved checkpoint in the ledgers of ``home``."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._rows: list[tuple[str, str, str, int, list[TensorDigest]]] | None = None
        self.incomplete = ""

    def rows(self) -> list[tuple[str, str, str, int, list[TensorDigest]]]:
        """All of them, those of the newest run first; read when first asked for.

        ``incomplete`` says afterwards why not everything could be searched.
        """
        if self._rows is None:
            self._rows = list(self._search())
        return self._rows

    def _search(self) -> Iterator[tuple[str, str, str, int, list[TensorDigest]]]:
        deadline = time.monotonic() + MAX_SECONDS
        try:
            runs = sorted((path for path in (self._home / "runs").iterdir() if path.is_dir()), reverse=True)
        except OSError:
            return
        for number, run in enumerate(runs):
            if number >= MAX_RUNS or time.monotonic() > deadline:
                self.incomplete = (
                    f"{quantity(len(runs) - number, 'older ledger was', 'older ledgers were')} not searched"
                )
                return
            try:
                yield from _of(run, deadline)
            except ResourceLimitError:
                self.incomplete = (
                    f"{quantity(len(runs) - number, 'ledger was', 'ledgers were')} not searched to their end"
                )
                return
            except (Error, OSError, ValueError):
                continue  # no ledger, or none that can be read: that run's own verification says so


def _of(run: Path, deadline: float) -> Iterator[tuple[str, str, str, int, list[TensorDigest]]]:
    blobs = Blobs(run / "blobs")
    with Reader(run / "ledger") as reader:
        for data in reader.entries():
            if time.monotonic() > deadline:
                raise ResourceLimitError("the search took too long", where=str(run))
            if _MARK not in data:
                continue
            entry = Entry.decode(data)
            digest, path, at = (entry.body.get(name) for name in ("digest", "path", "at"))
            if entry.kind != "checkpoint" or not (isinstance(digest, str) and isinstance(path, str)):
                continue
            tensors = _described(blobs, entry.body.get("tensors"))
            yield digest, path, run.name, at if isinstance(at, int) else 0, tensors


def _described(blobs: Blobs, digest: object) -> list[TensorDigest]:
    """The tensors, when their description was kept (it was not always) and is unaltered."""
    if not isinstance(digest, str):
        return []
    try:
        text = blobs.get(Digest.parse(digest), MAX_DESCRIPTION)
        return msgspec.json.decode(text, type=list[TensorDigest])
    except (Error, msgspec.DecodeError, RecursionError):
        return []
