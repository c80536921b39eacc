"""What goes into a bundle beside the record: on what seal and by whose word the run was started, and who saw
it.

The seal, the log of approvals and the policy are what the run's own first entries name by digest; so they
can be held against the record, and the standing of the seal be counted again. ``identities.json`` and
``sensors.json`` are taken out of the record for people, and prove nothing that the record does not.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from ..core.approval import standing
from ..core.canonical import Json, decode, encode
from ..core.digest import Digest
from ..core.errors import Error, UsageError, VerificationError
from ..core.observation import SealChecked
from ..core.policy import policy_from
from ..core.quantity import quantity
from ..ledger import verify_evidence
from ..ledger.blobs import Blobs
from ..ledger.bundle import payloads_of
from ..ledger.entry import Entry
from ..ledger.files import read_bounded
from ..ledger.handover import opened
from ..ledger.keys import PublicKey
from ..ledger.merkle import leaf_hash, tree_root
from ..ledger.note import MAX_NOTE
from ..ledger.reader import Reader
from ..ledger.redaction import MEMBER as REDACTION
from ..ledger.tree_head import TreeHead
from ..ledger.witness.cosigned import with_cosignatures
from ..seal.approvals import approvable, log_folder, log_of
from ..seal.folder import SealFolder
from ..seal.paths import Seal, signed_seal, uncommitted
from ..seal.policyfile import find_policy
from ..seal.witnessed import kept_cosignatures
from .folder import RunFolder
from .replayed import observed

SEAL = "seal/"
LOG, HEAD = "approvals/log", "approvals/checkpoint"
POLICY = "policy.json"
IDENTITIES, SENSORS = "identities.json", "sensors.json"
MAX_MANIFEST = 128 << 20
MAX_DOCUMENT = 64 << 20
FIRST = 64
"""Among so many first entries stands how the seal was found."""
_LOSSES = ("RecordsMissing", "RecordDamaged", "MonitorHeld", "StacksUnavailable")


@dataclass(frozen=True, slots=True)
class Gathered:
    """Files for a bundle by their names in it, and a sentence for each thing that is not there."""

    members: dict[str, bytes]
    lacking: list[str]


def gather(run: RunFolder) -> Gathered:
    """What belongs to a run's record; raises EvidenceError when the record cannot be read."""
    with Reader(run.ledger) as reader:
        entries = [Entry.decode(data) for data in reader.entries()]
    members = {IDENTITIES: _written(identities(entries)), SENSORS: _written(sensors(entries))}
    lacking: list[str] = []
    checked = _seal_checked(entries, Blobs(run.blobs))
    if checked is not None:
        parts = (
            ("seal", _seal),
            ("manifest of the seal", _manifest),
            ("text of what was not committed, of the seal", _uncommitted),
            ("log of approvals", _approvals),
            ("policy", _policy),
        )
        for what, found in parts:
            try:
                members.update(found(run.home, checked))
            except (Error, OSError) as error:
                lacking.append(f"the {what} that the run was started on is not packed: {error}")
    return Gathered(members, lacking)


def _seal_checked(entries: Sequence[Entry], blobs: Blobs) -> SealChecked | None:
    """How the seal stood that the run was to be started on."""
    for entry in entries[:FIRST]:
        if entry.kind == "observed" and entry.body.get("kind") == SealChecked.__name__:
            found = observed(entry.body, blobs)
            return found if isinstance(found, SealChecked) else None
    return None


def _seal(home: Path, checked: SealChecked) -> dict[str, bytes]:
    folder = SealFolder(home / "seals" / checked.seal)
    found = {f"{SEAL}{folder.envelope.name}": read_bounded(folder.envelope, MAX_DOCUMENT)}
    found[f"{SEAL}{folder.verifier.name}"] = read_bounded(folder.verifier, MAX_DOCUMENT)
    if os.path.lexists(folder.ssh_signature):
        found[f"{SEAL}{folder.ssh_signature.name}"] = read_bounded(folder.ssh_signature, MAX_DOCUMENT)
    return found


def _manifest(home: Path, checked: SealChecked) -> dict[str, bytes]:
    path = SealFolder(home / "seals" / checked.seal).manifest
    return {f"{SEAL}{path.name}": read_bounded(path, MAX_MANIFEST)}


def _uncommitted(home: Path, checked: SealChecked) -> dict[str, bytes]:
    """How files of git repositories differed from their commits, as the seal names the texts by digest."""
    folder = SealFolder(home / "seals" / checked.seal)
    if not checked.digest:
        return {}
    found: dict[str, bytes] = {}
    for digest in uncommitted(read_bounded(folder.envelope, MAX_DOCUMENT)):
        path = folder.diff(digest)
        text = read_bounded(path, MAX_DOCUMENT)
        if Digest.of(text).value != digest:
            raise VerificationError("it is not the one that was sealed", where=str(path))
        found[f"{SEAL}{path.name}"] = text
    return found


def _approvals(home: Path, checked: SealChecked) -> dict[str, bytes]:
    if not checked.log_size:
        return {}
    with Reader(log_folder(home)) as reader:
        head = with_cosignatures(reader.tree_head, kept_cosignatures(home))
        return {LOG: b"".join(entry + b"\n" for entry in reader.entries()), HEAD: head.signed}


def _policy(home: Path, checked: SealChecked) -> dict[str, bytes]:
    if not checked.policy:
        return {}
    found = find_policy(home, home, Path(checked.policy_file))
    if found is None or str(found.policy.digest()) != checked.policy:
        raise UsageError("it has been changed since", where=checked.policy_file)
    return {POLICY: encode(found.policy.document()) + b"\n"}


def identities(entries: Sequence[Entry]) -> list[Json]:
    """Who is named in a record, by which source, and how far that is to be believed (``core/origin.py``)."""
    opening = entries[0].body if entries else {}
    found: list[Json] = [
        _named("uid", opening.get("uid"), "kernel", "kernel", 0),
        # getpass asks the environment first, and who starts a job writes that.
        _named("user", opening.get("user"), "environment or password database", "self-report", 0),
        _named("host", opening.get("host"), "kernel", "kernel", 0),
    ]
    for number, entry in enumerate(entries):
        body, kind = entry.body, entry.body.get("kind")
        inner = body.get("body")
        value = inner if isinstance(inner, dict) else {}
        if entry.kind == "record" and kind == "hello":
            found.append(_named("pid", body.get("pid"), "name of the spool", "userland", number))
        elif entry.kind == "observed" and kind == "SealChecked" and value.get("override"):
            found.append(_named("override_by", value.get("override_by"), "kernel", "kernel", number))
        elif entry.kind == "observed" and kind == "JobJoined":
            found.append(_named("node", value.get("node"), "monitor", "self-report", number))
        elif entry.kind == "refused":
            found.append(_named("by", body.get("by"), "kernel", "kernel", number))
    return found


def _named(what: str, value: Json, source: str, trust: str, entry: int) -> Json:
    return {what: value, "source": source, "trust": trust, "entry": entry}


def sensors(entries: Sequence[Entry]) -> dict[str, Json]:
    """What watched the run and how, and what was lost: gaps by law, records that never came, refusals."""
    opening = entries[0].body if entries else {}
    kinds = Counter(str(one.body.get("kind")) for one in entries if one.kind in ("record", "observed"))
    gaps: Counter[str] = Counter()
    dropped = 0
    coverage: Json = None
    for entry in entries:
        inner = entry.body.get("body")
        value = inner if isinstance(inner, dict) else {}
        if entry.body.get("kind") in ("Gap", "gap"):
            gaps[str(value.get("law") or "none")] += 1
        elif entry.body.get("kind") == "bye":
            lost = value.get("dropped")
            dropped += lost if isinstance(lost, int) else 0
        elif entry.kind == "judged":
            coverage = entry.body.get("coverage")
    config: dict[str, Json] = {
        name: opening.get(name)
        for name in ("version", "policy", "overhead", "kernel", "monitor", "same_account", "archive", "key")
    }
    losses: dict[str, Json] = {one: kinds[one] for one in _LOSSES if kinds[one]}
    return {
        "config": config,
        "recorded": dict(sorted(kinds.items())),
        "gaps": dict(sorted(gaps.items())),
        "lost": {**losses, "dropped_by_guards": dropped},
        "coverage": coverage,
    }


def verify_beside(path: Path, key_file: Path | None) -> list[str]:
    """That what lies beside the record in a bundle is what the record names; nothing for a redacted one.

    The bundle itself was verified before. Raises as :func:`check_beside` does.
    """
    with opened(path) as bundle:
        if REDACTION in bundle.members:
            return []
        key = PublicKey.parse(
            bundle.read("ledger.vkey", MAX_NOTE, None if key_file is None else str(key_file)).decode("ascii")
        )
        names = [name for name in bundle.members if name in (LOG, HEAD, POLICY, f"{SEAL}seal.dsse.json")]
        members = {name: bundle.read(name, MAX_DOCUMENT) for name in names}
        size = TreeHead.parse(bundle.read("ledger/checkpoint", MAX_NOTE)).size
        first = islice(verify_evidence.read_entries(bundle, size), FIRST)
        entries = [Entry.decode(data) for data in first]
        with TemporaryDirectory() as place:
            blobs = Blobs(Path(place))
            for digest in (one for entry in entries for one in payloads_of(entry.body)):
                if f"blobs/{digest.value}" in bundle.members:
                    blobs.put(bundle.read(f"blobs/{digest.value}"))
            return check_beside(members, entries, blobs, key)


def check_beside(
    members: Mapping[str, bytes], bodies: Sequence[Entry], blobs: Blobs, key: PublicKey
) -> list[str]:
    """That seal, approvals and policy of a bundle are those that the record names; sentences about it.

    ``members``: those of the bundle; ``bodies``: its first entries at least, which were verified. Raises
    VerificationError for what does not hold, EvidenceError when something cannot be read.
    """
    checked = _seal_checked(bodies, blobs)
    if checked is None:
        return []
    seal = _check_seal(members, checked, key)
    said = (
        []
        if seal is None
        else [f"{seal.seal}, which the run was to be started on, is signed by the same key"]
    )
    if LOG in members and HEAD in members:
        said += _check_standing(members, checked, seal, key)
    return said


def _check_seal(members: Mapping[str, bytes], checked: SealChecked, key: PublicKey) -> Seal | None:
    envelope = members.get(f"{SEAL}seal.dsse.json")
    if envelope is None or not checked.digest:
        return None
    seal = signed_seal(envelope, key)
    if (seal.seal, seal.digest) != (checked.seal, checked.digest):
        raise VerificationError(f"the seal in the bundle is not {checked.seal}, which the record names")
    return seal


def _check_standing(
    members: Mapping[str, bytes], checked: SealChecked, seal: Seal | None, key: PublicKey
) -> Iterator[str]:
    entries = members[LOG].split(b"\n")[:-1]
    leaves = [leaf_hash(entry) for entry in entries]
    head = TreeHead.parse(members[HEAD])
    head.verify(key)
    if head.size != len(entries) or head.root != tree_root(leaves):
        raise VerificationError(
            "the log of approvals in the bundle is not the one that its tree head is over"
        )
    log = log_of(entries, head)
    log.check_continues(checked.log_size, checked.log_root, "the run")
    yield (
        f"the log of approvals, of {quantity(log.size, 'entry')}, continues what the run saw of it: "
        f"{checked.log_size}"
    )
    if seal is None or POLICY not in members:
        return
    policy = policy_from(decode(members[POLICY].rstrip(b"\n")))
    if str(policy.digest()) != checked.policy:
        raise VerificationError("the policy in the bundle is not the one that the record names")
    approvals = [one for one in log.approvals if one.number < checked.log_size]
    revocations = [one for one in log.revocations if one.number < checked.log_size]
    stands = standing(policy, approvable(seal, key), approvals, revocations, checked.origin.at)
    if checked.standing in {"approved", "expired", "fallen", "not approved"}:
        if stands.word.value != checked.standing:
            raise VerificationError(
                f"by policy and approvals the seal was {stands.word.value}, by the record {checked.standing}"
            )
        yield f"counted again, the seal was {stands.word.value} when the run was to be started"


def _written(value: Json) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
