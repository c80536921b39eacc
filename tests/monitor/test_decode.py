from __future__ import annotations

import json
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.monitor.frames import BLOBS, BODIES, frame_of
from veracity.core.errors import EvidenceError
from veracity.core.observation import Observation, StepRecord
from veracity.core.origin import Trust
from veracity.core.wire import HEAD, MAGIC, Frame, unpack
from veracity.core.wiremap import KINDS
from veracity.monitor.decode import Header, observation_of, read_header

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**64), 10**400, 1e308, float("nan"), float("-inf"), "\ud800", "\0"])
    | st.floats()
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["origin", "index", "children", "step", "name", "é"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


def framed(header: bytes, blob: bytes = b"") -> Frame:
    crc = zlib.crc32(blob, zlib.crc32(header))
    found = unpack(HEAD.pack(MAGIC, len(header), len(blob), crc) + header + blob)
    assert found is not None
    return found[0]


def taken(data: bytes, *, verified: bool = True) -> Observation:
    found = unpack(data)
    assert found is not None
    return observation_of(read_header(found[0]), found[0], pid=7, rank=2, verified=verified)


def given_as(kind: str, body: dict[str, object], blob: bytes = b"") -> Observation:
    return observation_of(Header(kind, 1, 2, body), Frame(b"", blob, b""), pid=7, rank=0, verified=True)


def test_there_is_a_body_for_every_kind() -> None:
    assert set(BODIES) == set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_the_guard_writes_is_taken_in(kind: str) -> None:
    observation = taken(frame_of(kind, 5))
    assert type(observation) is KINDS[kind]
    origin = observation.origin
    assert (origin.pid, origin.rank, origin.seq, origin.at) == (7, 2, 5, 1005)


def test_a_sender_the_kernel_did_not_name_is_trusted_less() -> None:
    assert taken(frame_of("bye")).origin.trust is Trust.USERLAND
    assert taken(frame_of("bye"), verified=False).origin.trust is Trust.SELF_REPORT


def test_a_record_cannot_speak_for_its_origin() -> None:
    body = {
        **BODIES["bye"],
        "origin": {"source": "/proc", "trust": "kernel", "pid": 1, "rank": 9, "seq": 0, "at": 0},
    }
    origin = given_as("bye", body).origin
    assert (origin.source, origin.pid, origin.rank) == ("guard", 7, 0)


def test_the_samples_come_from_the_block() -> None:
    record = taken(frame_of("step"))
    assert isinstance(record, StepRecord)
    (sample,) = record.samples
    assert list(sample.before["param"]) == [0, 1]
    assert list(sample.before["grad"]) == [2, 3]
    assert list(sample.after["param"]) == [4, 5]
    assert (sample.step_before, sample.step_after) == (None, 1.0)


def test_the_sweeps_follow_the_block() -> None:
    tail = struct.pack("<I2f", 3, 1.5, 2.5) + struct.pack("<2I2f", 3, 4, 5.0, 6.0)
    record = given_as("step", {**BODIES["step"], "swept": [1, 2, 2, 1]}, BLOBS["step"] + tail)
    assert isinstance(record, StepRecord)
    assert len(record.samples) == 1
    assert (record.swept_before.tensors, list(record.swept_before.values)) == ((3,), [1.5, 2.5])
    assert (record.swept_after.tensors, list(record.swept_after.values)) == ((3, 4), [5.0, 6.0])


@pytest.mark.parametrize(
    "sizes", [[1, 2, 2], [1, 2, 2, -1], [10**6, 1, 1, 1], [True, 1, 1, 1], {}, 4, [3, 40, 3, 40]]
)
def test_malformed_sweeps_are_refused(sizes: object) -> None:
    with pytest.raises(EvidenceError, match=r"sweep|block"):
        given_as("step", {**BODIES["step"], "swept": sizes}, BLOBS["step"])


NORM = {"kind": "norm", "before": 0, "after": 1, "limit": 1.0, "norm": 2.0, "own": None, "outside": [3]}
TRAIL: dict[str, object] = {
    "size": 2, "count": 1, "absent": [[], [4]], "raw": 0, "taken": 1, "events": [NORM],
    "starts": "n", "backwards": 1, "failed": 0, "cut": False,
}  # fmt: skip
TRAIL_BLOB = struct.pack("<2I3f", 3, 4, 1.5, 2.5, 0.75)


def test_the_gradients_follow_the_sweeps() -> None:
    tail = struct.pack("<I2f", 3, 1.5, 2.5) + struct.pack("<2I2f", 3, 4, 5.0, 6.0) + TRAIL_BLOB
    body = {**BODIES["step"], "swept": [1, 2, 2, 1], "gradients": TRAIL}
    record = given_as("step", body, BLOBS["step"] + tail)
    assert isinstance(record, StepRecord)
    assert list(record.swept_after.values) == [5.0, 6.0]
    found = record.gradients
    assert (found.tensors, found.raw, found.taken, found.starts) == ((3, 4), 0, 1, "n")
    assert [list(one.values) for one in found.readings] == [[1.5, 2.5], [0.75]]
    assert (found.events[0].limit, found.events[0].outside) == (1.0, [3])
    assert found.written is None
    body["gradients"] = {**TRAIL, "written": [4]}
    written = given_as("step", body, BLOBS["step"] + tail)
    assert isinstance(written, StepRecord)
    assert written.gradients.written == (4,)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 3},
        {"size": -1},
        {"size": 10**400},
        {"count": -1},
        {"count": 2**70},
        {"absent": [[]] * 21},
        {"absent": [[9, 9, 9], []]},
        {"absent": [["a"], []]},
        {"raw": 2},
        {"raw": -2},
        {"taken": -1},
        {"taken": 7},
        {"events": [{**NORM, "after": 9}]},
        {"events": [{**NORM, "after": -1}]},
        {"events": [{**NORM, "limit": "1"}]},
        {"events": [{**NORM, "outside": [1, 2, 3]}]},
        {"events": [NORM] * 5},
        {"between": {"raw": -1, "taken": 1, "events": []}},
        {"between": {"raw": 0, "taken": 2, "events": []}},
        {"between": {"raw": 0, "taken": 1, "events": [{**NORM, "before": 3}]}},
        {"starts": "n" * 65},
        {"starts": None},
        {"backwards": -1},
        {"cut": 0},
        {"written": [3, 4, 5]},
        {"written": ["3"]},
    ],
)
def test_malformed_gradients_are_refused(change: dict[str, object]) -> None:
    given_as("step", {**BODIES["step"], "gradients": TRAIL}, BLOBS["step"] + TRAIL_BLOB)
    malformed: tuple[object, ...] = ({**TRAIL, **change}, [], 3)
    for described in malformed:
        with pytest.raises(EvidenceError):
            given_as("step", {**BODIES["step"], "gradients": described}, BLOBS["step"] + TRAIL_BLOB)


@pytest.mark.parametrize("samples", [[], [{"tensor": -1}], None])
def test_samples_beside_the_block_are_refused(samples: object) -> None:
    with pytest.raises(EvidenceError, match="beside its block"):
        given_as("step", {**BODIES["step"], "samples": samples}, BLOBS["step"])


@pytest.mark.parametrize(
    "change",
    [
        {"layout": None},
        {"layout": {}},
        {"layout": [None]},
        {"layout": [["0"] * 7]},
        {"typecode": None},
        {"typecode": "q"},
        {"fields": None},
        {"fields": ["param"]},
        {"fields": [["param", 3], []]},
        {"fields": []},
        {"step": 2**63},
        {"step": True},
        {"step": "4"},
        {"step": 4.5},
        {"loss": "nan"},
        {"groups": [{"lr": {}}]},
        {"groups": {}},
        {"phases": {"data": 1.5}},
        {"rng": None},
    ],
)
def test_a_malformed_step_is_refused(change: dict[str, object]) -> None:
    given_as("step", dict(BODIES["step"]), BLOBS["step"])
    with pytest.raises(EvidenceError):
        given_as("step", {**BODIES["step"], **change}, BLOBS["step"])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_field_that_is_missing_or_foreign_is_refused_or_has_a_default(kind: str) -> None:
    for name in BODIES[kind]:
        with pytest.raises(EvidenceError):
            given_as(kind, {**BODIES[kind], name: object()}, BLOBS.get(kind, b""))
    with pytest.raises(EvidenceError):
        given_as(kind, {})


@pytest.mark.parametrize("kind", ["", "steps", "Hello", "\ud800", "x" * 10_000])
def test_an_unknown_kind_is_refused(kind: str) -> None:
    with pytest.raises(EvidenceError, match="unknown kind") as caught:
        given_as(kind, {})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b'{"k":"bye","s":0,"t":0}',
        b'{"k":1,"s":0,"t":0,"b":{}}',
        b'{"k":"bye","s":"0","t":0,"b":{}}',
        b'{"k":"bye","s":0.0,"t":0,"b":{}}',
        b'{"k":"bye","s":true,"t":0,"b":{}}',
        b'{"k":"bye","s":-1,"t":0,"b":{}}',
        b'{"k":"bye","s":0,"t":-1,"b":{}}',
        b'{"k":"bye","s":9223372036854775808,"t":0,"b":{}}',
        b'{"k":"bye","s":0,"t":0,"b":[]}',
        b'{"k":"bye","s":' + b"1" * 5000 + b',"t":0,"b":{}}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_malformed_envelope_is_refused(header: bytes) -> None:
    with pytest.raises(EvidenceError):
        read_header(framed(header))


@pytest.mark.parametrize("depth", [10, 100, 300, 480, 495, 900])
def test_schedulers_within_schedulers_end_in_an_observation_or_an_error(depth: int) -> None:
    scheduler = json.dumps(BODIES["scheduler"]["scheduler"])
    opening = scheduler[: scheduler.index('"children"')] + '"children": ['
    text = opening * depth + scheduler + "]}" * depth
    header = b'{"k":"scheduler","s":0,"t":0,"b":{"reloaded":false,"scheduler":' + text.encode() + b"}}"
    frame = framed(header)
    try:
        observation = observation_of(read_header(frame), frame, pid=7, rank=0, verified=True)
    except EvidenceError:
        assert depth > 50
    else:
        assert type(observation) is KINDS["scheduler"]


@given(st.sampled_from(sorted(KINDS)), st.data())
@settings(max_examples=examples(150))
def test_no_body_raises_anything_else(kind: str, data: st.DataObject) -> None:
    names = [*BODIES[kind], "origin", "samples", "extra"]
    changed = data.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=3))
    dropped = data.draw(st.sets(st.sampled_from(names), max_size=1))
    body = {name: value for name, value in {**BODIES[kind], **changed}.items() if name not in dropped}
    header = json.dumps({"k": kind, "s": 0, "t": 0, "b": body}).encode()
    frame = framed(header, data.draw(st.sampled_from([b"", b"x", BLOBS["step"], struct.pack("<f", 1.0)])))
    try:
        observation = observation_of(read_header(frame), frame, pid=7, rank=0, verified=True)
    except EvidenceError:
        return
    assert type(observation) is KINDS[kind]
    assert observation.origin.source == "guard"


@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_header_raises_anything_else(header: bytes) -> None:
    try:
        envelope = read_header(framed(header))
    except EvidenceError:
        return
    assert isinstance(envelope.body, dict)
