"""The ledger as its one writer sees it: append, commit, and nothing that was committed is ever lost.

A commit writes everything since the last one, with the new signed tree head, to the journal and syncs it
once; then it is durable. Full tiles follow without syncing: after a crash, opening the ledger writes them
again from the journal. Publishing syncs all tiles and then replaces the ``checkpoint`` file, which therefore
never claims more than what is on disk. When the journal has grown long, and at the end, it begins anew.

Behind its last commit the journal has some zeros while it is written to. A commit that replaces zeros leaves
length and blocks of the file as they are, so that to sync it takes one write and not a second one, of the
file system's own journal.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from ..core.errors import Error, EvidenceError, ResourceLimitError, UsageError
from . import journal as journals
from .files import Files, SyncError
from .journal import MAX_BATCH, encode_batch, encode_header, read_journal
from .merkle import leaf_hash
from .note import NoteSigner
from .recovery import replay
from .shelver import DRAFT, Shelver, unwritable
from .tile import MAX_ENTRY, encode_bundle
from .tiling import Tiling
from .tree_head import FILE_NAME, TreeHead, check_origin

JOURNAL_LIMIT = 64 << 20
ROOM = 64 << 10
"""Bytes of zeros that are written behind a commit for those after it: a hundred small ones or so."""
_LOCK = "lock"
# Set while a call changes anything. An exception from outside (Ctrl-C, no memory) leaves it set; then what
# is in memory may be half of two states: only the disk is to be believed.
_HALFWAY = "an earlier call was interrupted"


class Ledger:
    """An append-only record in a folder. Make one with ``create`` or ``open``; close it, or use ``with``.

    Not for use by several threads at once. A crash between two calls loses what was appended and not
    committed, nothing else.
    """

    def __init__(self, folder: Path, signer: NoteSigner, files: Files, journal_limit: int) -> None:
        """For ``create`` and ``open`` only; takes the lock."""
        self._folder = folder
        self._signer = signer
        self._files = files
        self._journal_limit = journal_limit
        self._lock = _take_lock(folder)
        self._journal = -1
        self._journal_length = 0
        self._journal_room = 0  # bytes of zeros behind it
        self._journal_begun = 0
        self._journal_base = 0
        self._tiling = Tiling()
        self._batch = bytearray()
        self._batch_count = 0
        self._head = TreeHead("", 0, b"", b"")
        self._shelver = Shelver(folder, files)
        self._stopped = ""

    @classmethod
    def create(
        cls,
        folder: Path,
        origin: str,
        signer: NoteSigner,
        *,
        files: Files | None = None,
        journal_limit: int = JOURNAL_LIMIT,
    ) -> Ledger:
        """A new, empty ledger called ``origin``.

        ``journal_limit``: bytes of journal after which a commit settles. Raises UsageError when the folder
        holds a ledger, EvidenceError when it cannot be written.
        """
        check_origin(origin)
        files = files or Files()
        try:
            files.make_folder(folder)
        except OSError as error:
            raise unwritable(error, folder) from error
        ledger = cls(folder, signer, files, journal_limit)
        try:
            for name in (journals.FILE_NAME, FILE_NAME, "tile"):
                if os.path.lexists(folder / name):
                    raise UsageError("there is a ledger already", where=str(folder))
            ledger._head = TreeHead.sign(origin, 0, ledger._tiling.root(), signer)
            ledger._swap_journal(ledger._draft_journal())
            files.sync([folder.parent])
            ledger._shelver.publish(ledger._tiling, ledger._head)
        except OSError as error:
            ledger._release()
            raise unwritable(error, folder) from error
        except BaseException:
            ledger._release()
            raise
        return ledger

    @classmethod
    def open(
        cls,
        folder: Path,
        signer: NoteSigner,
        *,
        files: Files | None = None,
        journal_limit: int = JOURNAL_LIMIT,
    ) -> Ledger:
        """The ledger in ``folder``, repaired if its last writer crashed.

        Raises UsageError while another process writes to it, EvidenceError when it cannot be read or
        written, VerificationError when it is not what ``signer`` signed.
        """
        if not os.path.lexists(folder / journals.FILE_NAME):
            raise EvidenceError("there is no ledger that can be continued", where=str(folder))
        ledger = cls(folder, signer, files or Files(), journal_limit)
        try:
            ledger._recover()
        except OSError as error:
            ledger._release()
            raise unwritable(error, folder) from error
        except BaseException:
            ledger._release()
            raise
        return ledger

    @property
    def size(self) -> int:
        """The number of entries, those not committed yet included."""
        return self._tiling.size

    @property
    def head(self) -> TreeHead:
        """The tree head of the last commit: what is durable."""
        return self._head

    @property
    def origin(self) -> str:
        """What the ledger is called in its tree heads."""
        return self._head.origin

    def root(self) -> bytes:
        """The root over all entries, those not committed yet included."""
        return self._tiling.root()

    def append(self, entry: bytes) -> int:
        """Add an entry and return its index. It is durable once ``commit`` returned.

        Raises ResourceLimitError when the entry is longer than 65,535 bytes, or when more than 64 MiB wait
        for a commit.
        """
        self._require_open()
        length = len(entry)
        if length > MAX_ENTRY:
            raise ResourceLimitError(f"an entry of {length} bytes is too long (at most {MAX_ENTRY})")
        if len(self._batch) + 2 + length > MAX_BATCH:
            raise ResourceLimitError("too much is waiting for a commit", remedy="commit more often")
        self._stopped = _HALFWAY
        self._batch += length.to_bytes(2, "big")
        self._batch += entry
        self._batch_count += 1
        self._tiling.append(entry, leaf_hash(entry))
        self._stopped = ""
        return self._tiling.size - 1

    def commit(self, *, publish: bool = False) -> TreeHead:
        """Make everything appended so far durable with one sync; returns the signed head over it.

        With ``publish``, partial tiles and the ``checkpoint`` file are written as well. Raises EvidenceError
        when the disk refuses: nothing is lost, and where the message does not say that the ledger must be
        opened anew, ``commit`` can be called again. ``head`` tells how much is durable.
        """
        self._require_open()
        with self._writing():
            if self._batch_count:
                self._append_batch()
            self._shelver.write_full(self._tiling)
            if publish:
                self._shelver.publish(self._tiling, self._head)
            if self._journal_length > self._journal_limit and self._tiling.base > self._journal_base:
                self._settle()
        return self._head

    def close(self) -> None:
        """Commit, publish and settle; then let go. Raises EvidenceError as ``commit`` does.

        The lock is released even then. Where the ledger must be opened anew, nothing is written. Closing
        twice is no error.
        """
        if self._lock < 0:
            return
        try:
            if not self._stopped:
                self.commit(publish=True)
                if self._journal_length > self._journal_begun:
                    with self._writing():
                        self._settle()
        finally:
            self._release()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- writing -----------------------------------------------------------------------------------

    def _append_batch(self) -> None:
        head = TreeHead.sign(self.origin, self._tiling.size, self._tiling.root(), self._signer)
        data = encode_batch(self._batch_count, self._batch, head.signed)
        length, room = len(data), self._journal_room - len(data)
        if room < 0:
            # A long commit would not be followed by enough others that gain from it.
            room = ROOM if length < ROOM else 0
            data += bytes(room)
        try:
            self._files.write_at(self._journal, data, self._journal_length)
        except OSError:
            self._cut_journal()
            raise
        self._files.sync_data(self._journal)
        self._journal_length += length
        self._journal_room = room
        self._head = head
        self._batch.clear()
        self._batch_count = 0

    def _cut_journal(self) -> None:
        """Remove what a failed write left, so that the next commit follows the last good one."""
        self._journal_room = 0
        try:
            self._files.truncate(self._journal, self._journal_length)
        except OSError:
            self._stopped = "the journal ends in a commit that could not be written whole"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Tell a disk that refused, after which one can go on, from one that failed to keep what it took."""
        self._stopped = _HALFWAY
        try:
            yield
        except SyncError as error:
            self._stopped = "the disk failed to keep what was written"
            raise self._stop() from error
        except (OSError, Error) as error:
            if self._stopped == _HALFWAY and self._journal >= 0:
                self._stopped = ""
            if isinstance(error, OSError):
                raise unwritable(error, self._folder) from error
            raise
        self._stopped = ""

    def _settle(self) -> None:
        """Publish, then begin a new journal that holds only the entries in no full bundle."""
        self._shelver.publish(self._tiling, self._head)
        self._swap_journal(self._draft_journal())

    def _draft_journal(self) -> int:
        """Write the new journal and return its length."""
        entries = self._tiling.open_entries
        data = encode_header(self._tiling.base, self._tiling.upper)
        data += encode_batch(len(entries), encode_bundle(entries), self._head.signed)
        self._files.write(self._folder / DRAFT, data)
        return len(data)

    def _swap_journal(self, length: int) -> None:
        """Put the draft in the journal's place, durably, and go on in it."""
        path = self._folder / journals.FILE_NAME
        draft = self._folder / DRAFT
        self._files.sync([draft])
        self._files.rename(draft, path)
        # From here on the old journal has no name: to go on in it would lose what follows.
        self._close_journal()
        self._files.sync([self._folder])
        self._journal = _open_journal(path)
        self._journal_length = self._journal_begun = length
        self._journal_room = 0
        self._journal_base = self._tiling.base

    # --- opening and letting go --------------------------------------------------------------------

    def _recover(self) -> None:
        self._journal = _open_journal(self._folder / journals.FILE_NAME)
        journal = read_journal(self._journal)
        self._tiling = replay(self._folder, journal, self._signer.verifier)
        if journal.length > journal.end:
            self._files.truncate(self._journal, journal.end)
            self._files.sync_data(self._journal)
        self._journal_length = journal.end
        self._journal_begun = journal.begun
        self._journal_base = journal.base
        self._head = journal.head
        self._shelver.write_full(self._tiling)
        self._shelver.publish(self._tiling, self._head)

    def _require_open(self) -> None:
        if self._stopped:
            raise self._stop()
        if self._journal < 0:
            raise UsageError("the ledger is closed", where=str(self._folder))

    def _stop(self) -> EvidenceError:
        return EvidenceError(
            f"{self._stopped}: the ledger must be opened anew",
            where=str(self._folder),
            remedy="check the disk; what was committed before is safe",
        )

    def _close_journal(self) -> None:
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    def _release(self) -> None:
        self._close_journal()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _take_lock(folder: Path) -> int:
    """A descriptor that holds the writer's lock until it is closed, also by a crash."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EvidenceError(
            f"the ledger cannot be opened for writing: {error.strerror}", where=str(folder)
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise UsageError(
            "another process writes to this ledger",
            where=str(folder),
            remedy="wait until it ends; reading works meanwhile",
        ) from error
    return handle


def _open_journal(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise EvidenceError("there is no ledger that can be continued", where=str(path.parent)) from error
