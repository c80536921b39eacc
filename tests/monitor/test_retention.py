"""Sample blocks of old held runs make room; the others stay."""

from __future__ import annotations

import json
from pathlib import Path

from veracity.monitor.retention import make_room


def _run(home: Path, name: str, verdict: str, size: int, started_at: int) -> Path:
    folder = home / "runs" / name
    (folder / "blobs").mkdir(parents=True)
    (folder / "blobs" / "aa").write_bytes(b"x" * size)
    document = {"run": name, "command": ["true"], "started_at": started_at, "verdict": verdict}
    (folder / "run.json").write_text(json.dumps(document))
    return folder


def test_the_oldest_held_runs_lose_their_blobs_first(tmp_path: Path) -> None:
    old = _run(tmp_path, "run-20260101-000000-aaaaaa", "held", 600, 1)
    broken = _run(tmp_path, "run-20260102-000000-bbbbbb", "broken", 600, 2)
    new = _run(tmp_path, "run-20260103-000000-cccccc", "held", 600, 3)
    removed = make_room(tmp_path, keep=new.name, limit=1000)
    assert removed == [old.name]
    assert not (old / "blobs").exists()
    assert (broken / "blobs" / "aa").exists()
    assert (new / "blobs" / "aa").exists()


def test_the_run_that_just_ended_is_never_cleared(tmp_path: Path) -> None:
    new = _run(tmp_path, "run-20260103-000000-cccccc", "held", 600, 3)
    assert make_room(tmp_path, keep=new.name, limit=100) == []
    assert (new / "blobs" / "aa").exists()


def test_nothing_is_removed_below_the_limit(tmp_path: Path) -> None:
    _run(tmp_path, "run-20260101-000000-aaaaaa", "held", 400, 1)
    _run(tmp_path, "run-20260103-000000-cccccc", "held", 400, 3)
    assert make_room(tmp_path, keep="run-20260103-000000-cccccc", limit=1000) == []
