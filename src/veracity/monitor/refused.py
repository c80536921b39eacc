"""A start that was refused leaves a record: a run without steps, whose ledger says what stood against it.

It lies among the runs, is listed with them and is witnessed, verified and packed like them. So whoever tries
what is not approved until it passes, or until somebody looks away, is seen to have tried.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.canonical import Json
from ..core.errors import EvidenceError
from ..core.verdict import Outcome, Verdict
from ..ledger.blobs import Blobs
from ..ledger.files import write_private
from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey
from ..ledger.store import Ledger
from .folder import RunFolder, create_folder, write_document
from .home import MAX_REASON, REFUSED
from .opening import opening_entry, run_document
from .recorder import Recorder
from .witnessing import Witnessing

if TYPE_CHECKING:
    from .job import RunOptions

MAX_REASONS = 100


def record_refusal(
    command: Sequence[str], options: RunOptions, refused: Sequence[str], outcome: Outcome
) -> tuple[str, list[str]]:
    """Record that ``command`` was not started, and why; the run's id, and who did not cosign its record.

    ``options.sealed`` says how the seal stood; ``outcome`` is broken, or incomplete where all that stood
    against it was what could not be read. Raises UsageError for a home that cannot be written, EvidenceError
    when the record could not be.
    """
    folder = create_folder(options.home.absolute(), time.time_ns())
    try:
        _write(folder, command, options, refused, outcome)
    except BaseException:
        # Nothing was started: what is left of a record would only look like a run that somebody damaged.
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    witnessing = Witnessing(folder, options.witnesses, options.witness_policy)
    witnessing.start()
    return folder.run, witnessing.close()


def _write(
    folder: RunFolder, command: Sequence[str], options: RunOptions, refused: Sequence[str], outcome: Outcome
) -> None:
    signer = SigningKey.load_or_create(folder.home / KEY_FILE, KEY_NAME)
    key = secrets.token_bytes(32)
    said: list[Json] = [one[:MAX_REASON] for one in refused[:MAX_REASONS]]
    with Ledger.create(folder.ledger, f"{KEY_NAME}/{folder.run}", signer) as ledger:
        write_private(folder.verifier, signer.verifier.vkey.encode() + b"\n")
        recorder = Recorder(ledger, Blobs(folder.blobs))
        entry = {**opening_entry(folder, command, time.time_ns(), key, "", options), "refused": True}
        recorder.entry("run", entry)
        if options.sealed is not None:
            recorder.observed(options.sealed)
        at = time.time_ns()
        recorder.entry("refused", {"at": at, "by": str(os.getuid()), "reasons": said, "count": len(refused)})
        ended: dict[str, Json] = {"exit_code": None, "ended_at": at, "note": "not started"}
        recorder.judged(Verdict(outcome, tuple(refused)), {}, ended)
        recorder.commit(publish=True)
        if recorder.refused:
            raise EvidenceError(recorder.refusal, where=str(folder.path))
    document = run_document(entry, options.sealed)
    told: dict[str, Json] = {"verdict": REFUSED, "ended_at": at, "reason": said[0] if said else ""}
    write_document(folder.document, {**document, **told})
    folder.spool.rmdir()
