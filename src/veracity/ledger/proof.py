"""One entry with the proof that it was logged, in a text of its own: C2SP tlog-proof.

    c2sp.org/tlog-proof@v1
    extra <base64>
    index <number>
    <base64 of a hash, from the leaf's sibling up>...

    <the signed tree head, with its cosignatures>

The entry itself stands in ``extra``, so that the file can be read and checked alone. The specification says
not to believe what stands there; what is believed here is the tree that its hash leads to.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import EvidenceError, ResourceLimitError, UsageError, VerificationError
from ..core.quantity import quantity
from .entry import Entry
from .keys import PublicKey
from .merkle import HASH_SIZE, inclusion_proof, leaf_hash, tree_root, verify_inclusion
from .note import MAX_NOTE, decode_base64
from .tile import MAX_SIZE
from .tree_head import TreeHead, speaks_for
from .witness.cosigned import Record, hold_against, seen_head, with_cosignatures
from .witness.policy import Policy

SUFFIX = ".tlog-proof"
MAX_PATH = 63
MAX_EXTRA = 128 * 1024
MAX_FILE = MAX_NOTE + 2 * MAX_EXTRA
_FIRST = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogProof:
    """What such a file says; nothing of it is verified. ``path``: hashes of 32 bytes, the lowest first."""

    index: int
    path: tuple[bytes, ...]
    head: TreeHead
    extra: bytes | None = None

    def encode(self) -> bytes:
        """The file."""
        lines = [_FIRST]
        if self.extra is not None:
            lines.append(f"extra {_base64(self.extra)}")
        lines += [f"index {self.index}", *map(_base64, self.path)]
        return "".join(f"{line}\n" for line in lines).encode("ascii") + b"\n" + self.head.signed

    @classmethod
    def decode(cls, data: bytes) -> LogProof:
        """Read one; raises EvidenceError for what the specification does not allow."""
        if len(data) > MAX_FILE:
            raise ResourceLimitError(f"a proof of {len(data)} bytes is too long")
        before, gap, note = data.partition(b"\n\n")
        if not gap:
            raise EvidenceError("the proof has no tree head behind an empty line")
        try:
            lines = before.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise EvidenceError("the proof is not ASCII before its tree head") from error
        if lines.pop(0) != _FIRST:
            raise EvidenceError(f"the proof does not begin with {_FIRST}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0).removeprefix("extra "))
            if len(extra) > MAX_EXTRA:
                raise ResourceLimitError(f"{len(extra)} bytes of extra data are too many")
        index = _INDEX.match(lines.pop(0)) if lines else None
        if index is None or int(index[1]) >= MAX_SIZE:
            raise EvidenceError("the proof does not say the index of its entry")
        if len(lines) > MAX_PATH:
            raise EvidenceError(f"a proof has at most {MAX_PATH} hashes, not {len(lines)}")
        path = tuple(map(decode_base64, lines))
        if any(len(node) != HASH_SIZE for node in path):
            raise EvidenceError(f"a hash of the proof does not have {HASH_SIZE} bytes")
        return cls(int(index[1]), path, TreeHead.parse(note), extra)


def prove(
    entry: bytes,
    index: int,
    record: Record,
    head: TreeHead,
    cosigned: Sequence[TreeHead],
    policy: Policy | None,
) -> LogProof:
    """The proof of one entry in the largest tree for which the policy has its cosignatures.

    ``head`` is the record's own; it is taken when no tree is witnessed, or nobody asks for it. Raises
    UsageError when there is no such entry, VerificationError when a witness has seen another record.
    """
    if not 0 <= index < len(record.leaves):
        raise UsageError(f"there is no entry {index}: the record has {len(record.leaves)}, from 0")
    best = with_cosignatures(head, cosigned)
    if policy is not None:
        hold_against(policy, cosigned, record)
        heads = [best, *(one for one in cosigned if _is_of(one, record) and one.size > index)]
        for one in sorted(heads, key=lambda one: -one.size):
            gathered = with_cosignatures(one, cosigned)
            if seen_head(policy, gathered).enough:
                best = gathered
                break
    path = inclusion_proof(record.leaves[: best.size], index)
    return LogProof(index, tuple(path), best, entry)


def verify_proof(proof: LogProof, keys: Sequence[PublicKey], policy: Policy | None = None) -> list[str]:
    """That one of the ``keys`` signed a tree with the entry in it, and enough witnesses have seen it.

    Returns a sentence for each thing that was checked. Raises VerificationError when something does not
    hold, EvidenceError when the proof does not carry the entry, or an entry that is none.
    """
    head = proof.head
    holding = [key for key in keys if speaks_for(key.name, head.origin) and head.is_signed(key)]
    if not holding:
        raise VerificationError(
            f"no known key of {head.origin} signed the proof's tree head",
            where=", ".join(key.name for key in keys[:8]),
            remedy="take the key from the log's owner, not from whoever sent the proof",
        )
    if proof.extra is None:
        raise EvidenceError("the proof does not carry the entry that it is of")
    said = [f"{holding[0].name} signed the tree head of {head.origin}: {quantity(head.size, 'entry')}"]
    if policy is None:
        said.append("no witness policy was named: nothing shows that others have seen this tree head")
    else:
        for key in holding:
            policy.check_log(key, head.origin)
        seen = seen_head(policy, head)
        if not seen.enough:
            raise VerificationError(f"too few witnesses have seen this tree head: {'; '.join(seen.lacking)}")
        said += seen.said
    verify_inclusion(leaf_hash(proof.extra), proof.index, head.size, proof.path, head.root)
    said.append(f"entry {proof.index}, of kind {Entry.decode(proof.extra).kind}, is in that tree")
    return said


def _is_of(head: TreeHead, record: Record) -> bool:
    return (
        head.origin == record.origin
        and head.size <= len(record.leaves)
        and head.is_signed(record.key)
        and head.root == tree_root(record.leaves[: head.size])
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
