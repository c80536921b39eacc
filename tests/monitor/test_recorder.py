from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.monitor.frames import frame_of, large_step
from veracity.core import canonical, wire
from veracity.core.canonical import Json
from veracity.core.coverage import Coverage
from veracity.core.digest import Digest
from veracity.core.errors import EvidenceError
from veracity.core.finding import Evidence, Finding
from veracity.core.observation import Gap, HostLoad, ModuleChecked
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Confidence, Severity
from veracity.core.verdict import Outcome, Verdict
from veracity.ledger.blobs import Blobs
from veracity.ledger.entry import Entry
from veracity.ledger.keys import SigningKey
from veracity.ledger.reader import Reader
from veracity.ledger.store import Ledger
from veracity.monitor.decode import read_header
from veracity.monitor.recorder import FLOAT, MAX_DEPTH, Recorder, inline_form, inline_value

MAX_STEP_ENTRY = 512
MAX_STEP_BLOB = 32 << 10
ORIGIN = Origin("monitor", Trust.SERVICE, 7, 0, -1, 5)
FINDING = Finding("time-stall", "time", Severity.ERROR, Confidence.HIGH, "a.py:3", "it sleeps", 0, 4)


@dataclass
class Record:
    """A recorder over a ledger of its own, and what that holds."""

    recorder: Recorder
    ledger: Ledger
    blobs: Blobs
    folder: Path

    def entries(self) -> list[Entry]:
        self.recorder.commit(publish=True)
        with Reader(self.folder / "ledger") as reader:
            return [Entry.decode(data) for data in reader.entries()]

    def take(self, data: bytes) -> int:
        found = wire.unpack(data)
        assert found is not None
        return self.recorder.record("123-00000abc", 0, 123, read_header(found[0]), found[0])


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    ledger = Ledger.create(tmp_path / "ledger", "veracity.local/run", SigningKey.generate("veracity.local"))
    blobs = Blobs(tmp_path / "blobs")
    yield Record(Recorder(ledger, blobs), ledger, blobs, tmp_path)
    ledger.close()


def test_the_record_of_a_step_is_small_and_its_block_holds_all_of_it(record: Record) -> None:
    for step in (1, 10**6):
        data = large_step(step, seq=step)
        assert record.take(data) >= 0
        entry = record.entries()[-1]
        assert len(entry.encode()) <= MAX_STEP_ENTRY
        blob = record.blobs.get(Digest.parse(str(entry.body["frame"])), MAX_STEP_BLOB)
        assert blob == data
        assert len(blob) <= MAX_STEP_BLOB
        found = wire.unpack(blob)
        assert found is not None
        assert len(found[0].blob) // 4 >= 512


def test_what_plots_need_stands_in_the_entry(record: Record) -> None:
    record.take(large_step(9))
    body = record.entries()[0].body
    assert (body["step"], body["optimizer"], body["kind"]) == (9, 0, "step")
    assert float.fromhex(str(body["loss"])) == 4.123456789012345
    assert float.fromhex(str(body["lr"])) == 0.0003
    assert body["ns"] == [12_345_678_901] * 5


def test_a_step_without_loss_or_with_odd_phases(record: Record) -> None:
    body: dict[str, object] = {
        "step": 1,
        "optimizer": 0,
        "loss": None,
        "groups": [],
        "phases": {"data": -1, "other": 2},
    }
    record.take(wire.pack("step", 0, 0, body))
    record.take(
        wire.pack("step", 1, 0, {"step": None, "groups": [{"lr": "x"}], "phases": None, "loss": float("nan")})
    )
    odd, odder = (entry.body for entry in record.entries())
    assert odd["ns"] == [0, 0, 0, 0, 2]
    assert "loss" not in odd
    assert odder["loss"] == "nan"
    assert not {"step", "lr", "ns"} & set(odder)


@pytest.mark.parametrize("kind", ["hello", "optimizer"])
def test_a_small_record_stands_in_its_entry(record: Record, kind: str) -> None:
    """Whether it holds numbers with a fraction or not."""
    record.take(frame_of(kind))
    (entry,) = record.entries()
    assert entry.body["body"] == json.loads(json.dumps(entry.body["body"]))
    assert "frame" not in entry.body
    assert record.blobs.size_bytes() == 0


def test_a_large_record_stands_in_a_blob(record: Record) -> None:
    record.take(frame_of("sampler", 0))
    (entry,) = record.entries()
    assert entry.body["length"] == len(record.blobs.get(Digest.parse(str(entry.body["frame"])), 1 << 20))
    assert entry.body["kind"] == "sampler"


def test_a_record_that_is_nested_deeply_is_kept_as_it_came(record: Record) -> None:
    for depth in (MAX_DEPTH - 1, 60, 70, 400):
        value: object = 1
        for _ in range(depth):
            value = [value]
        assert record.take(wire.pack("bye", 0, 0, {"x": value})) >= 0
    assert record.recorder.refused == 0
    assert ["frame" in entry.body for entry in record.entries()] == [False, True, True, True]


def test_what_the_monitor_saw_is_read_back(record: Record) -> None:
    gap = Gap(ORIGIN, "what", "why", law="update", stops=True)
    checked = ModuleChecked(
        ORIGIN, "m", "/m.py", "", "", "", "altered", "same", "", "", 0, ["+x" * 900] * 9, "", 1
    )
    assert record.recorder.observed(gap) == 0
    assert record.recorder.observed(checked) == 1
    small, large = record.entries()
    assert msgspec.convert(small.body["body"], Gap) == gap
    data = record.blobs.get(Digest.parse(str(large.body["data"])), 1 << 20)
    assert msgspec.convert(json.loads(data), ModuleChecked) == checked


def test_a_finding_is_read_back(record: Record) -> None:
    record.recorder.finding(FINDING, 3)
    (entry,) = record.entries()
    assert msgspec.convert(entry.body["finding"], Finding) == FINDING
    assert entry.body["entry"] == 3


def test_a_finding_with_names_of_any_length_is_recorded(record: Record) -> None:
    long = "é" * 20_000
    evidence = tuple(Evidence(long, long, long, (long,) * 50) for _ in range(3))
    large = Finding(
        "time-stall", "time", Severity.ERROR, Confidence.HIGH, long, long, 0, 4, evidence=evidence
    )
    record.recorder.finding(large, 0)
    (entry,) = record.entries()
    found = msgspec.convert(entry.body["finding"], Finding)
    assert found.breaks
    assert (found.rule, found.first_step) == ("time-stall", 4)
    assert found.subject.startswith("é" * 80)
    assert record.recorder.refused == 0


def test_a_finding_that_cannot_be_written_is_counted(record: Record) -> None:
    record.recorder.finding(Finding("a-b", "l", Severity.NOTE, Confidence.LOW, "s", "m", first_step=2**70), 0)
    assert record.recorder.refused == 1
    assert "a-b" in record.recorder.refusal


def test_the_verdict_and_what_it_rests_on(record: Record) -> None:
    verdict = Verdict(Outcome.INCOMPLETE, ("x" * 5000,) * 100)
    record.recorder.judged(verdict, {"time": Coverage("time", "steps", 1, 2, {"r": 1})}, {"exit_code": 3})
    body = record.entries()[0].body
    assert (body["outcome"], body["exit_code"]) == ("incomplete", 3)
    assert isinstance(body["reasons"], list)
    assert len(body["reasons"]) == 40
    assert body["coverage"] == {
        "time": {
            "law": "time",
            "unit": "steps",
            "checked": 1,
            "possible": 2,
            "reasons": {"r": 1},
            "stopped": "",
            "drawn_from": 0,
            "passed": 0,
        }
    }


def test_a_disk_that_refuses_costs_counted_entries(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> int:
        raise EvidenceError("no space left")

    monkeypatch.setattr(Ledger, "append", refuse)
    monkeypatch.setattr(Blobs, "put", refuse)
    monkeypatch.setattr(Ledger, "commit", refuse)
    assert record.take(frame_of("bye")) == -1
    assert record.recorder.blob(b"data") == str(Digest.of(b"data"))
    record.recorder.commit()
    assert (record.recorder.refused, record.recorder.refusal) == (3, "no space left")


def test_an_entry_that_cannot_be_written_is_counted(record: Record) -> None:
    assert record.recorder.entry("NO KIND", {}) == -1
    assert record.recorder.entry("x", {"long": "x" * 70_000}) == -1
    assert record.recorder.refused == 2
    assert record.recorder.size == 0


FOREIGN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.text(max_size=5)
    | st.floats()
    | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(FOREIGN)
def test_an_inline_form_is_canonical_and_equal_or_there_is_none(value: object) -> None:
    form = inline_form(value)
    if form is not None or value is None:
        assert canonical.encode(form) == canonical.encode(without_tuples(value))
    else:
        with pytest.raises((EvidenceError, TypeError)):
            canonical.encode(without_tuples(value))


def without_tuples(value: object) -> Json:
    if isinstance(value, (list, tuple)):
        return [without_tuples(item) for item in value]
    if isinstance(value, dict):
        return {key: without_tuples(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(value)


@pytest.mark.parametrize("value", [0.5, [None, 1.0], {"a": b""}, {"é": 1}, {1: 1}, 2**63, (object(),)])
def test_foreign_values_have_no_inline_form(value: object) -> None:
    assert inline_form(value) is None
    assert inline_form([None]) == [None]


@given(FOREIGN)
def test_numbers_with_a_fraction_go_inline_and_come_back(value: object) -> None:
    form = inline_form(value, floats=True)
    if form is None:
        return
    assert canonical.decode(canonical.encode(form)) == form
    assert repr(inline_value(form)) == repr(listed(value))


def listed(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [listed(item) for item in value]
    return {key: listed(item) for key, item in value.items()} if isinstance(value, dict) else value


def test_a_body_that_looks_like_a_number_is_not_taken_for_one() -> None:
    assert inline_form([{FLOAT: "0x1p+0"}], floats=True) is None
    assert inline_form([{FLOAT: "0x1p+0"}]) == [{FLOAT: "0x1p+0"}]


@pytest.mark.parametrize("text", ["", "one", 1, None, "0x1p+99999"])
def test_a_malformed_number_in_a_record_is_refused(text: Json) -> None:
    with pytest.raises(EvidenceError):
        inline_value({FLOAT: text})
    with pytest.raises(EvidenceError):
        inline_value({FLOAT: "0x1p+0", "more": 1})


def test_what_is_not_usual_is_news_until_it_is_durable(record: Record) -> None:
    record.take(large_step(1, seq=1))
    record.take(frame_of("rested", 2))
    record.recorder.observed(HostLoad(ORIGIN, 10**9, 0, 0, 10**9))
    assert not record.recorder.has_news
    record.recorder.finding(FINDING, 0)
    assert record.recorder.has_news
    record.recorder.commit()
    assert not record.recorder.has_news
    record.recorder.observed(Gap(ORIGIN, "a process ended", "it did"))
    assert record.recorder.has_news
