"""The end of a process is noted after what it wrote; nobody is late by what was not read yet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from veracity.monitor.job import PORTION_SECONDS, READS_AT_AN_END, Loop


class Endless:
    """A pipeline with something new at each reading, and a process that has ended."""

    def __init__(self, readings: int) -> None:
        self.left = readings
        self.done: list[str] = []

    def read(self) -> bool:
        self.left -= 1
        self.done.append("read")
        return self.left > 0

    def ended(self, _pidfd: int) -> None:
        self.done.append("ended")


def end(readings: int) -> list[str]:
    world = Endless(readings)
    processes = SimpleNamespace(
        owns=lambda _: True, note_status=lambda _: None, ended=world.ended, ended_unheard=list
    )
    loop = SimpleNamespace(
        _listener=SimpleNamespace(owns=lambda _: False), _processes=processes, _pipeline=world
    )
    Loop._ready(cast("Loop", loop), 5)
    return world.done


def test_all_that_was_written_is_read_first() -> None:
    assert end(3) == ["read", "read", "read", "ended"]


def test_a_job_that_never_stops_writing_does_not_hold_the_monitor() -> None:
    assert end(10**9) == ["read"] * READS_AT_AN_END + ["ended"]


@pytest.mark.parametrize("left", [False, True])
def test_what_is_left_of_a_portion_is_read_in_the_next_turn(left: bool) -> None:
    asked: list[float] = []
    pipeline = SimpleNamespace(held_back=left, read=asked.append, hear_peers=lambda: None)
    loop = SimpleNamespace(
        _pipeline=pipeline,
        _processes=SimpleNamespace(scan=list, trainers=list),
        _metrics=SimpleNamespace(look=lambda _pids, calm: []),
        _witnessing=SimpleNamespace(gaps=list),
        _until_next=lambda _now, calm: 4.0,
    )
    fresh = Loop._take_in(cast("Loop", loop), 10.0, calm=True)
    assert asked == [PORTION_SECONDS]
    assert fresh is not left  # else a rank whose steps wait in its spool would be called late, or hung
    assert loop._next_read == (10.0 if left else 14.0)
