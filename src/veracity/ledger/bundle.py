"""Evidence to hand on: a ledger and its payloads in one archive, with the program that checks them.

The archive is a plain ZIP. ``verify_evidence.py`` in it needs Python and ``openssl`` and nothing of ours, and
believes nothing in the archive but what the key signed; see ``docs/formats/bundle.md``.
"""

from __future__ import annotations

import json
import os
import secrets
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.canonical import Json
from ..core.digest import Digest
from ..core.errors import EvidenceError
from .blobs import Blobs
from .entry import Entry
from .keys import PublicKey
from .merkle import leaf_hash
from .reader import Reader
from .shelf import Shelf
from .tile import WIDTH, Place, width_at
from .tree_head import TreeHead
from .witness.cosigned import Record, hold_against, with_cosignatures
from .witness.policy import Policy

SCHEMA = 1
PAYLOADS = ("frame", "data", "envelope")
"""Members of an entry's body that name a payload by its digest."""
MAX_PAYLOAD = 80 << 20
_MOMENT = (1980, 1, 1, 0, 0, 0)  # when it was packed is in bundle.json; equal content gives equal bytes
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
) -> Packed:
    """Pack a finished ledger. ``about``: what ``bundle.json`` says of it beside the counts.

    ``cosigned``: heads whose cosignatures are packed when they are on the whole record; ``policy``: whose are
    needed.

    The tree is verified before; each payload is compared with its digest as it is packed. Raises
    VerificationError when something does not hold, EvidenceError when the ledger is not finished or cannot be
    read, OSError when the archive cannot be written. ``target`` is there whole or not at all.
    """
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with (
            open(handle, "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            Reader(ledger) as reader,
        ):
            reader.verify_tree(key)
            if reader.unpublished:
                raise EvidenceError(
                    f"{reader.unpublished} entries are not published: the run goes on, or its monitor died",
                    remedy="wait for its end, or close the record with `veracity attach`",
                )
            packed = _pack(archive, reader, ledger, Blobs(blobs))
            head = with_cosignatures(reader.tree_head, cosigned)
            _add(archive, "ledger/checkpoint", head.signed)
            if policy is not None:
                _add(archive, "witness.policy", policy.encode())
                record = Record(key, head.origin, [leaf_hash(entry) for entry in reader.entries()])
                witnessed = hold_against(policy, cosigned, record)
                if not witnessed.enough:
                    packed = replace(packed, unwitnessed=tuple(witnessed.lacking))
            _add(archive, "ledger.vkey", key.vkey.encode("ascii") + b"\n")
            counts: dict[str, Json] = {"entries": packed.entries, "payloads": packed.payloads}
            document = {"schema": SCHEMA, **about, **counts, "missing": packed.missing}
            _add(archive, "bundle.json", json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")
            _add(archive, "verify_evidence.py", _CHECKER.read_bytes())
            _add(archive, "README.txt", _README.encode())
        os.replace(draft, target)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    return packed


def _pack(archive: zipfile.ZipFile, reader: Reader, ledger: Path, blobs: Blobs) -> Packed:
    shelf = Shelf(ledger)
    for index in range(-(-reader.size // WIDTH)):
        width = width_at(reader.size, 0, index)
        data = b"".join(len(entry).to_bytes(2, "big") + entry for entry in shelf.bundle(index, width))
        _add(archive, f"ledger/{Place(None, index, width).path()}", data)
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
        _add(archive, f"blobs/{digest.value}", payload)
        packed.add(digest)
        size += len(payload)
    return Packed(reader.size, len(packed), size, len(missing))


def _named(reader: Reader) -> Iterator[Digest]:
    for data in reader.entries():
        yield from payloads_of(Entry.decode(data).body)


def payloads_of(body: Mapping[str, Json]) -> list[Digest]:
    """The payloads that an entry with this body names; raises EvidenceError for what is no digest."""
    return [Digest.parse(value) for name in PAYLOADS if isinstance(value := body.get(name), str)]


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    member = zipfile.ZipInfo(name, _MOMENT)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o600 << 16
    archive.writestr(member, data)
