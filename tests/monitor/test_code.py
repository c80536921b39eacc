"""Whose code a file is that the job wrote to."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from veracity.core.observation import ModuleChecked
from veracity.monitor.code import Code
from veracity.monitor.folder import RunFolder
from veracity.observe.pyenv import RecordIndex


@pytest.fixture
def code(tmp_path: Path) -> Code:
    """Of a run whose environment has one distribution."""
    described = tmp_path / "site-packages" / "some-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: some\nVersion: 1.0\n")
    (described / "RECORD").write_text("some.py,,\nsome-1.0.dist-info/METADATA,,\n")
    made = Code(cast("RunFolder", None), 0)
    made._records = RecordIndex([str(tmp_path / "site-packages")])
    return made


def test_a_file_of_a_distribution_is_recorded(code: Code, tmp_path: Path) -> None:
    assert code.belongs(str(tmp_path / "site-packages" / "some.py")) == ("recorded", "some")


def test_a_file_beside_a_distribution_is_not(code: Code, tmp_path: Path) -> None:
    path = str(tmp_path / "site-packages" / "other.py")
    assert code.belongs(path) == ("unrecorded", "")
    code.checked[path] = cast("ModuleChecked", object())
    assert code.belongs(path) == ("imported", "")


@pytest.mark.parametrize("name", ["helper.py", "site-packages-of-mine/helper.py"])
def test_the_programs_own_file_is_imported_before_its_check_has_come(
    code: Code, tmp_path: Path, name: str
) -> None:
    assert code.belongs(str(tmp_path / name)) == ("imported", "")
