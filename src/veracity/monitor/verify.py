"""``veracity verify``: is the record of a run what was written, to the last payload byte?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..core.digest import Digest
from ..core.errors import EvidenceError, VerificationError
from ..core.quantity import quantity
from ..ledger.blobs import Blobs
from ..ledger.bundle import MAX_PAYLOAD, payloads_of
from ..ledger.entry import Entry
from ..ledger.keys import PublicKey
from ..ledger.merkle import leaf_hash
from ..ledger.reader import Reader
from ..ledger.timestamp import verify_timestamps
from ..ledger.witness.cosigned import Record, read_cosigned, verify_policy
from ..ledger.witness.policy import Policy
from ..seal.sign import verify_envelope
from .folder import RunFolder
from .stamping import read_timestamps


def verify_run(folder: Path, policies: Sequence[Policy] = (), authorities: Path | None = None) -> list[str]:
    """Check tree, signature, order and payloads; returns a sentence for each thing that was checked.

    By each of the ``policies``, enough witnesses must have cosigned the record to its end; when there are
    ``authorities``, a file of certificates, one of them must have stamped it.

    Raises VerificationError naming the entry that does not hold, EvidenceError when something needed for the
    check is missing (a payload that is no longer kept, a ledger that was never finished).
    """
    run = RunFolder(folder)
    done: list[str] = []
    key = key_of(run)
    missing: list[int] = []
    with Reader(run.ledger) as reader:
        reader.verify_tree(key)
        done.append(
            f"the tree head over {quantity(reader.size, 'entry')} is signed by {key.name} and matches every "
            "entry"
        )
        if reader.unpublished:
            done.append(
                f"{quantity(reader.unpublished, 'entry is', 'entries are')} committed but not published: the "
                "writer was stopped"
            )
        if policies:
            leaves = [leaf_hash(entry) for entry in reader.entries()]
            record = Record(key, reader.tree_head.origin, leaves)
            heads = read_cosigned(run.cosigned)
            done += [said for policy in policies for said in verify_policy(policy, heads, record)]
        if authorities is not None:
            done += verify_timestamps(read_timestamps(run.timestamps), reader.tree_head, authorities)
        payloads = _payloads(reader, Blobs(run.blobs), missing)
        done.append(f"{quantity(payloads, 'payload was', 'payloads were')} read again, each with its digest")
        done += _seal(reader, Blobs(run.blobs), run, key)
        sequences = _order(reader)
        done.append(f"the records of {quantity(sequences, 'process')} stand in order")
    if missing:
        raise EvidenceError(
            f"{quantity(len(missing), 'payload is', 'payloads are')} no longer kept, the first is that of "
            f"entry {missing[0]}",
            where=str(run.blobs),
            remedy="held runs keep their sample blocks only for a time; what is there was verified",
        )
    return done


def key_of(run: RunFolder) -> PublicKey:
    """The public key that lies beside a run's ledger; raises EvidenceError when there is none."""
    try:
        text = run.verifier.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EvidenceError("the ledger's public key is not there", where=str(run.verifier)) from error
    return PublicKey.parse(text)


def _payloads(reader: Reader, blobs: Blobs, missing: list[int]) -> int:
    checked = 0
    for index, data in enumerate(reader.entries()):
        for digest in payloads_of(Entry.decode(data).body):
            try:
                blobs.get(digest, MAX_PAYLOAD)
            except VerificationError as error:
                raise VerificationError(
                    f"the payload of entry {index} was altered", where=str(digest)
                ) from error
            except EvidenceError:
                missing.append(index)
            else:
                checked += 1
    return checked


def _seal(reader: Reader, blobs: Blobs, run: RunFolder, key: PublicKey) -> list[str]:
    """The seal's signature, and that the file beside the ledger is the one the ledger names."""
    for index, data in enumerate(reader.entries()):
        entry = Entry.decode(data)
        if entry.kind != "seal":
            continue
        try:
            envelope = blobs.get(Digest.parse(str(entry.body.get("envelope"))), MAX_PAYLOAD)
        except EvidenceError:
            return []  # counted among the payloads that are no longer kept
        verify_envelope(envelope, key)
        if _file(run.seal) not in (None, envelope):
            raise VerificationError(f"seal.dsse.json is not the seal of entry {index}", where=str(run.seal))
        return [f"the seal of entry {index} is signed by {key.name}"]
    return []


def _file(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PAYLOAD)
    except OSError:
        return None


def _order(reader: Reader) -> int:
    """Sequence numbers of each process must rise; a repetition would be a record put in twice."""
    last: dict[str, int] = {}
    for index, data in enumerate(reader.entries()):
        body = Entry.decode(data).body
        stream, number = body.get("stream"), body.get("seq")
        if isinstance(stream, str) and isinstance(number, int):
            if number <= last.get(stream, -1):
                raise VerificationError(f"entry {index} is out of order: record {number} of {stream}")
            last[stream] = number
    return len(last)
