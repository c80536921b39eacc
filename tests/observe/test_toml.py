from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, ResourceLimitError
from veracity.observe.toml import read_toml


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "a.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, '[policy]\nexpires = "30d"\n[policy.a.b]\nlist = [1, 2]\n')
    assert read_toml(path, 1000) == {"policy": {"expires": "30d", "a": {"b": {"list": [1, 2]}}}}


@pytest.mark.parametrize(
    "text",
    [
        b"a",
        b"a = 1\na = 2\n",
        b"a = \xff\n",
        b"a = " + b"[" * 5000,
        b"a = " + b"9" * 5000,
        b"a = 2025-13-01\n",
    ],
    ids=["no value", "twice", "no UTF-8", "deep", "long number", "no date"],
)
def test_what_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(EvidenceError, match="is not TOML"):
        read_toml(written(tmp_path, text), 10_000)


def test_too_much_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = written(tmp_path, "a = 1\n")
    assert read_toml(path, 6) == {"a": 1}
    with pytest.raises(ResourceLimitError, match="larger than 5 bytes"):
        read_toml(path, 5)
    # Parsed, a key of so many parts takes more memory than a machine has.
    with pytest.raises(ResourceLimitError, match="too many parts"):
        read_toml(written(tmp_path, ".".join("a" * 50_000) + " = 1\n"), 1 << 20)
    lock = "".join(
        f'[[package]]\nurl = "https://h.example/a-1.{at}.0-py3-none-any.whl"\n' for at in range(5000)
    )
    assert len(read_toml(written(tmp_path, lock), 1 << 20)) == 1


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EvidenceError, match="not a regular file"):
        read_toml(tmp_path / "pipe", 10)
    with pytest.raises(EvidenceError, match="cannot be read"):
        read_toml(tmp_path / "none", 10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="ab.=[]{}\"'\n 1,#\\", max_size=60))
def test_any_text_is_a_table_or_an_error(tmp_path: Path, text: str) -> None:
    try:
        assert isinstance(read_toml(written(tmp_path, text), 1000), dict)
    except EvidenceError:
        pass
