from __future__ import annotations

import time
from pathlib import Path

import pytest

from veracity.core.errors import ResourceLimitError
from veracity.core.observation import Gap
from veracity.core.origin import monitor_origin
from veracity.ledger.blobs import Blobs
from veracity.ledger.entry import Entry
from veracity.ledger.keys import SigningKey
from veracity.ledger.reader import Reader
from veracity.ledger.store import Ledger
from veracity.monitor.allowance import CLOSING_BYTES, Allowance, Day, Quota
from veracity.monitor.recorder import Recorder


def test_without_a_quota_everything_may_be_recorded() -> None:
    allowance = Allowance()
    for _ in range(100):
        assert allowance.record()
        allowance.take(1 << 40)
    assert allowance.refusal == ""


def test_a_run_has_so_many_bytes_and_room_to_be_closed() -> None:
    allowance = Allowance(Quota(run_bytes=1000))
    allowance.take(1001)
    with pytest.raises(ResourceLimitError, match="used up the 1,000 bytes"):
        allowance.take(1)
    allowance.take(CLOSING_BYTES, closing=True)
    with pytest.raises(ResourceLimitError):
        allowance.take(1, closing=True)


def test_runs_of_an_account_share_its_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veracity.monitor.allowance.DISK_EVERY", 0.0)
    quota = Quota(day_bytes=1000)
    one, two = (Allowance(quota, Day(tmp_path / "today")) for _ in range(2))
    one.take(600)
    one.take(1)
    two.take(600)
    with pytest.raises(ResourceLimitError, match="1,000 bytes of today"):
        two.take(1)


def test_yesterday_and_nonsense_do_not_count(tmp_path: Path) -> None:
    day = Day(tmp_path / "today")
    assert day.add(5, runs=1) == (5, 1)
    assert day.add(5, runs=1) == (10, 2)
    today = int(time.time()) // 86_400
    for text in (f"{today - 1} 900 9\n", "x y z", f"{today} -5 1", "", f"{today} 9"):
        (tmp_path / "today").write_text(text)
        assert day.add(7) == (7, 0)


def test_a_link_in_place_of_the_count_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("keep")
    (tmp_path / "today").symlink_to(tmp_path / "other")
    allowance = Allowance(Quota(), Day(tmp_path / "today"))
    with pytest.raises(ResourceLimitError, match="cannot be counted"):
        allowance.take(1)
    assert (tmp_path / "other").read_text() == "keep"


def test_a_disk_keeps_its_reserve(tmp_path: Path) -> None:
    with pytest.raises(ResourceLimitError, match="disk has less than"):
        Allowance(Quota(reserve_bytes=1 << 60), disk=tmp_path).take(1)


def test_records_come_at_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("veracity.monitor.allowance.time.monotonic", lambda: now[0])
    allowance = Allowance(Quota(records_per_second=10))
    assert [allowance.record() for _ in range(11)] == [True] * 9 + [False] * 2
    now[0] += 0.5
    assert allowance.record()
    assert "10 records a second" in allowance.pace


def test_what_is_refused_is_said_once_in_the_record(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "ledger", "test.local/run", SigningKey.generate("test.local"))
    recorder = Recorder(ledger, Blobs(tmp_path / "blobs"), Allowance(Quota(run_bytes=2000)))
    gap = Gap(monitor_origin(1), "w" * 900, "")
    for _ in range(5):
        recorder.observed(gap)
    recorder.entry("judged", {"outcome": "incomplete"})
    ledger.close()
    with Reader(tmp_path / "ledger") as reader:
        entries = [Entry.decode(data) for data in reader.entries()]
    said = [str(entry.body) for entry in entries]
    assert sum("records are not kept any more" in one for one in said) == 1
    assert "used up the 2,000 bytes" in said[-2]
    assert entries[-1].kind == "judged"
    assert recorder.refused == 6 - len(entries) + 1
