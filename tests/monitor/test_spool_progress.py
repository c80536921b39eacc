"""``taken`` tells whether a spool has more to give, also when a read brought no whole record."""

from __future__ import annotations

from pathlib import Path

import pytest

from veracity.core.wire import pack
from veracity.monitor import spool as spool_module
from veracity.monitor.spool import SpoolReader


def drain(reader: SpoolReader) -> list[bytes]:
    """Everything that is left, as the monitor takes it in at the end of a job."""
    blobs, before = [], -1
    while before != reader.taken:
        before = reader.taken
        for item in reader.read():
            assert isinstance(item, tuple), item
            blobs.append(item[1].blob)
    return blobs


@pytest.mark.parametrize("portion", [16, 100, 1 << 20])
def test_a_record_longer_than_a_portion_does_not_end_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    monkeypatch.setattr(spool_module, "READ_BYTES", portion)
    wanted = [bytes([number]) * 900 for number in range(6)]
    for segment in range(2):
        frames = [pack("module", segment * 3 + part, 1, {}, wanted[segment * 3 + part]) for part in range(3)]
        (tmp_path / f"12-0123abcd.{segment:06d}.spool").write_bytes(b"".join(frames))
    reader = SpoolReader(tmp_path)
    assert drain(reader) == wanted
    assert reader.torn() == []
    before = reader.taken
    assert list(reader.read()) == []
    assert reader.taken == before


def test_who_stops_early_gives_each_spool_its_turn(tmp_path: Path) -> None:
    for pid in range(10, 13):
        frames = [pack("module", number, 1, {}, bytes([pid])) for number in range(4)]
        (tmp_path / f"{pid}-0123abcd.000000.spool").write_bytes(b"".join(frames))
    reader = SpoolReader(tmp_path)
    taken = []
    for _ in range(12):
        item = next(reader.read())
        assert isinstance(item, tuple), item
        taken.append((item[0].pid, item[1].blob))
    assert taken == [(pid, bytes([pid])) for pid in (10, 11, 12)] * 4
    assert list(reader.read()) == []
