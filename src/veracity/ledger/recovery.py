"""Opening a ledger again: rebuild the tree from the journal and hold it against every signed head."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import EvidenceError, VerificationError
from ..core.quantity import quantity
from . import journal as journals
from .audit import check_heads
from .journal import Journal
from .merkle import leaf_hash
from .note import NoteVerifier
from .shelf import read_head
from .tiling import Tiling
from .tree_head import FILE_NAME, TreeHead


def replay(folder: Path, journal: Journal, verifier: NoteVerifier) -> Tiling:
    """The tree after the last whole commit of ``journal``.

    What stands behind that commit is a torn write, never acknowledged. Raises VerificationError when
    anything in the journal or the published head is not what ``verifier`` signed, EvidenceError when the
    published head is gone although entries were settled under it.
    """
    journal.head.verify(verifier)
    journal.verify_tail(verifier, alone=True)
    published = read_head(folder)
    if published is not None:
        published.verify(verifier)
        check_heads(published, journal)
    elif journal.base:
        raise EvidenceError("the published tree head is gone", where=str(folder / FILE_NAME))
    return _rebuild(folder, journal, published)


def _rebuild(folder: Path, journal: Journal, published: TreeHead | None) -> Tiling:
    tiling = Tiling(journal.base, journal.upper)
    unmatched = published
    for batch in journal.batches:
        for entry in journal.entries(batch):
            tiling.append(entry, leaf_hash(entry))
        root = tiling.root()
        if batch.head.root != root:
            raise VerificationError(
                f"entries {batch.first} to {batch.stop - 1} are not those their commit signed",
                where=str(folder / journals.FILE_NAME),
            )
        if published is not None and (published.size, published.root) == (batch.stop, root):
            unmatched = None
    if unmatched is not None:
        raise VerificationError(
            f"the published tree head over {quantity(unmatched.size, 'entry')} is none of the journal's",
            where=str(folder / FILE_NAME),
        )
    return tiling
