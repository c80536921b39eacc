"""The ledger as anybody may read it: while its writer runs, after a crash, on read-only media, keyless."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from ..core.errors import EvidenceError, UsageError
from . import audit
from . import journal as journals
from .journal import Journal, read_journal
from .note import NoteVerifier
from .shelf import Shelf, read_head
from .tile import WIDTH, width_at
from .tree_head import TreeHead

_ATTEMPTS = 5


class Reader:
    """What the ledger in ``folder`` held when this was made. Close it, or use ``with``.

    Raises EvidenceError when there is no ledger, or none that can be read. Reading verifies nothing by
    itself: see ``verify_tree``.
    """

    def __init__(self, folder: Path) -> None:
        self._shelf = Shelf(folder)
        self._published, self._journal = _read_both(folder)
        head = self._published if self._journal is None else self._journal.head
        if head is None:
            raise EvidenceError("there is no ledger", where=str(folder))
        self._head = head

    @property
    def tree_head(self) -> TreeHead:
        """The newest signed head, published or not. Its signature is not verified yet."""
        return self._head

    @property
    def size(self) -> int:
        """The number of committed entries."""
        return self._head.size

    @property
    def unpublished(self) -> int:
        """How many committed entries the ``checkpoint`` file does not cover yet.

        They stay behind when the writer was killed; a writer that opens the ledger publishes them.
        """
        published = 0 if self._published is None else self._published.size
        return max(0, self.size - published)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The entries ``start`` to ``stop`` - 1, to the end by default.

        Raises UsageError for a range the ledger does not have, EvidenceError when an entry is missing.
        """
        stop = self.size if stop is None else stop
        if not 0 <= start <= stop <= self.size:
            raise UsageError(f"entries {start} to {stop} are not in a ledger of {self.size}")
        base = self.size if self._journal is None else self._journal.base
        yield from self._from_bundles(start, min(stop, base))
        if self._journal is not None:
            yield from _from_journal(self._journal, max(start, base), stop)

    def verify_tree(self, verifier: NoteVerifier) -> None:
        """Hash every entry again and hold it against tiles, tree and what ``verifier`` signed.

        Raises VerificationError or EvidenceError that names the entry, or the narrowest range known.
        """
        audit.verify_tree(self._shelf, self._published, self._journal, verifier)

    def close(self) -> None:
        """Let go of the journal; closing twice is no error."""
        if self._journal is not None:
            os.close(self._journal.handle)
            self._journal = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _from_bundles(self, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            index, skip = divmod(start, WIDTH)
            # Below the journal's base bundles are full; only without a journal is the last one partial.
            entries = self._shelf.bundle(index, width_at(self.size, 0, index))
            yield from entries[skip : stop - index * WIDTH]
            start = (index + 1) * WIDTH


def _from_journal(journal: Journal, start: int, stop: int) -> Iterator[bytes]:
    position = max(0, bisect_right(journal.batches, start, key=lambda batch: batch.first) - 1)
    for batch in journal.batches[position:]:
        if batch.first >= stop:
            return
        if batch.stop > start:
            entries = journal.entries(batch)
            yield from entries[max(0, start - batch.first) : stop - batch.first]


def _read_both(folder: Path) -> tuple[TreeHead | None, Journal | None]:
    """The published head and the journal, of one moment.

    The head is read first, so a journal read after it covers it. A writer that settles in between begins a
    journal behind a newer head: then both are read again. What still disagrees does so on disk.
    """
    for _ in range(_ATTEMPTS):
        published = read_head(folder)
        journal = _find_journal(folder)
        if journal is None or journal.settled <= (0 if published is None else published.size):
            return published, journal
        os.close(journal.handle)
    return read_head(folder), _find_journal(folder)


def _find_journal(folder: Path) -> Journal | None:
    """The journal, or None in a copy that has only the published files."""
    try:
        handle = os.open(folder / journals.FILE_NAME, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EvidenceError(f"the journal cannot be read: {error.strerror}", where=str(folder)) from error
    try:
        return read_journal(handle)
    except OSError as error:
        os.close(handle)
        raise EvidenceError(f"the journal cannot be read: {error.strerror}", where=str(folder)) from error
    except BaseException:
        os.close(handle)
        raise
