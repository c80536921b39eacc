"""What was unpacked: in memory or in a file that nobody can open, paid for, kept up to where it broke."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, ResourceLimitError
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.spool import Spool, SpooledFile


@given(
    st.lists(st.binary(max_size=30), max_size=10),
    st.integers(0, 200),
    st.integers(-5, 300),
    st.integers(-5, 300),
)
def test_all_that_was_taken_is_there(chunks: list[bytes], held: int, at: int, length: int) -> None:
    source = Spool(Budget(held=held), "f").take(chunks)

    data = b"".join(chunks)
    assert source.size == len(data)
    assert source.read(0, source.size) == data
    if at >= 0:
        assert source.read(at, length) == data[at : at + max(0, length)]
    assert isinstance(source, SpooledFile) == (len(data) > held)


def test_the_file_has_no_name_and_is_gone_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    source = Spool(Budget(held=1), "f").take([b"secret"])

    assert list(tmp_path.iterdir()) == []
    (opened,) = opened_below(tmp_path)
    assert stat.S_IMODE(os.stat(opened).st_mode) == 0o600
    assert source.read(0, 9) == b"secret"
    del source
    assert opened_below(tmp_path) == []


def opened_below(folder: Path) -> list[str]:
    found = []
    for one in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{one}"
        try:
            if os.readlink(path).startswith(str(folder)):
                found.append(path)
        except FileNotFoundError:
            continue  # the listing's own
    return found


def test_what_came_before_an_error_or_a_limit_is_there() -> None:
    def breaking() -> Iterator[bytes]:
        yield b"before"
        raise EvidenceError("broke")

    broken = Spool(Budget(), "f")
    assert broken.take(breaking()).read(0, 9) == b"before"
    assert broken.error is not None

    limited = Spool(Budget(unpacked=4), "f")
    assert limited.take([b"12345", b"6"]).read(0, 9) == b"12345"
    assert isinstance(limited.error, ResourceLimitError)


def test_a_full_medium_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def fileno(self) -> int:
            return -1

        def close(self) -> None:
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    spool = Spool(Budget(held=1), "f")
    spool.take([b"more than one"])
    assert spool.error is not None
    assert "TMPDIR" in spool.error.diagnostics().remedy
