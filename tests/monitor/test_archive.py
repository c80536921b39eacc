from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from veracity.core.digest import Digest
from veracity.monitor.archive import PACKAGE, build_archive


def interpreters() -> list[str]:
    """Every Python from 3.10 on that this machine has: this one, and those on PATH or kept by pyenv."""
    versions = [f"3.{minor}" for minor in range(10, 15)]
    found = {found for version in versions if (found := shutil.which(f"python{version}"))}
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in versions:
        found.update(str(path) for path in sorted(kept.glob(f"{version}.*/bin/python"))[-1:])
    by_name = {os.path.realpath(path): path for path in (*found, sys.executable)}
    return [path for path in sorted(by_name.values()) if _runs(path)]


def _runs(path: str) -> bool:
    # A version manager's shim exists for versions that are not there.
    return subprocess.run([path, "-I", "-c", ""], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "guard.zip"
    path.write_bytes(build_archive()[0])
    return path


def test_the_same_sources_give_the_same_bytes() -> None:
    data, digest = build_archive()
    assert (data, digest) == build_archive()
    assert Digest.of(data) == digest


def test_it_holds_guard_and_core_and_nothing_else_on_the_users_path() -> None:
    with zipfile.ZipFile(io.BytesIO(build_archive()[0])) as found:
        names = found.namelist()
        assert names == sorted(names)
        assert {name.split("/")[0] for name in names} == {PACKAGE, "sitecustomize.py"}
        rooms = {name.split("/")[1] for name in names if name.count("/") == 2}
        assert rooms == {"core", "guard"}
        assert all(name.endswith(".py") for name in names)
        assert f"{PACKAGE}/guard/boot.py" in names
        assert f"{PACKAGE}/core/wire.py" in names
        assert {item.date_time for item in found.infolist()} == {(2020, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("interpreter", interpreters())
def test_any_python_can_enter_it(archive: Path, interpreter: str) -> None:
    script = (
        f"import sys; sys.path.insert(0, sys.argv[1]); import {PACKAGE}.guard.boot;"
        f"import {PACKAGE}.core.sample, {PACKAGE}.core.observation, {PACKAGE}.core.wiremap;"
        "print(sorted(name for name in sys.modules if name in ('torch', 'numpy', 'msgspec', 'veracity')))"
    )
    done = subprocess.run(
        [interpreter, "-I", "-c", script, str(archive)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize("interpreter", interpreters())
def test_every_module_in_it_compiles_there(archive: Path, interpreter: str) -> None:
    script = (
        "import sys, zipfile\n"
        "found = zipfile.ZipFile(sys.argv[1])\n"
        "[compile(found.read(name), name, 'exec') for name in found.namelist()]"
    )
    done = subprocess.run(
        [interpreter, "-I", "-W", "error", "-c", script, str(archive)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
