from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.monitor.frames import BODIES, frame_of
from veracity.core import observation as seen
from veracity.core import wire
from veracity.core.digest import Digest
from veracity.core.errors import EvidenceError, VerificationError
from veracity.core.origin import Origin, Trust
from veracity.ledger.blobs import Blobs
from veracity.ledger.entry import Entry
from veracity.ledger.keys import SigningKey
from veracity.ledger.reader import Reader
from veracity.ledger.store import Ledger
from veracity.monitor.decode import observation_of, read_header
from veracity.monitor.recorder import Recorder
from veracity.monitor.replayed import replayed

ORIGIN = Origin("/proc", Trust.KERNEL, 7, 0, -1, 5)
ENDED = seen.ProcessEnded(ORIGIN, "rank", "python t.py", "signalled", 9, 1, True, "policy", 3)
FRAME = seen.StackFrame("/t.py", 3, "step", "time.sleep(1)")
OBSERVED: list[seen.Observation] = [
    ENDED,
    seen.Gap(ORIGIN, "what", "why", stops=True),
    seen.HostLoad(ORIGIN, 4, 3, 2, 1),
    seen.StackSampled(ORIGIN, 3, 2, True, 1, [FRAME] * 60),
    seen.RecordsMissing(ORIGIN, "7-00000abc", 3, 5, 1),
    seen.MetricsLogged(ORIGIN, "/m.jsonl", True, [seen.LoggedValue("loss", 3, 2.34565, 2.34575)] * 40),
    seen.EarlierRuns(
        ORIGIN,
        "0f" * 16,
        "seed",
        "bits",
        [seen.EarlierRun("run-1", 3, "ab", "s", "b", [seen.EarlierSeries("loss", [0, 4], [0.5, -1.25])])],
    ),
    seen.ReferenceDeclared(ORIGIN, "own.py", "sha256:00", "def Own(param, grad):\n    return {}\n" * 200),
    seen.FileDigested(ORIGIN, "saved", 1, "/a.pt", "", [], [], False, "", "", []),
    seen.SealChecked(
        ORIGIN, "seal-1", "sha256:00", "fallen", ["code: revoked"], override="now", override_by="0"
    ),
    seen.SealChecked(
        ORIGIN,
        "seal-1",
        "sha256:00",
        "approved",
        [],
        drift=[seen.SealDrift("code", "a.py", "content changed", "u", 5)] * 200,
    ),
]


class Made:
    """A ledger that the test writes, and what it holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger.create(
            folder / "ledger", "veracity.local/run", SigningKey.generate("veracity.local")
        )
        self.blobs = Blobs(folder / "blobs")
        self.recorder = Recorder(self.ledger, self.blobs)

    def take(self, data: bytes) -> seen.Observation:
        """Record a frame; the observation as it was made live."""
        found = wire.unpack(data)
        assert found is not None
        header = read_header(found[0])
        self.recorder.record("7-00000abc", 2, 7, header, found[0])
        return observation_of(header, found[0], pid=7, rank=2, verified=True)

    def entry(self) -> Entry:
        self.recorder.commit(publish=True)
        with Reader(self.folder / "ledger") as reader:
            return Entry.decode(list(reader.entries())[-1])


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    one = Made(tmp_path)
    yield one
    one.ledger.close()


@pytest.mark.parametrize("kind", sorted(BODIES))
def test_a_record_is_what_it_was_live(made: Made, kind: str) -> None:
    live = made.take(frame_of(kind, 4))
    assert replayed(made.entry(), made.blobs) == live


@pytest.mark.parametrize("observation", OBSERVED, ids=lambda one: type(one).__name__)
def test_what_the_monitor_saw_is_what_it_was_live(made: Made, observation: seen.Observation) -> None:
    made.recorder.observed(observation)
    assert replayed(made.entry(), made.blobs) == observation


def test_other_entries_hold_no_observation(made: Made) -> None:
    assert replayed(Entry("run", {"x": 1}), made.blobs) is None


@pytest.mark.parametrize(
    "entry",
    [
        Entry("record", {}),
        Entry("record", {"kind": "step", "frame": "x"}),
        Entry("record", {"kind": "step", "frame": str(Digest.of(b"gone"))}),
        Entry("record", {"kind": "unheard-of", "body": {}}),
        Entry("record", {"kind": "bye", "body": {}}),
        Entry("observed", {}),
        Entry("observed", {"kind": "Hello", "body": {}}),
        Entry("observed", {"kind": "Gap"}),
        Entry("observed", {"kind": "Gap", "body": {"what": 3}}),
        Entry("observed", {"kind": "Gap", "body": []}),
        Entry("observed", {"kind": "Gap", "data": str(Digest.of(b"gone"))}),
    ],
)
def test_what_does_not_fit_is_said(made: Made, entry: Entry) -> None:
    with pytest.raises(EvidenceError):
        replayed(entry, made.blobs)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b"{}", b"3"])
def test_a_malformed_payload_is_said(made: Made, data: bytes) -> None:
    digest = str(made.blobs.put(data))
    for entry in (Entry("observed", {"kind": "Gap", "data": digest}), Entry("record", {"frame": digest})):
        with pytest.raises(EvidenceError):
            replayed(entry, made.blobs)


def test_a_payload_that_was_altered_or_cut_is_said(made: Made) -> None:
    made.take(frame_of("step", 4))
    body = made.entry().body
    short = made.blobs.put(frame_of("step", 4)[:-1])
    with pytest.raises(EvidenceError, match="cut short"):
        replayed(Entry("record", {**body, "frame": str(short)}), made.blobs)
    path = made.folder / "blobs" / Digest.parse(str(body["frame"])).value
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(VerificationError):
        replayed(Entry("record", body), made.blobs)


def test_an_observation_survives_its_spelling() -> None:
    assert msgspec.convert(msgspec.to_builtins(ENDED), seen.ProcessEnded) == ENDED
