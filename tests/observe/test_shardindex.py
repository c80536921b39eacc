"""Indexes of sharded checkpoints, as torch writes them and with entries that point elsewhere."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import EvidenceError
from veracity.observe.artifact.beside import MAX_OPENED, Folder
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input
from veracity.observe.shardindex import ShardIndexReader
from veracity.scan.gate.file import Settings, scan_file

FOUND, OUTSIDE = "checkpoint-shard-index", "checkpoint-outside-file"
INERT = b"cos\ngetpid\n)R."


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint of a tensor that holds a pickle's bytes, another tensor, and an object."""
    torch = pytest.importorskip("torch")
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    held = torch.frombuffer(bytearray(INERT * 4), dtype=torch.uint8)
    state = {"held": held, "weight": torch.ones(3, 4), "note": "epoch 3"}
    with pytest.warns(UserWarning, match="single process"):
        dcp.save(state, checkpoint_id=str(tmp_path / "step"), no_dist=True)
    return tmp_path / "step"


def told(folder: Path) -> list[str]:
    result = scan_file(str(folder / ".metadata"), Settings())
    return sorted({one.rule for one in result.findings} | ({"not read"} if result.missed else set()))


def changed(folder: Path, **to: object) -> None:
    """The index with the entry of ``weight`` set otherwise."""
    metadata = pickle.loads((folder / ".metadata").read_bytes())  # what torch has just written here
    for key, entry in metadata.storage_data.items():
        if key.fqn == "weight":
            for name, value in to.items():
                setattr(entry, name, value)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


def test_a_checkpoint_as_it_was_saved_is_clean(saved: Path) -> None:
    assert told(saved) == []


def test_an_entry_within_an_archive_is_told_and_read_as_what_torch_would_load(saved: Path) -> None:
    (shard,) = saved.glob("*.distcp")
    at = shard.read_bytes().index(INERT)
    changed(saved, offset=at, length=len(INERT))
    assert told(saved) == ["checkpoint-pickle-unknown-global", FOUND]


def test_entries_beyond_the_file_and_paths_that_lead_elsewhere_are_told(saved: Path) -> None:
    changed(saved, offset=1 << 40)
    assert told(saved) == [FOUND]
    changed(saved, offset=0, length=100, relative_path="../other/__0_0.distcp")
    assert told(saved) == [OUTSIDE, "not read"]
    changed(saved, relative_path="/dev/null/x.distcp")
    assert told(saved) == [OUTSIDE, "not read"]


def test_what_is_not_beside_is_said_to_be_unread_and_links_are_not_followed(saved: Path) -> None:
    (shard,) = saved.glob("*.distcp")
    shard.rename(saved.parent / "elsewhere")
    assert told(saved) == ["not read"]
    shard.symlink_to(saved.parent / "elsewhere")
    assert told(saved) == ["not read"]


def test_only_names_in_the_folder_are_opened_and_not_too_many(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "below").mkdir()
    for name in ("", ".", "..", "../a", "/etc/hostname", "a\0", "below"):
        with Folder(str(tmp_path)).opened(name) as source:
            assert source is None
    with Folder(str(tmp_path / "below")).opened("a", above=True) as source:
        assert source is not None
        assert source.read(0, 9) == b"x"
    folder = Folder(str(tmp_path))
    for _ in range(MAX_OPENED):
        with folder.opened("none"):
            pass
    with pytest.raises(EvidenceError, match="more than"), folder.opened("a"):
        pass


@given(st.binary(max_size=200))
@settings(max_examples=examples(100), deadline=None)
def test_any_bytes_are_an_index_of_nothing(data: bytes) -> None:
    whole = Input.of_bytes("x/.metadata", b"\x80\x02" + data)
    assert ShardIndexReader().claims(b"\x80", whole)
    assert list(ShardIndexReader().read(whole, Budget())) == []
    assert not ShardIndexReader().claims(b"\x80", Input.of_bytes("metadata", data))
