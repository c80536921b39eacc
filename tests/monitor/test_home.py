from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import UsageError
from veracity.monitor.home import MAX_DOCUMENT, Home, RunListing

OLD = "run-20250301-080000-00000a"
NEW = "run-20250302-140211-a1b2c3"
NEWER = "run-20250302-140211-000001"
AT = 1_740_924_131_000_000_000


def add(home: Path, folder_name: str, **changes: object) -> Path:
    folder = home / "runs" / folder_name
    folder.mkdir(parents=True)
    document: dict[str, object] = {
        "run": folder_name,
        "command": ["python", "t.py"],
        "started_at": AT,
        "verdict": "held",
    }
    (folder / "run.json").write_text(json.dumps({**document, **changes}))
    return folder


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    add(tmp_path, OLD, started_at=5, verdict="broken")
    add(tmp_path, NEW, started_at=AT + 1)
    folder = add(tmp_path, NEWER, started_at=AT + 2, verdict=None, extra="ignored")
    listings = Home(tmp_path).runs()
    assert [(one.run, one.verdict) for one in listings] == [
        (NEWER, "unfinished"),
        (NEW, "held"),
        (OLD, "broken"),
    ]
    assert listings[0] == RunListing(NEWER, AT + 2, ("python", "t.py"), "unfinished", folder)


def test_a_home_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    assert Home(tmp_path / "none").runs() == []
    with pytest.raises(UsageError, match="there is no run yet"):
        Home(tmp_path / "none").resolve("latest")


def test_a_home_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(UsageError, match="not a directory"):
        Home(tmp_path / "home").runs()


def test_other_names_in_the_runs_folder_are_not_runs(tmp_path: Path) -> None:
    for name in ("notes", "run-1", "run-20250302-140211-A1B2C3", "run-20250302-140211-a1b2c3x"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert Home(tmp_path).runs() == []


@pytest.mark.parametrize(
    "change",
    [
        {"run": OLD},
        {"run": None},
        {"started_at": "yesterday"},
        {"started_at": True},
        {"started_at": -1},
        {"started_at": 2**63},
        {"started_at": 1.5},
        {"command": "python t.py"},
        {"command": ["python", 3]},
        {"verdict": "fine"},
        {"verdict": 1},
        {"verdict": ["held"]},
    ],
)
def test_an_edited_document_is_listed_as_unreadable(tmp_path: Path, change: dict[str, object]) -> None:
    add(tmp_path, NEW, **change)
    add(tmp_path, OLD)
    listed = Home(tmp_path).runs()
    assert [(one.run, one.verdict) for one in listed] == [(NEW, "unreadable"), (OLD, "held")]
    assert (listed[0].command, listed[0].started_at) == ((), AT)


@given(
    st.one_of(
        st.binary(max_size=200), st.sampled_from([b"[" * 100_000, b"1" * 5000, b"null", b'{"run":', b"\xff"])
    )
)
@settings(max_examples=examples(60))
def test_no_bytes_in_the_document_raise(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    home = tmp_path_factory.mktemp("home")
    (add(home, NEW) / "run.json").write_bytes(data)
    assert [one.verdict for one in Home(home).runs()] == ["unreadable"]


def test_what_is_no_file_or_too_large_is_unreadable_and_never_waited_for(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    pipe = add(tmp_path, "run-20250302-000000-000001") / "run.json"
    pipe.unlink()
    os.mkfifo(pipe)
    link = add(tmp_path, "run-20250302-000000-000002") / "run.json"
    target = link.rename(tmp_path / "elsewhere.json")
    link.symlink_to(target)
    large = add(tmp_path, "run-20250302-000000-000003") / "run.json"
    large.write_text(json.dumps({"pad": "x" * MAX_DOCUMENT}))
    (add(tmp_path, "run-20250302-000000-000004") / "run.json").unlink()
    (runs / "run-20250302-000000-000005").write_text("a file")
    (runs / "run-20250302-000000-000006").symlink_to(add(tmp_path / "other", "run-20250302-000000-000006"))
    add(tmp_path, "run-99999999-999999-000007", run="edited")
    listed = Home(tmp_path).runs()
    assert len(listed) == 7
    assert {one.verdict for one in listed} == {"unreadable"}
    assert listed[0].started_at == 0


def test_names_of_a_run(tmp_path: Path) -> None:
    old, new = add(tmp_path, OLD), add(tmp_path, NEW)
    home = Home(tmp_path)
    assert home.resolve(NEW) == new
    assert home.resolve("latest") == new
    assert home.resolve("run-20250301") == old
    assert home.resolve("20250302-1402") == new


def test_a_prefix_of_several_runs_is_refused_with_their_names(tmp_path: Path) -> None:
    add(tmp_path, NEW)
    add(tmp_path, NEWER)
    with pytest.raises(UsageError, match="names 2 runs") as caught:
        Home(tmp_path).resolve("run-20250302")
    assert NEW in caught.value.diagnostics().remedy


@pytest.mark.parametrize("name", ["", "../..", "/", "run-20250302-140211-ffffff", "nonsense", "a" * 100_000])
def test_an_unknown_name_is_refused_with_near_ones(tmp_path: Path, name: str) -> None:
    add(tmp_path, NEW)
    with pytest.raises(UsageError, match="there is no run") as caught:
        Home(tmp_path).resolve(name)
    assert NEW in caught.value.diagnostics().remedy
    assert len(str(caught.value)) < 300


def test_a_link_is_not_a_run(tmp_path: Path) -> None:
    elsewhere = add(tmp_path / "other", NEW)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / NEW).symlink_to(elsewhere)
    for name in (NEW, "run-2025", "latest"):
        with pytest.raises(UsageError, match="not a run directory"):
            Home(tmp_path).resolve(name)
