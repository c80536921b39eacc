from __future__ import annotations

import json
from pathlib import Path

import pytest

from veracity.core.errors import UsageError
from veracity.monitor.folder import RunFolder, create_folder, write_document
from veracity.monitor.home import Home

AT = 1_740_924_131_000_000_000


def test_a_run_has_a_private_directory_of_its_own(tmp_path: Path) -> None:
    home = tmp_path / "some" / "home"
    one, other = create_folder(home, AT), create_folder(home, AT)
    assert one.run != other.run
    assert one.run.startswith("run-20250302-140211-")
    assert one.home == home
    for path in (one.path, one.blobs, one.spool, home):
        assert path.stat().st_mode & 0o777 == 0o700
    assert {listing.run for listing in Home(home).runs()} == {one.run, other.run}


def test_everything_about_a_run_lies_in_its_directory(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs" / "run-x")
    names = ("ledger", "blobs", "spool", "archive", "guard_config", "document", "seal", "verifier")
    assert len({getattr(folder, name) for name in names}) == len(names)
    assert all(getattr(folder, name).parent == folder.path for name in names)


@pytest.mark.parametrize("inside", ["", "runs"])
def test_a_home_that_cannot_be_written_is_said(tmp_path: Path, inside: str) -> None:
    home = tmp_path / "home"
    if inside:
        home.mkdir()
    (home / inside).write_text("a file")
    with pytest.raises(UsageError, match="cannot write to the home") as caught:
        create_folder(home, AT)
    assert "--home" in caught.value.diagnostics().remedy


def test_a_document_is_readable_json(tmp_path: Path) -> None:
    write_document(tmp_path / "run.json", {"run": "run-x", "name": "é"})
    assert json.loads((tmp_path / "run.json").read_text("ascii")) == {"run": "run-x", "name": "é"}
