"""Where archives are had from: those in a folder, digested beside other work or when they are wanted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.scan.wheels import make_wheel
from veracity.observe.pyenv import Distribution
from veracity.scan.archives import Archives


def installed(name: str) -> Distribution:
    return Distribution(name, "1.0", "pip", editable=False, directory="", info="")


@pytest.mark.parametrize("begins", [True, False])
def test_a_wheel_in_a_folder_is_known_by_its_digest(tmp_path: Path, begins: bool) -> None:
    folder, cache = tmp_path / "wheels", tmp_path / "cache"
    folder.mkdir()
    wheel = make_wheel(folder, "alpha", {"alpha.py": b"a = 1\n"})
    for _ in range(2):  # what it holds is remembered, and its digest is not
        archives = Archives(cache, [], [folder])
        if begins:
            archives.begin([installed("alpha"), installed("absent")])
        (found,) = archives.of("alpha", "1.0", [])
        assert found.archive.sha256 == hashlib.sha256(wheel.read_bytes()).hexdigest()
        assert found.wheel is not None
        assert "alpha.py" in {one.path for one in found.wheel.files}
        make_wheel(folder, "alpha", {"alpha.py": b"a = 2\n"})


def test_a_wheel_that_cannot_be_digested_vouches_for_nothing(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha", {"alpha.py": b"a = 1\n"})
    archives = Archives(tmp_path / "cache", [], [tmp_path])
    wheel.unlink()
    wheel.mkdir()
    archives.begin([installed("alpha")])
    (found,) = archives.of("alpha", "1.0", [])
    assert found.wheel is None
    assert found.reason


@pytest.mark.parametrize(
    ("found", "put"),
    [
        (b'"format":1', b'"format":2'),
        (b'["lib","alpha.py"', b'["lib",7'),
        (b",6,false", b',"6",false'),
        (b"{", b"["),
        (b'"tags":[', b'"tags":"'),
    ],
)
def test_a_memory_of_another_form_is_no_memory(tmp_path: Path, found: bytes, put: bytes) -> None:
    make_wheel(tmp_path, "alpha", {"alpha.py": b"a = 1\n"})
    (first,) = Archives(tmp_path / "cache", [], [tmp_path]).of("alpha", "1.0", [])
    (memory,) = (tmp_path / "cache").iterdir()
    data = memory.read_bytes()
    assert found in data
    memory.write_bytes(data.replace(found, put))
    (again,) = Archives(tmp_path / "cache", [], [tmp_path]).of("alpha", "1.0", [])
    assert again == first
    assert memory.read_bytes() == data
