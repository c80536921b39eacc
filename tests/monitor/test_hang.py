"""Looks at ranks that make no steps: when they begin, what they say, when the hang is over."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from veracity.core.observation import JobStuck, StackFrame
from veracity.monitor import hang
from veracity.monitor.hang import Hangs

HERE = StackFrame("/home/u/train.py", 3, "step", "wait()")


class Clock:
    """A monotonic clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    @staticmethod
    def time_ns() -> int:
        return 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(hang, "time", clock)
    return clock


@pytest.fixture
def victim() -> Iterator[int]:
    code = "import time\nprint(flush=True)\ntime.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    yield child.pid
    child.kill()
    child.communicate()


def steps(hangs: Hangs, clock: Clock, count: int, *pids: int, each: float = 0.1, first: int = 0) -> None:
    for number in range(first, first + count):
        clock.now += each
        for rank, pid in enumerate(pids):
            assert list(hangs.stepped(pid, rank, number)) == []


def wait(hangs: Hangs, clock: Clock, seconds: float, each: float = 1.0) -> list[JobStuck]:
    found: list[JobStuck] = []
    until = clock.now + seconds
    while clock.now < until:
        clock.now += each
        found += hangs.look()
    return found


def test_a_hang_is_told_once_then_once_more_much_later_then_that_it_is_over(
    clock: Clock, victim: int
) -> None:
    hangs = Hangs(lambda pid: [HERE], floor=20)
    steps(hangs, clock, 10, victim, os.getpid())
    assert wait(hangs, clock, 19) == []
    (stuck,) = wait(hangs, clock, 60)
    assert (stuck.over, stuck.looks) == (False, 3)
    assert stuck.usual in (0, 100_000_000), "the first of two ranks ends its step when the other does"
    assert [(one.rank, one.pid, one.step, one.same) for one in stuck.ranks] == [
        (0, victim, 9, True),
        (1, os.getpid(), 9, True),
    ]
    assert stuck.ranks[0].frames == [HERE]
    assert stuck.ranks[0].state in "SR", "it may not have reached its sleep yet"
    assert stuck.ranks[0].cpu < 100
    assert len(wait(hangs, clock, 300)) == 1
    assert wait(hangs, clock, 1000) == []
    (over,) = hangs.stepped(victim, 0, 10)
    assert over.over
    assert over.span > 300e9
    assert wait(hangs, clock, 10) == []


def test_a_stack_that_changes_is_not_the_same(clock: Clock) -> None:
    lines = iter(range(1000))
    hangs = Hangs(lambda pid: [StackFrame("/home/u/train.py", next(lines), "f", "")], floor=20)
    steps(hangs, clock, 5, os.getpid())
    (stuck,) = wait(hangs, clock, 60)
    assert not stuck.ranks[0].same


def test_long_steps_and_long_pauses_that_were_seen_before_are_usual(clock: Clock) -> None:
    hangs = Hangs(lambda pid: [HERE], floor=20)
    steps(hangs, clock, 5, os.getpid(), each=15)
    assert wait(hangs, clock, 200) == [], "a step takes fifteen seconds here"
    hangs = Hangs(lambda pid: [HERE], floor=20)
    steps(hangs, clock, 5, os.getpid())
    clock.now += 19
    steps(hangs, clock, 1, os.getpid(), first=5)
    assert wait(hangs, clock, 50) == [], "an evaluation took nineteen seconds before"


def test_a_hang_does_not_make_the_next_one_usual(clock: Clock) -> None:
    hangs = Hangs(lambda pid: [HERE], floor=20)
    steps(hangs, clock, 20, os.getpid())
    assert len(wait(hangs, clock, 100)) == 1
    list(hangs.stepped(os.getpid(), 0, 20))
    steps(hangs, clock, 5, os.getpid(), first=21)
    assert len(wait(hangs, clock, 60)) == 1


def test_ranks_that_have_ended(clock: Clock) -> None:
    hangs = Hangs(None, floor=20)
    steps(hangs, clock, 5, os.getpid(), 2**22 + 1)
    hangs.ended(2**22 + 1)
    (stuck,) = wait(hangs, clock, 60)
    assert [one.state == "gone" for one in stuck.ranks] == [False, True]
    hangs.ended(os.getpid())
    list(hangs.stepped(os.getpid(), 0, 6))
    assert wait(hangs, clock, 500) == [], "the job is over"


def test_before_the_first_step_nothing_hangs(clock: Clock) -> None:
    assert wait(Hangs(None, floor=20), clock, 500) == []
