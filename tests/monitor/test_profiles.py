"""Files about earlier runs: what is not as it was written is passed over, and there are never many."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from veracity.core.observation import EarlierRun, EarlierSeries
from veracity.core.profile import MAX_SERIES
from veracity.core.windows import WINDOWS
from veracity.monitor import profiles
from veracity.monitor.profiles import KEPT, MAX_BYTES, Profiles

LIKE, OTHER = "0" * 32, "f" * 32


def run_of(number: int) -> EarlierRun:
    series = [EarlierSeries("loss of optimizer 0 ab", [0, 1, 5], [0.5, -0.25, 3.0])]
    return EarlierRun(f"run-20260101-{number:06d}-abcdef", 9, "ab" * 32, "seed", "bits", series)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    Profiles(tmp_path).write(LIKE, run_of(1))
    return tmp_path


def path_of(home: Path, number: int = 1) -> Path:
    return home / "profiles" / LIKE / f"{run_of(number).run}.json"


def test_what_was_written_is_read_the_newest_first(home: Path) -> None:
    Profiles(home).write(LIKE, run_of(3))
    Profiles(home).write(LIKE, run_of(2))
    Profiles(home).write(OTHER, run_of(9))
    assert Profiles(home).read(LIKE, apart_from="") == [run_of(3), run_of(2), run_of(1)]
    assert Profiles(home).read(LIKE, apart_from=run_of(3).run) == [run_of(2), run_of(1)]
    assert stat.S_IMODE(path_of(home).stat().st_mode) == 0o600
    assert stat.S_IMODE(path_of(home).parent.stat().st_mode) == 0o700


def test_a_home_without_any_has_none(tmp_path: Path) -> None:
    assert Profiles(tmp_path).read(LIKE, apart_from="") == []
    (tmp_path / "profiles").write_text("no folder")
    assert Profiles(tmp_path).read(LIKE, apart_from="") == []
    with pytest.raises(OSError, match=r"exist|director"):
        Profiles(tmp_path).write(LIKE, run_of(1))


@pytest.mark.parametrize("likeness", ["", "..", "../..", "0" * 31, "G" * 32, LIKE + "\n"])
def test_what_is_no_likeness_is_not_looked_up(home: Path, likeness: str) -> None:
    assert Profiles(home).read(likeness, apart_from="") == []


def changed(home: Path, **changes: object) -> None:
    document = json.loads(path_of(home).read_bytes())
    for name, value in changes.items():
        place = document if name in document else document["profile"]
        place = place if name in place else document["profile"]["series"][0]
        place[name] = value
    path_of(home).write_text(json.dumps(document))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": "1"},
        {"likeness": OTHER},
        {"run": run_of(2).run},
        {"seed": 3},
        {"series": []},
        {"series": [{"name": "x", "windows": [0], "means": [1.0]}] * (MAX_SERIES + 1)},
        {"name": "x" * 300},
        {"windows": [], "means": []},
        {"windows": [0, 1]},
        {"windows": [0, 0, 1]},
        {"windows": [-1, 0, 1]},
        {"windows": [0, 1, WINDOWS]},
        {"windows": [0, 1, 2**70]},
        {"means": [0.5, 1.0, 1e9]},
        {"means": [0.5, 1.0, float("nan")]},
        {"means": [0.5, 1.0, float("inf")]},
        {"means": [0.5, 1.0, None]},
    ],
)
def test_what_does_not_fit_is_passed_over(home: Path, changes: dict[str, object]) -> None:
    Profiles(home).write(LIKE, run_of(2))
    changed(home, **changes)
    assert Profiles(home).read(LIKE, apart_from="") == [run_of(2)]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 50_000, b"null", b" " * (MAX_BYTES + 1)])
def test_what_is_no_document_is_passed_over(home: Path, data: bytes) -> None:
    path_of(home).write_bytes(data)
    assert Profiles(home).read(LIKE, apart_from="") == []


def test_a_sound_file_that_is_too_large_is_passed_over(home: Path) -> None:
    path_of(home).write_bytes(path_of(home).read_bytes() + b" " * MAX_BYTES)
    assert Profiles(home).read(LIKE, apart_from="") == []


def test_links_pipes_and_folders_are_passed_over(home: Path) -> None:
    moved = home / "elsewhere.json"
    path_of(home).rename(moved)
    path_of(home).symlink_to(moved)
    os.mkfifo(path_of(home, 2))
    path_of(home, 3).mkdir()
    assert Profiles(home).read(LIKE, apart_from="") == []
    (home / "profiles" / LIKE).rename(home / "away")
    (home / "profiles" / LIKE).symlink_to(home / "away")
    assert Profiles(home).read(LIKE, apart_from="") == []


def test_thousands_of_files_neither_count_nor_stay(home: Path) -> None:
    folder = path_of(home).parent
    for number in range(5000):
        (folder / f"note-{number}").touch()
    for number in range(200):
        (folder / f"run-20250101-{number:06d}-abcdef.json").write_text("{}")
    for number in range(2, KEPT + 10):
        Profiles(home).write(LIKE, run_of(number))
    found = Profiles(home).read(LIKE, apart_from="")
    assert len(found) <= KEPT
    assert found[0] == run_of(KEPT + 9)


def test_the_newest_of_one_contract_stay(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        Profiles(tmp_path).write(LIKE, run_of(number))
    found = Profiles(tmp_path).read(LIKE, apart_from="")
    assert [one.run for one in found] == [run_of(number).run for number in range(KEPT + 4, 4, -1)]
    assert len(list((tmp_path / "profiles" / LIKE).iterdir())) == KEPT


def test_contracts_that_were_not_trained_for_longest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "MAX_LIKENESSES", 3)
    names = [f"{number:032x}" for number in range(5)]
    for age, name in enumerate(names[:4]):
        Profiles(tmp_path).write(name, run_of(age))
        os.utime(tmp_path / "profiles" / name, (age, age))
    Profiles(tmp_path).write(names[4], run_of(7))
    assert sorted(path.name for path in (tmp_path / "profiles").iterdir()) == names[2:]
