from __future__ import annotations

from pathlib import Path

import pytest

from veracity.core.digest import Digest
from veracity.core.errors import UsageError
from veracity.core.origin import Trust
from veracity.monitor.references import MAX_FILES, read_references

OWN = "def Own(param, grad, *, lr):\n    return {'param': param - lr * grad}\n"


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_bytes(OWN.replace("\n", "\r\n").encode())
    (found,) = read_references([path])
    assert (found.path, found.digest) == (str(path), str(Digest.of(path.read_bytes())))
    assert found.digest == str(Digest.of(found.text.encode()))
    assert found.origin.trust is Trust.SERVICE
    assert read_references([]) == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * 200_000, "at most"),
        (b"#" * 40_000, "at most"),
        (b"import os\n", "an import"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_reference_is_refused(tmp_path: Path, data: bytes | None, words: str) -> None:
    path = tmp_path / "own.py"
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)
    with pytest.raises(UsageError, match=words) as raised:
        read_references([path])
    assert raised.value.diagnostics().where.startswith(str(path))


def test_many_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too many"):
        read_references([tmp_path / "own.py"] * (MAX_FILES + 1))
