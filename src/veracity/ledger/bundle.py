"""Evidence to hand on: a ledger and its payloads in one archive, with the program that checks them.

The archive is a plain ZIP. ``verify_evidence.py`` in it needs Python and ``openssl`` and nothing of ours, and
believes nothing in the archive but what the key signed; see ``docs/formats/bundle.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.canonical import Json
from ..core.digest import Digest
from ..core.errors import EvidenceError
from .blobs import Blobs
from .custody import MEMBER, Hand, add_line
from .entry import Entry
from .files import whole_file
from .keys import PublicKey
from .merkle import leaf_hash
from .packing import Packing
from .reader import Reader
from .shelf import Shelf
from .tile import WIDTH, Place, width_at
from .timestamp import SUFFIX
from .tree_head import TreeHead
from .witness.cosigned import Record, hold_against, with_cosignatures
from .witness.policy import Policy

SCHEMA = 1
TIMESTAMPS = "timestamps/"
STAMPED = "timestamps/head"
"""The tree head as it was stamped: without cosignatures, which may have come later."""
PAYLOADS = ("frame", "data", "envelope")
"""Members of an entry's body that name a payload by its digest."""
MAX_PAYLOAD = 80 << 20
_CHECKER = Path(__file__).with_name("verify_evidence.py")
_README = """\
Evidence of a training run. To check it, with Python 3.8 or later and openssl 3.0 or later:

    python3 verify_evidence.py THIS.zip --key KEY --witness-policy POLICY

KEY is a file with the public key as its owner handed it over, one line: name+id+base64. POLICY is a file that
says whose cosignatures you want to see (c2sp.org/tlog-policy). Without these flags, those in this archive are
taken; then compare what is printed and witness.policy with what you have from elsewhere. You need not believe
the verify_evidence.py in here: any copy of it does, and it is short enough to be read.
"""


@dataclass(frozen=True, slots=True)
class Packed:
    """What is in a bundle: entries, payloads with their bytes, and payloads that are no longer kept.

    ``unwitnessed``: sentences about witnesses, when too few for the policy have seen all of the record.
    """

    entries: int
    payloads: int
    size: int
    missing: int
    unwitnessed: tuple[str, ...] = ()


def write_bundle(
    target: Path,
    ledger: Path,
    blobs: Path,
    key: PublicKey,
    about: Mapping[str, Json],
    cosigned: Sequence[TreeHead] = (),
    policy: Policy | None = None,
    hand: Hand | None = None,
    timestamps: Sequence[bytes] = (),
) -> Packed:
    """Pack a finished ledger. ``about``: what ``bundle.json`` says of it beside the counts.

    ``cosigned``: heads whose cosignatures are packed when they are on the whole record; ``policy``: whose are
    needed; ``hand``: who packs it, for the first line of its custody log;
    ``timestamps``: what authorities answered about the record's tree head.

    The tree is verified before; each payload is compared with its digest as it is packed. Raises
    VerificationError when something does not hold, EvidenceError when the ledger is not finished or cannot be
    read, OSError when the archive cannot be written. ``target`` is there whole or not at all.
    """
    with whole_file(target) as file, Packing(file) as packing, Reader(ledger) as reader:
        reader.verify_tree(key)
        if reader.unpublished:
            raise EvidenceError(
                f"{reader.unpublished} entries are not published: the run goes on, or its monitor died",
                remedy="wait for its end, or close the record with `veracity attach`",
            )
        packed = _pack(packing, reader, ledger, Blobs(blobs))
        head = with_cosignatures(reader.tree_head, cosigned)
        packing.add("ledger/checkpoint", head.signed)
        if policy is not None:
            packing.add("witness.policy", policy.encode())
            record = Record(key, head.origin, [leaf_hash(entry) for entry in reader.entries()])
            witnessed = hold_against(policy, cosigned, record)
            if not witnessed.enough:
                packed = replace(packed, unwitnessed=tuple(witnessed.lacking))
        if timestamps:
            packing.add(STAMPED, reader.tree_head.signed)
        for number, answer in enumerate(timestamps, 1):
            packing.add(f"{TIMESTAMPS}{number}{SUFFIX}", answer)
        packing.add("ledger.vkey", key.vkey.encode("ascii") + b"\n")
        counts: dict[str, Json] = {"entries": packed.entries, "payloads": packed.payloads}
        document = {"schema": SCHEMA, **about, **counts, "missing": packed.missing}
        packing.add("bundle.json", json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")
        packing.add("verify_evidence.py", _CHECKER.read_bytes())
        packing.add("README.txt", _README.encode())
        if hand is not None:
            packing.add(MEMBER, add_line(b"", hand, packing.content))
    return packed


def _pack(packing: Packing, reader: Reader, ledger: Path, blobs: Blobs) -> Packed:
    shelf = Shelf(ledger)
    for index in range(-(-reader.size // WIDTH)):
        width = width_at(reader.size, 0, index)
        data = b"".join(len(entry).to_bytes(2, "big") + entry for entry in shelf.bundle(index, width))
        packing.add(f"ledger/{Place(None, index, width).path()}", data)
    packed: set[Digest] = set()
    missing: set[Digest] = set()
    size = 0
    for digest in _named(reader):
        if digest in packed or digest in missing:
            continue
        try:
            payload = blobs.get(digest, MAX_PAYLOAD)
        except EvidenceError:
            missing.add(digest)
            continue
        packing.add(f"blobs/{digest.value}", payload)
        packed.add(digest)
        size += len(payload)
    return Packed(reader.size, len(packed), size, len(missing))


def _named(reader: Reader) -> Iterator[Digest]:
    for data in reader.entries():
        yield from payloads_of(Entry.decode(data).body)


def payloads_of(body: Mapping[str, Json]) -> list[Digest]:
    """The payloads that an entry with this body names; raises EvidenceError for what is no digest."""
    return [Digest.parse(value) for name in PAYLOADS if isinstance(value := body.get(name), str)]
