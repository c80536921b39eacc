"""Shards: archives of torch in a row are read each by itself, and anything else is no row."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from veracity.cli.main import main
from veracity.observe.archive.zip.row import is_row, row_of
from veracity.observe.artifact.input import Input


def archive(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class Harm:
    """Marked: names what would run the program ``true``."""

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.system, ("true",)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_a_row_is_taken_apart_where_torch_ended_each(sizes: list[int]) -> None:
    parts = [archive({"w": torch.ones(size), "n": size}) for size in sizes]
    whole = Input.of_bytes("shard", b"".join(parts))

    found = row_of(whole)

    assert is_row(whole) is (len(parts) > 1)
    assert [whole.read(start, stop - start) for start, stop in found] == parts


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (archive(1) + b"x" + archive(2), "a byte between"),
        (b"x" + archive(1) + archive(2), "a byte before"),
        (archive(1) + archive(2) + b"\0", "a byte behind"),
        (b"#!/bin/sh\n" + archive(1), "a program before one"),
        (b"PK\x03\x04" + bytes(40) + archive(1), "no archive before one"),
    ],
)
def test_anything_else_in_the_file_makes_it_none(data: bytes, why: str) -> None:
    assert not is_row(Input.of_bytes(why, data))


def test_archives_of_others_are_no_row() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("a.txt", "a")
    assert not is_row(Input.of_bytes("two", buffer.getvalue() * 2))


def test_a_distributed_checkpoint_is_clean(tmp_path: Path) -> None:
    model = torch.nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 3}
    checkpoint.save(state, checkpoint_id=str(tmp_path / "saved"), no_dist=True)

    assert main(["scan", str(tmp_path / "saved")]) == 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_executes_is_found_in_each_place_of_a_row(tmp_path: Path, place: int) -> None:
    parts = [archive({"w": torch.ones(3)}) for _ in range(3)]
    parts[place] = archive([Harm()])
    (tmp_path / "shard.distcp").write_bytes(b"".join(parts))

    assert main(["scan", str(tmp_path)]) == 1


def test_a_directory_that_a_reader_of_the_whole_would_find_makes_it_none() -> None:
    """The second one's offset, counted from the beginning of the file, leads to one within a storage."""
    inner = archive([Harm()])
    directory = inner[inner.index(b"PK\x01\x02") :]
    second = archive({"w": torch.ones(900)})
    told = second.rindex(b"PK\x06\x06") + 48  # the offset of the directory, in zip64's record
    offset = int.from_bytes(second[told : told + 8], "little")

    def first(zeros: int) -> bytes:
        held = bytearray(bytes(zeros) + directory)
        return archive(torch.frombuffer(held, dtype=torch.uint8))

    zeros = offset - first(0).index(directory)
    planted = first(zeros)
    assert planted[offset : offset + 4] == b"PK\x01\x02"
    assert is_row(Input.of_bytes("row", first(zeros + 8) + second))
    assert not is_row(Input.of_bytes("row", planted + second))
