"""Environments as people make them, which look like edited ones and are clean."""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import shutil
import struct
from functools import partial
from pathlib import Path

import pytest

from tests.scan.test_environment import Place
from tests.scan.wheels import make_environment, make_wheel, write_requirements
from veracity.observe.dpkg import files_below
from veracity.scan import environment


def made(root: Path, files: dict[str, bytes]) -> Place:
    (root / "wheels").mkdir()
    wheel = make_wheel(root / "wheels", "alpha", files, commands="alpha-run = alpha.mod:main")
    write_requirements(root / "lock.txt", [wheel])
    make_environment(root / "venv", [wheel])
    return Place(root)


def test_bytecode_in_a_wheel_is_the_installers_to_write_anew(tmp_path: Path) -> None:
    """Some wheels bring a .pyc by mistake; pip compiles over it."""
    cached = importlib.util.cache_from_source("alpha/mod.py")
    place = made(tmp_path, {"alpha/mod.py": b"main = print\n", cached: b"another time's"})
    assert place.found() == []


def test_bytecode_that_a_wheel_brought_is_told_from_a_forged_one(tmp_path: Path) -> None:
    """Whoever published the wheel put it there; it still is not what its source says."""
    cached, text = importlib.util.cache_from_source("alpha/mod.py"), b"main = print\n"
    code = marshal.dumps(compile(text.replace(b"print", b"input"), "mod.py", "exec"))
    header = importlib.util.MAGIC_NUMBER + struct.pack("<3I", 0, 1_700_000_000, len(text))
    place = made(tmp_path, {"alpha/mod.py": text, cached: header + code})
    (place.site / cached).write_bytes(header + code)
    os.utime(place.site / "alpha/mod.py", (1_700_000_000, 1_700_000_000))
    assert place.found() == [("environment-bytecode-differs", "warning", os.path.basename(cached))]
    (place.site / cached).write_bytes(header + code.replace(b"input", b"ascii"))
    assert place.found() == [("environment-bytecode-differs", "error", os.path.basename(cached))]


def test_interpreters_may_be_copies_of_one_another(tmp_path: Path) -> None:
    """As ``venv --copies`` makes them: the commands start the same program under another name."""
    place = made(tmp_path, {"alpha/mod.py": b"main = print\n"})
    command = tmp_path / "venv/bin/alpha-run"
    command.write_text(command.read_text().replace("bin/python\n", "bin/python3\n"))
    for path in sorted((tmp_path / "venv/bin").glob("python*")):
        target = os.path.realpath(path)
        path.unlink()
        shutil.copy(target, path)
    assert place.found() == []
    with (tmp_path / "venv/bin/python3").open("ab") as file:
        file.write(b"PLANTED")
    assert place.found() == [("environment-file-altered", "warning", "alpha-run")]
    (gap,) = place.examined().gaps
    assert "bin/python3 is another program than" in gap.what


def test_a_package_of_the_system_may_leave_files_of_its_archive_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Debian's pip does with its licence; any other that lacks one lacks it."""
    place = made(tmp_path, {"alpha/mod.py": b"main = print\n", "alpha/LICENSE.txt": b"yours\n"})
    (place.site / "alpha/LICENSE.txt").unlink()
    assert place.found() == [("environment-file-altered", "note", "alpha")]
    metadata = place.site / "alpha-1.0.dist-info/METADATA"
    digest = hashlib.md5(metadata.read_bytes(), usedforsecurity=False).hexdigest()
    (tmp_path / "info").mkdir()
    (tmp_path / "info/python3-alpha.md5sums").write_text(f"{digest}  {str(metadata)[1:]}\n")
    monkeypatch.setattr(environment, "SYSTEM", str(place.root))
    monkeypatch.setattr(environment, "files_below", partial(files_below, dpkg=str(tmp_path)))
    assert place.found() == []
