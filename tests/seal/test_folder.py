"""A seal's folder is made once, by one, and nothing that was there is written into."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from veracity.core.errors import UsageError
from veracity.ledger.keys import SigningKey
from veracity.seal import folder as folder_module
from veracity.seal.folder import SealFolder, create_folder
from veracity.seal.paths import Wanted, make_seal

AT = 1_700_000_000_000_000_000
STAMP = "seal-20231114-221320"
TAKEN = "00face"


def _planted(home: Path, kind: str) -> Path:
    place = home / "seals" / f"{STAMP}-{TAKEN}"
    place.parent.mkdir(parents=True)
    if kind == "folder":
        place.mkdir()
        (place / "seal.dsse.json").write_text("another's")
    elif kind == "file":
        place.write_text("another's")
    else:
        other = home / "elsewhere"
        other.mkdir()
        place.symlink_to(other if kind == "link" else home / "nowhere")
    return place


@pytest.mark.parametrize("kind", ["folder", "file", "link", "dangling"])
def test_what_has_the_name_is_never_taken(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = _planted(tmp_path, kind)
    names = iter([TAKEN, TAKEN, "00beef"])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(names))
    made = create_folder(tmp_path, AT)
    assert made.seal == f"{STAMP}-00beef"
    assert made.path.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(secrets, "token_hex", lambda _: TAKEN)
    with pytest.raises(UsageError, match="every name that was tried"):
        create_folder(tmp_path, AT)
    assert not (tmp_path / "nowhere").exists()
    assert kind != "folder" or (planted / "seal.dsse.json").read_text() == "another's"
    assert kind != "link" or not list((tmp_path / "elsewhere").iterdir())


def test_of_those_who_race_for_a_name_one_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of one process, and with the second of the clock held, all with the same few names."""
    draws = iter([f"{number // 16:06x}" for number in range(40_960)])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(draws))
    monkeypatch.setattr(folder_module, "ATTEMPTS", 4096)
    with ThreadPoolExecutor(16) as racing:
        made = list(racing.map(lambda _: create_folder(tmp_path, AT).path, range(48)))
    assert len(set(made)) == 48


def test_processes_that_race_for_a_name(tmp_path: Path) -> None:
    program = (
        "import itertools, secrets, sys\n"
        "from pathlib import Path\n"
        "from veracity.seal.folder import create_folder\n"
        "names = (f'{number:06x}' for number in itertools.count())\n"
        "secrets.token_hex = lambda _: next(names)\n"
        "sys.stdin.read(1)\n"
        f"print(create_folder(Path(sys.argv[1]), {AT}).path.name)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    racing = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        for _ in range(4)
    ]
    for one in racing:
        assert one.stdin is not None
        one.stdin.write("\n")
    names = [one.communicate()[0].strip() for one in racing]
    assert sorted(names) == [f"{STAMP}-{number:06x}" for number in range(4)]


def test_a_seal_is_never_made_over_another(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("x = 1\n")
    key = SigningKey.generate("k")
    folder = create_folder(tmp_path / "home", AT)
    make_seal(folder, Wanted({"code": code}), key)
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    (code / "train.py").write_text("x = 2\n")
    with pytest.raises(UsageError, match="in an empty folder"):
        make_seal(SealFolder(folder.path), Wanted({"code": code}), key)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
    with pytest.raises(UsageError, match="cannot write"):
        make_seal(SealFolder(tmp_path / "gone"), Wanted({"code": code}), key)
