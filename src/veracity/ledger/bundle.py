"""Evidence to hand on: a ledger and its payloads in one archive, with the program that checks them.

The archive is a plain ZIP. ``verify_evidence.py`` in it needs Python and ``openssl`` and nothing of ours, and
believes nothing in the archive but what the key signed; see ``docs/formats/bundle.md``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

from ..core.canonical import Json
from ..core.digest import Digest
from ..core.errors import EvidenceError, ResourceLimitError
from ..core.pseudonym import HOST, USER
from ..core.quantity import quantity
from .blobs import Blobs
from .custody import MEMBER, Hand, add_line
from .entry import Entry
from .files import whole_file
from .keys import PublicKey
from .merkle import leaf_hash
from .note import parse_note
from .packing import Packing
from .reader import Reader
from .redaction import MEMBER as REDACTION
from .redaction import PAYLOADS, Redaction
from .tile import WIDTH, Place, width_at
from .timestamp import SUFFIX
from .tree_head import TreeHead
from .verify_evidence import MAX_ENTRIES, MAX_MEMBERS, MAX_TOTAL
from .witness.cosigned import Record, hold_against, with_cosignatures
from .witness.policy import Policy

SCHEMA = 1
TIMESTAMPS = "timestamps/"
STAMPED = "timestamps/head"
"""The tree head as it was stamped: without cosignatures, which may have come later."""
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

_REDACTED = """
Names in it stand behind pseudonyms: redaction.json says what is withheld. Who has the redaction's key file
can check that what is shown is what was recorded: veracity verify THIS.zip --redaction-key FILE
"""


@dataclass(frozen=True, slots=True)
class Packed:
    """What is in a bundle: entries, payloads with their bytes, and payloads that are no longer kept.

    ``unwitnessed``: sentences about witnesses, when too few for the policy have seen all of the record.
    ``withheld``: how many entries and payloads a redaction left out.
    """

    entries: int
    payloads: int
    size: int
    missing: int
    unwitnessed: tuple[str, ...] = ()
    withheld: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Beside:
    """What is packed beside a record.

    ``cosigned``: heads whose cosignatures are packed when they are on the whole record; ``policy``: whose
    are needed; ``timestamps``: what authorities answered about the record's tree head; ``hand``: who packs
    it, for the first line of its custody log; ``members``: further files, by their names in the archive.
    """

    cosigned: Sequence[TreeHead] = ()
    policy: Policy | None = None
    hand: Hand | None = None
    timestamps: Sequence[bytes] = ()
    members: Mapping[str, bytes] = field(default_factory=dict)


def write_bundle(
    target: Path,
    ledger: Path,
    blobs: Path,
    key: PublicKey,
    about: Mapping[str, Json],
    beside: Beside | None = None,
    redaction: Redaction | None = None,
    key_file: Path | None = None,
) -> Packed:
    """Pack a finished ledger. ``about``: what ``bundle.json`` says of it beside the counts.

    With a ``redaction``, entries and payloads with names are withheld, and what its pseudonyms stand for is
    written to ``key_file`` before the bundle is in its place.

    The tree is verified before; each payload is compared with its digest as it is packed. Raises
    VerificationError when something does not hold, EvidenceError when the ledger is not finished or cannot be
    read, ResourceLimitError when it is more than a bundle holds, OSError when the archive cannot be written.
    ``target`` is there whole or not at all.
    """
    beside = beside or Beside()
    with whole_file(target) as file, Packing(file) as packing, Reader(ledger) as reader:
        reader.verify_tree(key)
        if reader.unpublished:
            raise EvidenceError(
                f"{quantity(reader.unpublished, 'entry is', 'entries are')} not published: the run goes on, "
                "or its monitor died",
                remedy="wait for its end, or close the record with `veracity attach`",
            )
        packed = pack_record(packing, _Kept(reader, Blobs(blobs)), redaction)
        head = with_cosignatures(reader.tree_head, beside.cosigned)
        packing.add("ledger/checkpoint", head.signed)
        if redaction is not None:
            packing.add(REDACTION, redaction.document(parse_note(head.signed).text, packed.entries))
        packed = _add_witnesses(packing, reader, key, beside, packed, redaction)
        for name, data in beside.members.items():
            packing.add(name, data)
        packing.add("ledger.vkey", key.vkey.encode("ascii") + b"\n")
        counts: dict[str, Json] = {"entries": packed.entries, "payloads": packed.payloads}
        document = {"schema": SCHEMA, **about, **counts, "missing": packed.missing}
        add_explained(packing, document, redacted=redaction is not None)
        if beside.hand is not None:
            hand = beside.hand if redaction is None else unnamed(beside.hand, redaction)
            packing.add(MEMBER, add_line(b"", hand, packing.content))
        if redaction is not None and key_file is not None:
            redaction.keep_names(key_file)
    return packed


def add_explained(packing: Packing, document: Mapping[str, Json], *, redacted: bool) -> None:
    """What nobody signs: the counts, how to check the bundle, and the program that does."""
    packing.add("bundle.json", json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")
    packing.add("verify_evidence.py", _CHECKER.read_bytes())
    packing.add("README.txt", (_README + (_REDACTED if redacted else "")).encode())


def _add_witnesses(
    packing: Packing,
    reader: Reader,
    key: PublicKey,
    beside: Beside,
    packed: Packed,
    redaction: Redaction | None,
) -> Packed:
    """The witness policy and the timestamps; what is lacking for the policy is said in what is returned."""
    policy, head = beside.policy, reader.tree_head
    if policy is not None:
        # Where witnesses are reached is the name of a host.
        shown = policy if redaction is None else policy.without_addresses()
        packing.add("witness.policy", shown.encode())
        record = Record(key, head.origin, [leaf_hash(entry) for entry in reader.entries()])
        witnessed = hold_against(policy, beside.cosigned, record)
        if not witnessed.enough:
            packed = replace(packed, unwitnessed=tuple(witnessed.lacking))
    if beside.timestamps:
        packing.add(STAMPED, head.signed)
    for number, answer in enumerate(beside.timestamps, 1):
        packing.add(f"{TIMESTAMPS}{number}{SUFFIX}", answer)
    return packed


def unnamed(hand: Hand, redaction: Redaction) -> Hand:
    """Who packs it, behind the same pseudonyms as in the record."""
    one, redactor = hand.handling, redaction.redactor
    by, host = redactor.redact(one.by, USER), redactor.redact(one.host, HOST)
    said = replace(one, by=str(by), host=str(host), to=redactor.text(one.to), note=redactor.text(one.note))
    return replace(hand, handling=said)


class Source(Protocol):
    """A record that is packed: from a ledger's folder, or from another bundle."""

    @property
    def size(self) -> int:
        """How many entries there are."""

    def entries(self) -> Iterator[bytes]:
        """All of them, verified before."""

    def payload(self, digest: Digest) -> bytes:
        """What has this digest; raises EvidenceError when it is not kept."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A ledger's folder and its blobs."""

    reader: Reader
    blobs: Blobs

    @property
    def size(self) -> int:
        return self.reader.size

    def entries(self) -> Iterator[bytes]:
        return self.reader.entries()

    def payload(self, digest: Digest) -> bytes:
        return self.blobs.get(digest, MAX_PAYLOAD)


def pack_record(packing: Packing, source: Source, redaction: Redaction | None) -> Packed:
    """Payloads, then entries: which of these can be shown is known when their payloads are."""
    packed: set[Digest] = set()
    missing: set[Digest] = set()
    hidden: set[Digest] = set()
    size = 0
    if redaction is not None:
        _learn(redaction, source)
    for body, digest in _named(source):
        if digest in packed or digest in missing:
            continue
        try:
            payload = source.payload(digest)
        except EvidenceError:
            missing.add(digest)
            if redaction is not None:
                hidden.add(digest)  # of whatever it was: its digest could be tried out as well
            continue
        if redaction is not None and not redaction.keeps(body, payload):
            hidden.add(digest)
            continue
        if size + len(payload) > MAX_TOTAL or len(packed) >= MAX_MEMBERS:
            raise ResourceLimitError(
                f"the payloads are more than a bundle holds: {MAX_TOTAL >> 30} GiB, {MAX_MEMBERS:,} members",
                remedy="hand on single entries with --entry N, or the run's folder itself",
            )
        packing.add(f"blobs/{digest.value}", payload)
        packed.add(digest)
        size += len(payload)
    _pack_entries(packing, source, redaction, {str(one) for one in hidden - packed})
    withheld = (0, 0) if redaction is None else (len(redaction.withheld), len(redaction.payloads))
    return Packed(source.size, len(packed), size, len(missing), withheld=withheld)


def _learn(redaction: Redaction, source: Source) -> None:
    """All names there are, before the first is replaced: those of entries, and of the seal."""
    for data in source.entries():
        redaction.learn(data)
        entry = Entry.decode(data)
        for digest in payloads_of(entry.body) if entry.kind == "seal" else ():
            with contextlib.suppress(EvidenceError):  # what is no longer kept is counted as missing later
                redaction.learn_seal(digest, source.payload(digest))


def _pack_entries(packing: Packing, source: Source, redaction: Redaction | None, hidden: set[str]) -> None:
    """Entries in tiles as the ledger has them; one that is withheld leaves an empty place."""
    length = 0
    left = source.entries()
    for index in range(-(-source.size // WIDTH)):
        width = width_at(source.size, 0, index)
        entries = list(islice(left, width))
        if redaction is not None:
            first = index * WIDTH
            entries = [redaction.entry(first + at, entry, hidden) for at, entry in enumerate(entries)]
        data = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
        length += len(data)
        if length > MAX_ENTRIES:
            raise ResourceLimitError(
                f"the entries are more than a bundle holds: {MAX_ENTRIES >> 30} GiB",
                remedy="hand on single entries with --entry N, or the run's folder itself",
            )
        packing.add(f"ledger/{Place(None, index, width).path()}", data)


def _named(source: Source) -> Iterator[tuple[Mapping[str, Json], Digest]]:
    for data in source.entries():
        body = Entry.decode(data).body
        for digest in payloads_of(body):
            yield body, digest


def payloads_of(body: Mapping[str, Json]) -> list[Digest]:
    """The payloads that an entry with this body names; raises EvidenceError for what is no digest."""
    return [Digest.parse(value) for name in PAYLOADS if isinstance(value := body.get(name), str)]
