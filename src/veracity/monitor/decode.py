"""From a frame to an observation. The guard lives beside hostile code, so every field is checked."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import msgspec

from ..core import gradients as trail
from ..core.errors import EvidenceError
from ..core.observation import Observation, StepRecord
from ..core.origin import Origin, Trust
from ..core.sample import TensorSample, unpack
from ..core.sweep import MAX_SWEPT, NOT_SWEPT, Sweep
from ..core.sweep import unpack as unpack_sweep
from ..core.wire import Frame
from ..core.wiremap import KINDS

_SAMPLE_KEYS = ("layout", "typecode", "fields")
_DERIVED = frozenset({"samples", "swept_before", "swept_after"})
_INT_BOUND = 2**63


@dataclass(frozen=True, slots=True)
class Header:
    """The envelope of a frame."""

    kind: str
    seq: int
    at: int
    body: dict[str, object]


def read_header(frame: Frame) -> Header:
    """The frame's envelope; raises EvidenceError when it is not one the guard writes."""
    try:
        value = json.loads(frame.header)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"record is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise EvidenceError("record is not an object")
    kind, seq, at, body = value.get("k"), value.get("s"), value.get("t"), value.get("b")
    if type(kind) is not str or type(seq) is not int or type(at) is not int or type(body) is not dict:
        raise EvidenceError("record has a malformed envelope")
    if not 0 <= seq < 2**63 or not 0 <= at < 2**63:
        raise EvidenceError("record has an impossible sequence number or time")
    return Header(kind, seq, at, body)


def observation_of(header: Header, frame: Frame, *, pid: int, rank: int, verified: bool) -> Observation:
    """The observation a frame carries; ``verified`` says that the kernel confirmed the sender's pid.

    Raises EvidenceError for unknown kinds and for bodies that do not fit their kind.
    """
    kind = KINDS.get(header.kind)
    if kind is None:
        raise EvidenceError(f"record of unknown kind {header.kind[:40]!r}")
    trust = Trust.USERLAND if verified else Trust.SELF_REPORT
    origin = Origin("guard", trust, pid, rank, header.seq, header.at)
    body: dict[str, object] = dict(header.body)
    samples, before, after, gradients = None, NOT_SWEPT, NOT_SWEPT, trail.NO_GRADIENTS
    if any(type(value) is int and not -_INT_BOUND <= value < _INT_BOUND for value in body.values()):
        raise EvidenceError(f"record of kind {header.kind!r} has an impossible number")
    if kind is StepRecord:
        if not body.keys().isdisjoint(_DERIVED):
            raise EvidenceError("step record brings samples beside its block")
        layout, typecode, fields = (body.pop(key, None) for key in _SAMPLE_KEYS)
        block, gradients = _gradients(body.pop("gradients", None), frame.blob)
        block, before, after = _sweeps(body.pop("swept", None), block)
        samples = _samples(layout, typecode, fields, block)
    body["origin"] = origin
    try:
        observation = msgspec.convert(body, type=kind, strict=True)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise EvidenceError(f"record of kind {header.kind!r}: {error}") from error
    except RecursionError as error:
        raise EvidenceError(f"record of kind {header.kind!r} is nested too deeply") from error
    if samples is not None and isinstance(observation, StepRecord):
        observation.samples.extend(samples)
        return replace(observation, swept_before=before, swept_after=after, gradients=gradients)
    return observation


@dataclass(frozen=True, slots=True)
class _Described:
    """How a step record describes its gradients."""

    size: int
    count: int
    absent: list[list[int]]
    raw: int
    taken: int
    events: list[trail.GradientEvent]
    starts: str
    backwards: int
    failed: int
    cut: bool
    between: trail.Segment | None = None
    written: list[int] | None = None


def _gradients(described: object, blob: bytes) -> tuple[bytes, trail.Gradients]:
    """What comes before the gradients, and these (earlier records had none)."""
    if described is None:
        return blob, trail.NO_GRADIENTS
    try:
        it = msgspec.convert(described, type=_Described, strict=True)
    except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
        raise EvidenceError(f"step record has a malformed description of its gradients: {error}") from error
    readings = len(it.absent)
    segments = [(it.raw, it.taken, it.events)]
    if it.between is not None:
        segments.append((it.between.raw, it.between.taken, it.between.events))
    if readings > trail.MAX_READINGS or any(len(events) > trail.MAX_EVENTS for _, _, events in segments):
        raise EvidenceError("a trail of gradients claims to be larger than any is")
    events = [event for _, _, some in segments for event in some]
    indices = [index for event in events for index in (event.before, event.after)]
    indices += [taken for _, taken, _ in segments] + [raw for raw, _, _ in segments[1:]]
    if not -1 <= it.raw < readings or not all(0 <= index < readings for index in indices):
        raise EvidenceError("a trail of gradients names a reading that it does not hold")
    if len(it.starts) > trail.MAX_STARTS or min(it.size, it.count, it.backwards, it.failed) < 0:
        raise EvidenceError("a trail of gradients has impossible numbers")
    if any(len(missing) > it.size for missing in it.absent):
        raise EvidenceError("a trail of gradients names tensors that it does not hold")
    if any(len(event.outside) > it.size for event in events):
        raise EvidenceError("a call that clips names tensors that were not read")
    border = len(blob) - trail.length(it.size, it.count, it.absent)
    if border < 0:
        raise EvidenceError("a trail of gradients and its description differ in length")
    if it.written is not None and len(it.written) > it.size:
        raise EvidenceError("a trail of gradients has more written tensors than it read")
    tensors, found = trail.unpack(it.size, it.count, it.absent, blob[border:])
    written = tuple(it.written) if it.written is not None else None
    return blob[:border], trail.Gradients(
        tensors, found, it.raw, it.taken, tuple(it.events), it.starts, it.backwards, it.failed, it.cut,
        it.between, written,
    )  # fmt: skip


def _sweeps(sizes: object, blob: bytes) -> tuple[bytes, Sweep, Sweep]:
    """The sample block, and the two sweeps that follow it (the first records had none)."""
    if sizes is None:
        return blob, NOT_SWEPT, NOT_SWEPT
    if not isinstance(sizes, list) or len(sizes) != 4:
        raise EvidenceError("step record has a malformed description of its sweeps")
    if not all(type(size) is int and 0 <= size <= MAX_SWEPT for size in sizes):
        raise EvidenceError("a sweep claims to be larger than any is")
    lengths = [4 * sizes[at] * (1 + sizes[at + 1]) for at in (0, 2)]
    border = len(blob) - sum(lengths)
    if border < 0:
        raise EvidenceError("a sweep and its description differ in length")
    middle = border + lengths[0]
    before = unpack_sweep(sizes[0], sizes[1], blob[border:middle])
    return blob[:border], before, unpack_sweep(sizes[2], sizes[3], blob[middle:])


def _samples(layout: object, typecode: object, fields: object, blob: bytes) -> list[TensorSample]:
    if not isinstance(layout, list) or not isinstance(typecode, str) or not isinstance(fields, list):
        raise EvidenceError("step record has no sample description")
    if not all(isinstance(item, list) for item in layout):
        raise EvidenceError("step record has a malformed sample description")
    names = []
    for group in fields:
        if not isinstance(group, list) or not all(isinstance(name, str) for name in group):
            raise EvidenceError("step record has malformed field names")
        names.append(group)
    return unpack(layout, names, typecode, blob)
