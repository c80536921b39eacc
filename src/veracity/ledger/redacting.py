"""Names behind pseudonyms in a bundle that is there already, by somebody who has no more than the bundle.

Its proofs stay as they are. What is shown in the place of withheld entries is signed by whoever redacts;
where that is not the log's key, verifiers say so and read no verdict out of it: it is another's word.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from ..core.canonical import Json
from ..core.digest import Digest
from ..core.errors import EvidenceError, UsageError
from . import verify_evidence
from .bundle import SCHEMA, STAMPED, TIMESTAMPS, Packed, add_explained, pack_record, unnamed
from .custody import MEMBER, Hand, add_line, content_of
from .files import whole_file
from .handover import HEAD, opened
from .note import MAX_NOTE, parse_note
from .packing import Packing
from .redaction import MEMBER as REDACTION
from .redaction import Redaction
from .tree_head import TreeHead
from .witness.policy import Policy

POLICY, KEY, ABOUT = "witness.policy", "ledger.vkey", "bundle.json"


@dataclass(frozen=True, slots=True)
class _Bundled:
    """The record in a bundle, whose entries were verified."""

    bundle: verify_evidence.Bundle
    verified: Sequence[bytes]

    @property
    def size(self) -> int:
        return len(self.verified)

    def entries(self) -> Iterator[bytes]:
        return iter(self.verified)

    def payload(self, digest: Digest) -> bytes:
        name = f"blobs/{digest.value}"
        if name not in self.bundle.members:
            raise EvidenceError(f"{name} is not in the bundle")
        return self.bundle.read(name)


def redact_bundle(
    source: Path, target: Path, redaction: Redaction, key_file: Path, hand: Hand, key: Path | None = None
) -> Packed:
    """Write ``source`` with pseudonyms to ``target``, and what they stand for to ``key_file``.

    Everything in ``source`` is verified before, with the log's public key in the file ``key`` or else the one
    in the bundle. Its custody log is full of names, so it is left out; the new one begins with the digest of
    the contents that were redacted. Raises VerificationError for what does not hold, EvidenceError when it
    cannot be read, UsageError for a bundle that is redacted already, OSError when a file cannot be written.
    ``target`` is there whole or not at all.
    """
    with opened(source) as bundle:
        if REDACTION in bundle.members:
            raise UsageError(
                "names in this bundle stand behind pseudonyms already",
                where=str(source),
                remedy="redact the bundle that it was made from",
            )
        lacking = verify_evidence.check(bundle, None if key is None else str(key), None, [])
        head = bundle.read(HEAD, MAX_NOTE)
        entries = list(verify_evidence.read_entries(bundle, TreeHead.parse(head).size))
        content = content_of(
            {name: sha256(bundle.read(name)).digest() for name in bundle.members if name != MEMBER}
        )
        with whole_file(target) as file, Packing(file) as packing:
            packed = pack_record(packing, _Bundled(bundle, entries), redaction)
            packing.add(HEAD, head)
            packing.add(REDACTION, redaction.document(parse_note(head).text, packed.entries))
            _add_unchanged(packing, bundle)
            counts: dict[str, Json] = {"entries": packed.entries, "payloads": packed.payloads}
            document = {"schema": SCHEMA, **_run_of(bundle), **counts, "missing": packed.missing}
            add_explained(packing, document, redacted=True)
            did = replace(hand.handling, did=f"redacted from {content}")
            packing.add(
                MEMBER, add_line(b"", unnamed(replace(hand, handling=did), redaction), packing.content)
            )
            redaction.keep_names(key_file)
    few = tuple(one for one in lacking if "cosigned" in one)
    return replace(packed, unwitnessed=few)


def _add_unchanged(packing: Packing, bundle: verify_evidence.Bundle) -> None:
    """The key, timestamps, and whose cosignatures are wanted, but for where they are reached."""
    for name in bundle.members:
        if name == STAMPED or name.startswith(TIMESTAMPS):
            packing.add(name, bundle.read(name))
    if POLICY in bundle.members:
        policy = Policy.parse(bundle.read(POLICY, MAX_NOTE))
        packing.add(POLICY, policy.without_addresses().encode())
    packing.add(KEY, bundle.read(KEY, MAX_NOTE))


def _run_of(bundle: verify_evidence.Bundle) -> dict[str, Json]:
    """The run that the bundle says it is of; nobody signed that."""
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        run = json.loads(bundle.read(ABOUT, MAX_NOTE)).get("run")
        if isinstance(run, str) and run.startswith("run-") and len(run) < 64:
            return {"run": run}
    return {}
