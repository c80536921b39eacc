"""Files of mode 0600, there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veracity.core.errors import EvidenceError
from veracity.ledger.files import read_bounded, write_private


def test_a_private_file_is_replaced_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"old")
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["key"]


def test_what_is_no_file_is_refused_and_not_held_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    held = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(EvidenceError, match="not a regular file"):
            read_bounded(path, 10)
    assert len(os.listdir("/proc/self/fd")) == held


def test_a_file_that_cannot_be_replaced_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "key" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="key"):
        write_private(tmp_path / "key", b"new")
    assert os.listdir(tmp_path) == ["key"]
