"""The end of a process is noted after what it wrote, however much others go on writing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from veracity.monitor.job import READS_AT_AN_END, Loop


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
