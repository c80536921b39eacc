"""Which files a rank wrote of a checkpoint of many files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.guard.shardedfiles import MAX_FILES, changed, folder_of, listing, of_machine, of_rank

STATUS = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
NAMES = st.sampled_from(
    [".metadata", "__0_0.distcp", "__1_0.distcp", "__1_1.distcp", "__11_0.distcp", "__x.distcp"]
)
LISTINGS = st.dictionaries(NAMES, STATUS)


@pytest.mark.parametrize(
    ("args", "options", "found"),
    [
        (({},), {"checkpoint_id": "/a/b"}, "/a/b"),
        (({},), {"checkpoint_id": Path("/a/b")}, "/a/b"),
        (({},), {"storage_writer": SimpleNamespace(path=Path("/a/c"))}, "/a/c"),
        (({}, SimpleNamespace(path="/a/d")), {}, "/a/d"),
        (({},), {"checkpoint_id": "bucket://a/b"}, ""),
        (({}, 3), {"storage_reader": object(), "checkpoint_id": None}, ""),
        ((), {}, ""),
    ],
)
def test_the_folder_is_what_was_asked_for(
    args: tuple[object, ...], options: dict[str, object], found: str
) -> None:
    assert folder_of(args, options) == found


def test_only_files_of_a_checkpoint_are_listed(tmp_path: Path) -> None:
    assert listing(str(tmp_path / "none")) == {}
    for name in (".metadata", "__0_0.distcp", "notes.txt"):
        (tmp_path / name).write_text(name)
    before = listing(str(tmp_path))
    assert set(before) == {".metadata", "__0_0.distcp"}
    (tmp_path / "__0_0.distcp").write_text("anew")
    assert changed(before, listing(str(tmp_path))) == ["__0_0.distcp"]


@given(before=LISTINGS, after=LISTINGS, rank=st.integers(0, 2))
def test_a_rank_tells_of_its_own_new_files_only(
    before: dict[str, tuple[int, int, int]], after: dict[str, tuple[int, int, int]], rank: int
) -> None:
    new = changed(before, after)
    assert len(new) <= MAX_FILES
    assert all(before.get(name) != after[name] for name in new)
    for name in of_rank(new, rank):
        assert name.startswith(f"__{rank}_") or (rank == 0 and name == ".metadata")


def test_ranks_of_a_machine_are_those_that_the_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [".metadata", *(f"__{rank}_0.distcp" for rank in range(4)), "__x.distcp"]
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert of_machine(names, 3) == ["__2_0.distcp", "__3_0.distcp"]
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert of_machine(names, 3) == ["__3_0.distcp"]
