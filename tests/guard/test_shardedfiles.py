"""Which files a rank wrote of a checkpoint of many files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.guard.shardedfiles import MAX_FILES, folder_of, listing, written

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
    assert written(before, listing(str(tmp_path)), 0) == ["__0_0.distcp"]


@given(before=LISTINGS, after=LISTINGS, rank=st.integers(0, 2))
def test_a_rank_tells_of_its_own_new_files_only(
    before: dict[str, tuple[int, int, int]], after: dict[str, tuple[int, int, int]], rank: int
) -> None:
    found = written(before, after, rank)
    assert len(found) <= MAX_FILES
    for name in found:
        assert name.startswith(f"__{rank}_") or (rank == 0 and name == ".metadata")
        assert before.get(name) != after[name]
