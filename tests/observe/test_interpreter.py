"""Where an environment's packages lie is read from its files."""

from __future__ import annotations

import os
import sys
import venv
from pathlib import Path

import pytest

from veracity.core.errors import UsageError
from veracity.observe.interpreter import find_environment

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_a_virtual_environment_by_its_folder_and_by_its_interpreter(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    for path in (tmp_path / "env", tmp_path / "env" / "bin" / "python"):
        found = find_environment(path, {"PYTHONPATH": str(tmp_path)})
        assert found.version == VERSION
        assert found.prefix == str(tmp_path / "env")
        assert found.sites == (
            os.path.realpath(tmp_path / "env" / "lib" / f"python{VERSION}" / "site-packages"),
        )
        assert Path(found.stdlib, "os.py").is_file()


def test_an_installation_is_told_by_its_folders(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    python = tmp_path / "bin" / "python"
    python.write_text("")
    python.chmod(0o755)
    found = find_environment(python, {})
    assert (found.version, found.stdlib) == ("3.12", "")
    assert found.sites == (str(tmp_path / "lib" / "python3.12" / "site-packages"),)


@pytest.mark.parametrize("name", ["absent", "folder", "text"])
def test_what_is_no_interpreter_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("")
    with pytest.raises(UsageError, match="no Python interpreter"):
        find_environment(tmp_path / name, {})


def test_a_python_of_no_known_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text("")
    python.chmod(0o755)
    with pytest.raises(UsageError, match="which version"):
        find_environment(python, {})
