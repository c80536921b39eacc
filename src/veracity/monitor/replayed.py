"""From an entry of a ledger back to the observation it recorded, so that it can be judged again."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from ..core import observation as seen
from ..core.canonical import Json
from ..core.digest import Digest
from ..core.errors import EvidenceError
from ..core.wire import Frame, unpack
from ..ledger.blobs import Blobs
from ..ledger.entry import Entry
from .decode import Header, observation_of, read_header
from .recorder import inline_value

MAX_PAYLOAD = 80 << 20
_OBSERVED: dict[str, type[seen.Observation]] = {
    kind.__name__: kind
    for kind in (
        seen.EarlierRuns,
        seen.FileDigested,
        seen.FileScanned,
        seen.FileWritten,
        seen.FunctionsExpected,
        seen.Gap,
        seen.GroupLoad,
        seen.HostLoad,
        seen.JobJoined,
        seen.JobStuck,
        seen.LibraryMapped,
        seen.MetricsLogged,
        seen.ModuleChecked,
        seen.MonitorHeld,
        seen.PeerReplicas,
        seen.PeerSeen,
        seen.ProcessAppeared,
        seen.ProcessChanged,
        seen.ProcessEnded,
        seen.ProcessHeld,
        seen.RecordDamaged,
        seen.RecordsMissing,
        seen.ReferenceDeclared,
        seen.SealChecked,
        seen.SignalForwarded,
        seen.SocketsSeen,
        seen.StackSampled,
        seen.StacksUnavailable,
        seen.StartupItem,
        seen.WorkersSeen,
    )
}


def replayed(entry: Entry, blobs: Blobs) -> seen.Observation | None:
    """The observation of a ``record`` or ``observed`` entry, None for entries of other kinds.

    Raises EvidenceError when the payload is gone or malformed, VerificationError when it was altered.
    """
    if entry.kind == "record":
        return recorded(entry.body, blobs)
    if entry.kind == "observed":
        return observed(entry.body, blobs)
    return None


def recorded(body: Mapping[str, Json], blobs: Blobs) -> seen.Observation:
    """The guard's record in the body of a ``record`` entry, or in the blob it names."""
    pid, rank = _int(body.get("pid")), _int(body.get("rank"))
    inline = body.get("body")
    if isinstance(inline, dict):
        value = inline_value(inline)
        values = value if isinstance(value, dict) else {}
        header = Header(str(body.get("kind")), _int(body.get("seq")), _int(body.get("at")), values)
        return observation_of(header, Frame(b"", b"", b""), pid=pid, rank=rank, verified=True)
    raw = blobs.get(Digest.parse(str(body.get("frame"))), MAX_PAYLOAD)
    found = unpack(raw)
    if found is None:
        raise EvidenceError("a recorded frame is cut short")
    return observation_of(read_header(found[0]), found[0], pid=pid, rank=rank, verified=True)


def observed(body: Mapping[str, Json], blobs: Blobs) -> seen.Observation:
    """What the monitor saw by itself, from the body of an ``observed`` entry or the blob it names."""
    kind = _OBSERVED.get(str(body.get("kind")))
    if kind is None:
        raise EvidenceError(f"an observation of unknown kind {str(body.get('kind'))[:40]!r}")
    value: object = body.get("body")
    try:
        if value is None:
            value = json.loads(blobs.get(Digest.parse(str(body.get("data"))), MAX_PAYLOAD))
        return msgspec.convert(value, type=kind)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"a recorded observation does not fit its kind: {error}") from error


def _int(value: Json) -> int:
    return value if isinstance(value, int) else 0
