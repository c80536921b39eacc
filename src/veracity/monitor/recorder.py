"""Writing the record: entries into the ledger, large payloads into blobs, findings and gaps as they come."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping

import msgspec

from ..core.canonical import Json
from ..core.coverage import Coverage
from ..core.digest import Digest
from ..core.errors import EvidenceError
from ..core.finding import Finding
from ..core.observation import Gap, Observation
from ..core.origin import monitor_origin
from ..core.verdict import Verdict
from ..core.wire import Frame
from ..ledger.blobs import Blobs
from ..ledger.entry import Entry
from ..ledger.store import Ledger
from .accounts import recorded
from .allowance import Allowance
from .decode import Header

INLINE_BYTES = 2048
BATCH_BYTES = 32 << 20
MAX_DEPTH = 48
SALT_BYTES = 16
MAX_FINDING = 48 << 10
BLOB_BYTES = 4096
"""What a blob takes beside its length: a file has a block and a name."""
CLOSING = ("finding", "enforced", "seal", "judged")
"""Kinds of entries for which room is kept when an account has used up what it may."""
USUAL = frozenset(
    {"step", "rested", "batches", "scheduled", "schedules", "HostLoad", "SocketsSeen", "MetricsLogged"}
)
"""What a run that goes well tells all the time, by the guards' word and by looks from outside."""
FLOAT = "~f"
_CLIPS = ((1000, 20), (200, 8), (80, 3))


class Recorder:
    """Appends to one run's ledger. A disk that refuses costs counted entries, never the job."""

    def __init__(self, ledger: Ledger, blobs: Blobs, allowance: Allowance | None = None) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._allowance = allowance or Allowance()
        self._waiting = 0
        self.has_news = False
        """Whether an entry that waits for a commit is none of the ``USUAL``."""
        self._told = ""
        self.refused = 0
        self.refusal = ""

    @recorded
    def entry(self, kind: str, body: Mapping[str, Json]) -> int:
        """Append one entry; its index, or -1 when it was refused."""
        try:
            # Without a salt, whoever sees the entry's hash and all of it but a name could try names out.
            data = Entry(kind, {**body, "salt": secrets.token_urlsafe(SALT_BYTES)}).encode()
            self._allowance.take(len(data), closing=kind in CLOSING or kind == self._told)
            self._waiting += len(data)
            index = self._ledger.append(data)
            self.has_news = self.has_news or body.get("kind", kind) not in USUAL
            if self._waiting > BATCH_BYTES:
                self.commit()
        except EvidenceError as error:
            self._refuse(error)
            return -1
        return index

    @recorded
    def blob(self, data: bytes, *, closing: bool = False) -> str:
        """Keep ``data``; its digest (which is recorded even when the disk refuses the data).

        ``closing``: it belongs to an entry that closes the record.
        """
        try:
            self._allowance.take(len(data) + BLOB_BYTES, closing=closing)
            return str(self._blobs.put(data))
        except EvidenceError as error:
            self._refuse(error)
            return str(Digest.of(data))

    def record(self, stream: str, rank: int, pid: int, header: Header, frame: Frame) -> int:
        """One record of a guard: small ones stand in the entry, the others and all steps in a blob."""
        body: dict[str, Json] = {
            "kind": header.kind,
            "stream": stream,
            "seq": header.seq,
            "rank": rank,
            "pid": pid,
            "at": header.at,
        }
        small = None
        if len(frame.raw) <= INLINE_BYTES and not frame.blob and header.kind != "step":
            small = inline_form(header.body, floats=True)
        if small is not None:
            body["body"] = small
        else:
            body["frame"] = self.blob(frame.raw)
            body["length"] = len(frame.raw)
        if header.kind == "step":
            body.update(_step_summary(header.body))
        return self.entry("record", body)

    def observed(self, observation: Observation) -> int:
        """Something the monitor saw by itself."""
        value = msgspec.to_builtins(observation)
        kind = type(observation).__name__
        data = json.dumps(value, sort_keys=True).encode()
        small = inline_form(value) if len(data) <= INLINE_BYTES else None
        if small is not None:
            return self.entry("observed", {"kind": kind, "body": small})
        return self.entry("observed", {"kind": kind, "data": self.blob(data)})

    def finding(self, finding: Finding, entry: int) -> None:
        """A finding, with the index of the entry that brought it."""
        value = inline_form(msgspec.to_builtins(finding))
        if value is None:
            self._refuse(EvidenceError(f"a finding of {finding.rule} has no canonical form"))
            return
        for text, items in _CLIPS:
            if len(json.dumps(value)) <= MAX_FINDING:
                break
            value = _clipped(value, text, items)
        self.entry("finding", {"finding": value, "entry": entry})

    def judged(self, verdict: Verdict, coverage: Mapping[str, Coverage], final: Mapping[str, Json]) -> None:
        """The verdict and what it rests on. The last one in the ledger counts."""
        body: dict[str, Json] = {
            "outcome": verdict.outcome.value,
            "reasons": [reason[:500] for reason in verdict.reasons[:40]],
            "coverage": inline_form({law: msgspec.to_builtins(part) for law, part in coverage.items()}),
        }
        self.entry("judged", {**body, **final})

    @recorded
    def commit(self, *, publish: bool = False) -> bool:
        """Make what was appended durable; whether it is."""
        try:
            self._ledger.commit(publish=publish)
            self._waiting, self.has_news = 0, False
        except EvidenceError as error:
            self._refuse(error)
            return False
        return True

    @property
    def size(self) -> int:
        """Entries so far."""
        return self._ledger.size

    def _refuse(self, error: EvidenceError) -> None:
        self.refused += 1
        self.refusal = self.refusal or str(error.diagnostics().what)
        if self._allowance.refusal and not self._told:
            # Said once, in the room that is kept for what closes a record.
            self._told = "observed"
            self.observed(Gap(monitor_origin(time.time_ns()), "records are not kept any more", self.refusal))
            self._told = "said"


def inline_form(value: object, depth: int = 0, *, floats: bool = False) -> Json:
    """``value`` as canonical JSON allows it, None when it holds a float or another foreign value.

    With ``floats``, one becomes ``{"~f": float.hex()}`` (:func:`inline_value` is the way back). None as well
    when ``value`` is nested deeper than ``MAX_DEPTH``.
    """
    if depth > MAX_DEPTH:
        return None
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    if floats and isinstance(value, float):
        return {FLOAT: value.hex()}
    if isinstance(value, (list, tuple)):
        items: list[Json] = []
        for item in value:
            form = inline_form(item, depth + 1, floats=floats)
            if form is None and item is not None:
                return None
            items.append(form)
        return items
    if isinstance(value, dict):
        found: dict[str, Json] = {}
        for key, item in value.items():
            form = inline_form(item, depth + 1, floats=floats)
            if (form is None and item is not None) or not isinstance(key, str) or not key.isascii():
                return None
            found[key] = form
        return None if floats and FLOAT in found else found
    return None


def inline_value(form: Json) -> object:
    """What :func:`inline_form` was given; raises EvidenceError for what it would not have written."""
    if isinstance(form, list):
        return [inline_value(item) for item in form]
    if isinstance(form, dict):
        if FLOAT in form:
            text = form[FLOAT]
            try:
                if len(form) == 1 and isinstance(text, str):
                    return float.fromhex(text)
            except (ValueError, OverflowError):
                pass
            raise EvidenceError("a recorded number is malformed")
        return {key: inline_value(item) for key, item in form.items()}
    return form


def _clipped(value: Json, text: int, items: int) -> Json:
    """``value`` with texts and lists longer than that cut, so that an entry can hold it.

    A finding must be recorded however long the names are that the job gave to its things.
    """
    if isinstance(value, str):
        return value if len(value) <= text else value[:text] + " …"
    if isinstance(value, list):
        return [_clipped(item, text, items) for item in value[:items]]
    if isinstance(value, dict):
        return {key: _clipped(item, text, items) for key, item in value.items()}
    return value


def _step_summary(body: Mapping[str, object]) -> dict[str, Json]:
    """What plots need, so that a report need not open every blob: floats in hexadecimal, times in ns."""
    summary: dict[str, Json] = {}
    step, optimizer, loss = body.get("step"), body.get("optimizer"), body.get("loss")
    if isinstance(step, int) and isinstance(optimizer, int):
        summary["step"], summary["optimizer"] = step, optimizer
    if isinstance(loss, float):
        summary["loss"] = loss.hex()
    groups, phases = body.get("groups"), body.get("phases")
    if isinstance(groups, list) and groups and isinstance(groups[0], dict):
        rate = groups[0].get("lr")
        if isinstance(rate, float):
            summary["lr"] = rate.hex()
    if isinstance(phases, dict):
        names = ("data", "forward", "backward", "optimizer", "other")
        times = [phases.get(name) for name in names]
        summary["ns"] = [time if type(time) is int and 0 <= time < 2**62 else 0 for time in times]
    return summary
