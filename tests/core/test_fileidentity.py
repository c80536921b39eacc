"""What tells states of files apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veracity.core.fileidentity import MAX_MORE, identity_of, seconds_more


def test_each_change_is_another_state(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"x")
    seen = [identity_of(path.stat())]
    path.write_bytes(b"xy")
    seen.append(identity_of(path.stat()))
    os.utime(path, ns=(1, 1))
    seen.append(identity_of(path.stat()))
    other.write_bytes(b"xy")
    os.utime(other, ns=(1, 1))
    seen.append(identity_of(other.stat()))
    assert len(set(seen)) == 4
    assert identity_of(other.stat()) == seen[-1]


@pytest.mark.parametrize(
    ("identity", "seconds"),
    [
        ("1:2:3000000000:4:5", 30.0),
        (f"1:2:{10**18}:4:5", MAX_MORE),
        (f"1:2:{10**30}:4:5", 0.0),
        ("1:2:-3:4:5", 0.0),
        ("1:2:\u00b2:4:5", 0.0),
        ("", 0.0),
    ],
)
def test_large_files_may_take_longer(identity: str, seconds: float) -> None:
    assert seconds_more(identity) == seconds
