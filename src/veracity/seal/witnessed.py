"""The log of approvals before its witnesses: nobody who owns the home can cut it back unseen.

A cosignature that was kept proves that a log was seen once, and an earlier one with a revocation less was
seen, too. So witnesses are asked anew whenever it matters: one that has seen more entries than there are
says so. What they sign is kept beside the log as ``cosigned``, for those who cannot reach them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import Error, TransportError, VerificationError
from ..core.quantity import quantity
from ..ledger.files import write_private
from ..ledger.keys import PublicKey
from ..ledger.note import parse_note
from ..ledger.tree_head import TreeHead
from ..ledger.witness.asking import KnownWitness, ask
from ..ledger.witness.cosigned import Record, Witnessed, hold_against, read_cosigned, write_cosigned
from ..ledger.witness.policy import Policy, PolicyWitness
from .approvals import Log, log_folder, origin_of, read_log

COSIGNED = "cosigned"
TRIES = 4
ROUND_SECONDS = 25.0
MAX_KEPT = 64


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of asking one witness: its cosignature on the log's head, or why there is none."""

    witness: PolicyWitness
    head: TreeHead | None
    error: Error | None = None


def ask_witnesses(home: Path, log: Log, key: PublicKey, policy: Policy) -> Witnessed:
    """Have the whole log cosigned now; who has, who has not, and whether they are enough for the policy.

    Raises VerificationError when a witness has seen another log, or a longer one; when the log is none that
    witnesses can know; and when the policy is about other logs. EvidenceError when kept cosignatures are
    malformed.
    """
    head = log.head
    if head is None:
        return Witnessed([], ["there is no log of approvals that a witness could confirm"], enough=False)
    if head.origin != origin_of(key):
        raise VerificationError(
            "this log of approvals has no name of its own, so no witness can tell it from others",
            remedy="move it away and have what counts approved again",
        )
    policy.check_log(key, head.origin)
    kept = kept_cosignatures(home)
    hold_against(policy, kept, Record(key, head.origin, log.leaves))
    answers = _asked(policy, head, log.leaves, kept)
    for answer in answers:
        if isinstance(answer.error, VerificationError):
            raise answer.error
    signed = [answer.head for answer in answers if answer.head is not None]
    with contextlib.suppress(OSError):
        # Who may only read the home has asked all the same.
        write_private(log_folder(home) / COSIGNED, write_cosigned(_newest(signed, kept)))
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    said = [
        f"{one.witness.key.name} confirms the whole log, of {quantity(head.size, 'entry')}, at {moment}"
        for one in answers
        if one.head is not None
    ]
    lacking = [f"{one.witness.key.name} was not heard: {one.error}" for one in answers if one.head is None]
    reached = {one.witness.name for one in answers if one.head is not None}
    return Witnessed(said, lacking, policy.is_reached(reached))


def confirmed_log(home: Path, key: PublicKey, policies: Sequence[Policy]) -> tuple[Log, list[str]]:
    """The log of approvals, and what the witnesses of each policy say of it now.

    Raises TransportError when too few could be asked, and what :func:`ask_witnesses` and ``read_log`` raise.
    """
    log = read_log(home, key)
    for _ in range(TRIES):
        try:
            return log, [said for policy in policies for said in _required(home, log, key, policy)]
        except VerificationError:
            # Somebody may have added to it since it was read: then the witness has seen no other log.
            grown = read_log(home, key)
            if grown.size <= log.size:
                raise
            grown.check_continues(log.size, log.root, "a moment ago, this process")
            log = grown
    raise TransportError("the log of approvals grows faster than witnesses can be asked")


def _required(home: Path, log: Log, key: PublicKey, policy: Policy) -> list[str]:
    found = ask_witnesses(home, log, key, policy)
    if not found.enough:
        raise TransportError(
            f"too few witnesses confirm the log of approvals: {'; '.join(found.lacking)}",
            remedy="until they are reached, nobody can say that no revocation was taken out",
        )
    return found.said


def kept_cosignatures(home: Path) -> list[TreeHead]:
    """The newest heads of the log that witnesses cosigned, as they were kept. Verifies nothing."""
    return read_cosigned(log_folder(home) / COSIGNED)


def _asked(
    policy: Policy, head: TreeHead, leaves: Sequence[bytes], kept: Sequence[TreeHead]
) -> list[_Answer]:
    """All at once; one that does not come to an end of its answer in time has not answered.

    ``kept``: cosignatures from before, which hold.
    """
    answers: dict[str, _Answer] = {}

    def one(witness: PolicyWitness) -> None:
        answers[witness.name] = _one(witness, head, leaves, _signed_by(witness, kept))

    threads = [threading.Thread(target=one, args=(witness,), daemon=True) for witness in policy.witnesses]
    for thread in threads:
        thread.start()
    until = time.monotonic() + ROUND_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    late = TransportError("it did not answer in time")
    return [answers.get(one.name) or _Answer(one, None, late) for one in policy.witnesses]


def _signed_by(witness: PolicyWitness, kept: Sequence[TreeHead]) -> int:
    """The most entries that the witness has cosigned: one that knows of fewer now was set back."""
    name = witness.key.name, witness.key.key_id
    sizes = (
        one.size for one in kept if name in {(at.name, at.key_id) for at in parse_note(one.signed).signatures}
    )
    return max(sizes, default=0)


def _one(witness: PolicyWitness, head: TreeHead, leaves: Sequence[bytes], signed: int) -> _Answer:
    if not witness.url:
        return _Answer(witness, None, TransportError("the policy does not say where it is reached"))
    try:
        known = KnownWitness.at(witness.url, witness.key)
        return _Answer(witness, ask(known, head, leaves, old=head.size, signed=signed))
    except Error as error:
        return _Answer(witness, None, error)


def _newest(signed: Sequence[TreeHead], kept: Sequence[TreeHead]) -> list[TreeHead]:
    """Those of now, and of those before the ones over other texts."""
    texts = {one.signed.rpartition(b"\n\n")[0] for one in signed}
    return [*signed, *(one for one in kept if one.signed.rpartition(b"\n\n")[0] not in texts)][:MAX_KEPT]
