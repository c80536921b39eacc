"""Tree heads that witnesses have cosigned, held against a record and a policy.

In a run's directory they lie in one file, ``cosigned``: signed notes with an empty line between them, the
newest that each witness has signed. Nothing in it is believed: what counts is a head of this log, signed by
its key, cosigned by a witness whom the verifier named, and over the entries that are there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import EvidenceError, VerificationError
from ...core.quantity import quantity
from ..files import read_bounded
from ..keys import PublicKey
from ..merkle import tree_root
from ..note import MAX_NOTE, MAX_SIGNATURES, parse_note
from ..tree_head import TreeHead
from .cosignature import WitnessKey, verify_cosignature
from .policy import Policy

MAX_COSIGNED = 1 << 20
MAX_HEADS = 256


@dataclass(frozen=True, slots=True)
class Record:
    """What cosigned heads are held against: a log's key, its origin, and the hashes of all its entries."""

    key: PublicKey
    origin: str
    leaves: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Sentences about witnesses that have seen a record, and about those that have not, or not all of it."""

    said: list[str]
    lacking: list[str]
    enough: bool


def read_cosigned(path: Path) -> list[TreeHead]:
    """The heads in such a file, none when there is no file. Verifies nothing.

    Raises EvidenceError when it cannot be read or is malformed.
    """
    try:
        data = read_bounded(path, MAX_COSIGNED)
    except EvidenceError:
        if not path.exists():
            return []
        raise
    # Heads are separated by an empty line, and so are a head's text and its signatures.
    parts = data.split(b"\n\n")
    if len(parts) % 2 or len(parts) > 2 * MAX_HEADS:
        raise EvidenceError("the cosignatures are malformed", where=str(path))
    return [
        TreeHead.parse(text + b"\n\n" + signatures.rstrip(b"\n") + b"\n")
        for text, signatures in zip(parts[::2], parts[1::2], strict=True)
    ]


def write_cosigned(heads: Iterable[TreeHead]) -> bytes:
    """The content of such a file."""
    return b"\n".join(one.signed for one in heads)


def with_cosignatures(head: TreeHead, heads: Iterable[TreeHead]) -> TreeHead:
    """``head`` with the signature lines of all ``heads`` that are over the very same text, each line once.

    None of them is verified; those beyond what a note holds are left out.
    """
    text, _, own = head.signed.rpartition(b"\n\n")
    lines = own.splitlines(keepends=True)
    for other in heads:
        theirs, _, added = other.signed.rpartition(b"\n\n")
        if theirs == text:
            lines += [line for line in added.splitlines(keepends=True) if line not in lines]
    signed = text + b"\n\n"
    for line in lines[:MAX_SIGNATURES]:
        if len(signed) + len(line) <= MAX_NOTE:
            signed += line
    return TreeHead.parse(signed)


def verify_policy(policy: Policy, heads: Sequence[TreeHead], record: Record) -> list[str]:
    """That enough witnesses have seen the whole of this record; sentences about each that has.

    Raises VerificationError when they are too few, or when a witness of the policy has seen another record.
    """
    witnessed = hold_against(policy, heads, record)
    if not witnessed.enough:
        raise VerificationError(
            f"too few witnesses have seen all of {quantity(len(record.leaves), 'entry')}: "
            f"{'; '.join(witnessed.lacking)}",
            where="; ".join(witnessed.said),
            remedy="was the run started with these witnesses, and could they be reached to its end?",
        )
    return witnessed.said


def hold_against(policy: Policy, heads: Sequence[TreeHead], record: Record) -> Witnessed:
    """Which witnesses of the policy have seen how much of the record, and whether they are enough.

    Raises VerificationError when one has seen another record, or when the policy is about other logs.
    """
    policy.check_log(record.key, record.origin)
    ours = [head for head in heads if head.origin == record.origin and head.is_signed(record.key)]
    said: list[str] = []
    lacking: list[str] = []
    reached: set[str] = set()
    size = len(record.leaves)
    for witness in policy.witnesses:
        seen = dict(_seen(ours, witness.key, record))
        if not seen:
            lacking.append(f"{witness.key.name} has not cosigned this record")
            continue
        newest = max(seen)
        said.append(
            f"{witness.key.name} had seen {quantity(newest, 'entry')} by {_moment(seen[newest])}, the same "
            "as these"
        )
        if newest == size:
            reached.add(witness.name)
        else:
            lacking.append(f"{witness.key.name} has not cosigned the last {size - newest} of them")
    enough = policy.is_reached(reached)
    if enough:
        said.append(_enough(policy, len(reached), "cosigned it to its end"))
    return Witnessed(said, lacking, enough)


def seen_head(policy: Policy, head: TreeHead) -> Witnessed:
    """Which witnesses of the policy have cosigned this one head, and whether they are enough.

    Raises VerificationError when a cosignature by one of them does not hold.
    """
    note = parse_note(head.signed)
    signed = {(one.name, one.key_id) for one in note.signatures}
    there = [one for one in policy.witnesses if (one.key.name, one.key.key_id) in signed]
    said = [
        f"{one.key.name} had seen this tree head by {_moment(verify_cosignature(note, one.key))}"
        for one in there
    ]
    lacking = [f"{one.key.name} has not cosigned it" for one in policy.witnesses if one not in there]
    enough = policy.is_reached({one.name for one in there})
    if enough:
        said.append(_enough(policy, len(there), "cosigned it"))
    return Witnessed(said, lacking, enough)


def _enough(policy: Policy, count: int, did: str) -> str:
    if policy.is_reached(()):
        return "by the policy no witness is needed: nothing shows that others have seen it"
    return f"{count} of {quantity(len(policy.witnesses), 'witness')} {did}: enough"


def _moment(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _seen(heads: Iterable[TreeHead], key: WitnessKey, record: Record) -> Iterator[tuple[int, int]]:
    """Sizes of the record that the witness has cosigned, each with the time, in s since the epoch."""
    for head in heads:
        note = parse_note(head.signed)
        if (key.name, key.key_id) not in {(one.name, one.key_id) for one in note.signatures}:
            continue
        at = verify_cosignature(note, key)
        if head.size > len(record.leaves) or head.root != tree_root(record.leaves[: head.size]):
            raise VerificationError(
                f"{key.name} cosigned another record: of {quantity(head.size, 'entry')}, and these are "
                f"{len(record.leaves)}",
                remedy="this ledger was cut back or rewritten: compare it with a copy from elsewhere",
            )
        if head.size:  # of every log the first nothing is the same
            yield head.size, at
