"""A turn of the monitor takes in what there is for so long, and leaves the rest to the next ones."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from veracity.core import wire
from veracity.ledger.entry import Entry
from veracity.ledger.reader import Reader
from veracity.monitor.folder import RunFolder, create_folder
from veracity.monitor.job import RunOptions
from veracity.monitor.nodes.joining import join
from veracity.monitor.pipeline import Pipeline
from veracity.monitor.prepare import prepare

from .frames import BODIES

RECORDS = 7


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[RunFolder, Pipeline]]:
    """The record of a run that has just begun, with ``RECORDS`` records in the spool of one process."""
    began, environment = time.time_ns(), {"PATH": os.environ["PATH"]}
    folder = create_folder(tmp_path, began)
    joined = join(folder, began, ["train"], environment)
    prepared = prepare(folder, environment, 0.01, joined.key)
    options = RunOptions(home=tmp_path)
    with Pipeline.create(folder, ["train"], began, prepared, options, joined) as pipeline:
        frames = [wire.pack("loading", number, began, BODIES["loading"]) for number in range(RECORDS)]
        (folder.spool / "12-0123abcd.000000.spool").write_bytes(b"".join(frames))
        yield folder, pipeline


def numbers(folder: RunFolder) -> list[object]:
    """Of the recorded records, in their order."""
    with Reader(folder.ledger) as reader:
        entries = [Entry.decode(data) for data in reader.entries()]
    return [entry.body["seq"] for entry in entries if entry.kind == "record"]


def test_with_time_enough_all_is_taken_in(opened: tuple[RunFolder, Pipeline]) -> None:
    folder, pipeline = opened
    assert pipeline.read()
    assert not pipeline.held_back
    pipeline.commit()
    assert numbers(folder) == list(range(RECORDS))


def test_without_time_each_turn_takes_one_in_and_none_is_lost(opened: tuple[RunFolder, Pipeline]) -> None:
    folder, pipeline = opened
    for turn in range(RECORDS):
        pipeline.read(-1.0)
        assert pipeline.held_back
        pipeline.commit()
        assert numbers(folder) == list(range(turn + 1))
    pipeline.read(-1.0)
    assert not pipeline.held_back


def test_the_end_takes_in_whatever_was_held_back(opened: tuple[RunFolder, Pipeline]) -> None:
    folder, pipeline = opened
    pipeline.read(-1.0)
    pipeline.drain()
    pipeline.commit()
    assert numbers(folder) == list(range(RECORDS))
