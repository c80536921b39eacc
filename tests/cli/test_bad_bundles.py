"""Archives that are no bundles, or were made to harm: told in a sentence, by the verb and the program."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ledger.test_bundle import CHECKER, Record, make
from veracity.cli.main import main

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return make(tmp_path_factory.mktemp("record") / "run", entries=4)


@pytest.fixture
def packed(record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    shutil.copy(record.pack(), tmp_path / "case.zip")
    return tmp_path / "case.zip"


def alone(path: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", CHECKER, path], capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.splitlines()[-1]


def with_member(source: Path, target: Path, name: str, data: bytes = b"x") -> Path:
    shutil.copy(source, target)
    with warnings.catch_warnings(), zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        archive.writestr(name, data)
    return target


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../case",
        "a/../b",
        "a//b",
        "a\\b",
        ".hidden",
        "blobs/.x",
        "ledger.vkey",
        "C:x",
        "a b",
        "é",
    ],
)
def test_names_that_lead_elsewhere_or_stand_twice_do_not_hold(
    packed: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = with_member(packed, tmp_path / "bad.zip", name)
    assert main(["verify", str(bad)]) == 1
    assert "a member twice, or one whose name is no member's name" in capsys.readouterr().err
    code, last = alone(bad)
    assert (code, last.startswith("DOES NOT HOLD")) == (1, True)
    assert main(["bundle", str(bad), "--to", "x", "--output", "on.zip"]) == 1
    assert not (tmp_path / "on.zip").exists()


def test_an_archive_that_is_cut_off_anywhere(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    chance = random.Random(1)
    bad = tmp_path / "bad.zip"
    for cut in [0, 1, 21, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(8))]:
        bad.write_bytes(whole[:cut])
        assert main(["verify", str(bad), "--quiet"]) == 2
        assert main(["bundle", str(bad), "--to", "x", "--output", "on.zip"]) == 2
        assert not (tmp_path / "on.zip").exists()
    assert alone(bad)[0] == 2


def test_an_archive_with_a_bit_turned_over_never_holds_as_another(packed: Path, tmp_path: Path) -> None:
    """Wherever it is, in names, sizes, checksums or data: an error in a sentence, or nothing that counts."""
    whole = packed.read_bytes()
    chance = random.Random(2)
    bad = tmp_path / "bad.zip"
    for _ in range(60):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        bad.write_bytes(data)
        assert main(["verify", str(bad), "--quiet"]) in (0, 1, 2)


def _many(members: zipfile.ZipFile) -> None:
    for number in range(20_000):
        members.writestr(f"m{number}", b"")


def _bomb(members: zipfile.ZipFile) -> None:
    with members.open("blobs/" + "0" * 64, "w", force_zip64=True) as member:
        for _ in range(257):
            member.write(bytes(1 << 20))


def _nested(members: zipfile.ZipFile) -> None:
    members.writestr("ledger/tile/entries/000.p/7", b"\0\2{}" * 20)


@pytest.mark.parametrize("fill", [_many, _bomb, _nested])
def test_more_than_a_bundle_holds(
    packed: Path, tmp_path: Path, fill: Callable[[zipfile.ZipFile], None]
) -> None:
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as archive:
        fill(archive)
    assert main(["verify", str(bad)]) == 2
    assert alone(bad)[0] == 2


def test_a_member_that_is_encrypted_or_of_another_kind(packed: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(bad, "w", zipfile.ZIP_LZMA) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
    assert main(["verify", str(bad)]) == 2
    data = bytearray(packed.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    bad.write_bytes(data)
    assert main(["verify", str(bad)]) in (1, 2)
    assert alone(bad)[0] in (1, 2)


@pytest.mark.parametrize("what", ["folder", "device", "empty", "text"])
def test_what_is_no_archive(packed: Path, tmp_path: Path, what: str) -> None:
    bad = tmp_path / "bad.zip"
    if what == "folder":
        bad.mkdir()
    elif what == "empty":
        bad.write_bytes(b"")
    elif what == "text":
        bad.write_text("no archive")
    else:
        bad.symlink_to("/dev/null")
    assert main(["verify", str(bad)]) == 2
    assert alone(bad)[0] == 2


def test_a_pipe_in_the_place_of_a_bundle_holds_nobody(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    assert main(["verify", "pipe.zip"]) == 2
    assert "not a regular file" in capsys.readouterr().err
