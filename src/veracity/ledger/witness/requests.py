"""What is sent to a witness (C2SP tlog-witness, ``add-checkpoint``): old size, proof and tree head."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.errors import EvidenceError
from ..merkle import HASH_SIZE
from ..note import decode_base64
from ..tile import MAX_SIZE
from ..tree_head import TreeHead

MAX_PROOF = 63
MAX_BODY = 256 * 1024
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to cosign ``head``, which continues the tree of ``old`` entries."""

    old: int
    proof: tuple[bytes, ...]
    head: TreeHead

    def encode(self) -> bytes:
        """The body of the request."""
        lines = [f"old {self.old}", *(base64.b64encode(node).decode("ascii") for node in self.proof)]
        return "".join(f"{line}\n" for line in lines).encode("ascii") + b"\n" + self.head.signed

    @classmethod
    def decode(cls, body: bytes) -> AddCheckpoint:
        """Read one; raises EvidenceError for whatever the specification does not allow."""
        if len(body) > MAX_BODY:
            raise EvidenceError("the request is too long")
        head, gap, note = body.partition(b"\n\n")
        if not gap:
            raise EvidenceError("the request has no empty line before the checkpoint")
        try:
            first, *rest = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise EvidenceError("the request is not ASCII before the checkpoint") from error
        match = _OLD.match(first)
        if match is None or int(match[1]) >= MAX_SIZE:
            raise EvidenceError(f"not an old size line: {first[:60]!r}")
        if len(rest) > MAX_PROOF:
            raise EvidenceError(f"a proof has at most {MAX_PROOF} hashes, not {len(rest)}")
        return cls(int(match[1]), proof_of(rest), TreeHead.parse(note))


def proof_of(lines: Sequence[str]) -> tuple[bytes, ...]:
    """The hashes of a proof; raises EvidenceError for what is none."""
    proof = tuple(decode_base64(line) for line in lines)
    if any(len(node) != HASH_SIZE for node in proof):
        raise EvidenceError(f"a hash of the proof does not have {HASH_SIZE} bytes")
    return proof
