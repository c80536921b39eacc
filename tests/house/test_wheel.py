"""The wheel as a user gets it: built, put with its base dependencies into a clean environment, started."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import veracity
from tests.once import once

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "veracity"
TIMEOUT = 600


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Standard output of a command that must succeed and say nothing on standard error."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env=env or {"PATH": "/usr/bin:/bin", "HOME": str(cwd)},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert env or done.stderr == ""
    return done.stdout


def pip(python: str | Path, *arguments: str | Path, cwd: Path) -> str:
    """Run pip, which reaches its index by whatever this machine has set for it."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VERACITY_"))}
    return run(python, "-m", "pip", *arguments, cwd=cwd, env=ours)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def build(folder: Path) -> None:
        offline = ("--no-deps", "--no-build-isolation")
        pip(sys.executable, "wheel", "--quiet", *offline, "--wheel-dir", folder, ROOT, cwd=folder)

    (built,) = once(tmp_path_factory, "wheel", build).glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment that holds the wheel and its base dependencies, nothing else."""

    def install(folder: Path) -> None:
        # Our own pip works from outside: installing another one there would take longer than all the rest.
        venv.create(folder / "env", with_pip=False)
        into = ("--python", folder / "env" / "bin" / "python")
        pip(sys.executable, *into, "install", "--quiet", "--no-compile", wheel, cwd=folder)

    return once(tmp_path_factory, "clean", install) / "env" / "bin"


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("veracity/")}
    on_disk = {
        "veracity/" + path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == on_disk
    assert "veracity/py.typed" in packed


def test_wheel_holds_the_victims(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "veracity/drill/victims/chargpt/train.py" in names
    assert "veracity/drill/victims/digits/train.py" in names


def test_wheel_holds_nothing_outside_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert tops == {"veracity", f"veracity-{veracity.__version__}.dist-info"}


def test_metadata_is_honest(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"veracity-{veracity.__version__}.dist-info"
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert metadata["Version"] == veracity.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    requires = metadata.get_all("Requires-Dist") or []
    base = sorted(line.partition(">")[0].strip() for line in requires if ";" not in line)
    assert [line for line in requires if ";" in line and "extra ==" not in line] == [
        "tomli>=2; python_version < '3.11'"  # where the standard library reads no TOML
    ]
    assert base == ["cryptography", "msgspec", "rich"]
    assert not [line for line in requires if line.startswith("torch")]


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_command_starts_in_a_clean_environment(installed: Path, flag: str, tmp_path: Path) -> None:
    shown = run(installed / "veracity", flag, cwd=tmp_path)
    assert "veracity" in shown
    if flag == "--version":
        assert veracity.__version__ in shown
    assert list(tmp_path.iterdir()) == [], "a look at the help leaves nothing behind"


def test_every_module_imports_without_torch(installed: Path, tmp_path: Path) -> None:
    """Guard included: it takes torch from the training process only when that has imported it."""
    code = (
        "import importlib, pkgutil, sys, veracity\n"
        "for found in pkgutil.walk_packages(veracity.__path__, 'veracity.'):\n"
        "    if not found.name.endswith(('.sitecustomize', '.__main__')):\n"
        "        importlib.import_module(found.name)\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "print(len([name for name in sys.modules if name.startswith('veracity.')]))\n"
    )
    assert int(run(installed / "python", "-c", code, cwd=tmp_path)) > 10


def test_installed_environment_has_only_base_dependencies(installed: Path, tmp_path: Path) -> None:
    of = ("--python", installed / "python")
    assert "No broken requirements" in pip(sys.executable, *of, "check", cwd=tmp_path)
    listed = pip(sys.executable, *of, "list", "--format", "freeze", cwd=tmp_path)
    names = {line.partition("==")[0].lower() for line in listed.split()}
    assert {"veracity", "msgspec", "rich", "cryptography"} <= names
    assert not names & {"torch", "numpy", "py-spy", "pytest"}
