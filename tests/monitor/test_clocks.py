"""Clocks that are set, machines that sleep, monitors that are stopped: entries, and never findings."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veracity.core.observation import Gap
from veracity.detect.registry import DETECTORS
from veracity.monitor import clocks
from veracity.monitor.clocks import MAX_GAPS, SECOND, ClockWatch
from veracity.monitor.judge import Judge
from veracity.observe.clocks import CLOSE, Clocks, read_clocks

START = 1_700_000_000 * SECOND


@dataclass
class Machine:
    """A simulator of a machine's clocks. ``rate``: parts per million that a time daemon slews them by."""

    realtime: int = START
    monotonic: int = 5 * SECOND
    boottime: int = 7 * SECOND
    rate: int = 0
    spread: int = 1000
    delay: float = 0.0

    def passes(self, seconds: float) -> Machine:
        """Time, as all clocks count it."""
        counted = int(seconds * SECOND * (1 + self.rate / 1e6))
        self.realtime += counted
        self.monotonic += counted
        self.boottime += counted
        return self

    def is_set(self, seconds: float) -> None:
        """By date, by a time daemon's step, or by a leap second that is inserted."""
        self.realtime += int(seconds * SECOND)

    def sleeps(self, seconds: float) -> None:
        """Suspended: what counts on is the time of day, read from the hardware, and the time since boot."""
        self.realtime += int(seconds * SECOND)
        self.boottime += int(seconds * SECOND)

    def is_held(self, seconds: float, *, told: bool) -> None:
        """A virtual machine that is paused; ``told``: its clock is set afterwards to what it missed."""
        if told:
            self.is_set(seconds)

    def read(self) -> Clocks:
        """As the monitor does."""
        return Clocks(self.realtime, self.monotonic, self.boottime, self.spread)

    def watch(self) -> ClockWatch:
        """A watch of these clocks that has looked once."""
        watch = ClockWatch(self.read, lambda: self.delay, lambda: 0.0)
        assert list(watch.look(-1)) == []
        return watch


def said(gaps: Iterator[Gap]) -> list[str]:
    found = list(gaps)
    assert all(one.law == "record" and not one.stops for one in found)
    return [one.what for one in found]


@pytest.mark.parametrize(("by", "what"), [(3600.0, "forward by 3600.000 s"), (-60.0, "back by 60.000 s")])
def test_a_clock_that_is_set_is_an_entry(by: float, what: str) -> None:
    machine = Machine()
    watch = machine.watch()
    machine.passes(0.05).is_set(by)
    (gap,) = watch.look(12)
    assert gap.what == f"the clock was set {what}"
    assert "the last step heard of was 12" in gap.reason
    assert list(watch.look(12)) == []


def test_a_leap_second_that_is_inserted_is_information() -> None:
    machine = Machine()
    watch = machine.watch()
    machine.passes(0.05).is_set(-1.0)
    assert said(watch.look(0)) == ["the clock was set back by 1.000 s"]


@pytest.mark.parametrize("rate", [500, -500, 100_000, -100_000, 12])
def test_slewing_and_a_smeared_leap_second_are_nothing(rate: int) -> None:
    machine = Machine(rate=rate)
    watch = machine.watch()
    for _ in range(2000):
        machine.passes(1.0)
        assert list(watch.look(0)) == []


def test_small_corrections_are_nothing() -> None:
    machine = Machine()
    watch = machine.watch()
    for by in (0.1, -0.2, 0.4, -0.49):
        machine.passes(0.05).is_set(by)
        assert list(watch.look(0)) == []


def test_a_clock_that_is_set_by_a_little_at_a_time_is_seen_in_the_end() -> None:
    machine = Machine()
    watch = machine.watch()
    gaps = []
    for _ in range(100):
        machine.passes(0.05).is_set(0.3)
        gaps += list(watch.look(0))
    assert len(gaps) == 50
    assert gaps[0].what == "the clock was set forward by 0.600 s"


def test_a_suspend_is_an_entry_and_no_step_of_the_clock() -> None:
    machine = Machine()
    watch = machine.watch()
    machine.passes(0.05).sleeps(7200)
    assert said(watch.look(0)) == ["the machine was suspended for 7200.0 s"]


@pytest.mark.parametrize("told", [True, False])
def test_a_virtual_machine_that_was_held(told: bool) -> None:
    """What its clocks missed is seen when it is told; nobody can see it from inside otherwise."""
    machine = Machine()
    watch = machine.watch()
    machine.passes(0.05).is_held(300, told=told)
    assert said(watch.look(0)) == (["the clock was set forward by 300.000 s"] if told else [])


def test_a_monitor_that_was_stopped_is_an_entry() -> None:
    machine = Machine()
    watch = machine.watch()
    machine.passes(30)
    machine.delay = 4.0
    (gap,) = watch.look(3)
    assert gap.what == "the monitor saw nothing for 30.0 s"
    assert "it waited 4.0 s for a processor" in gap.reason
    machine.passes(9.9)
    assert list(watch.look(3)) == []


def test_who_is_interrupted_between_two_readings_sees_no_step() -> None:
    machine = Machine()
    watch = machine.watch()
    machine.passes(0.05).is_set(0.9)
    machine.spread = 2 * SECOND
    assert list(watch.look(0)) == []


def test_a_clock_that_is_set_again_and_again_does_not_fill_the_record() -> None:
    machine = Machine()
    watch = machine.watch()
    gaps = []
    for at in range(MAX_GAPS * 2):
        machine.passes(0.05).is_set(5 if at % 2 else -5)
        gaps += list(watch.look(at))
    assert len(gaps) == MAX_GAPS
    assert "no further ones are listed" in gaps[-1].reason


def test_how_long_ago_a_step_was_does_not_depend_on_who_sets_the_clock() -> None:
    machine = Machine()
    watch = machine.watch()
    ended = machine.realtime
    machine.passes(0.2).is_set(3600)
    list(watch.look(0))
    assert watch.ago(ended) == pytest.approx(0.2, abs=0.01)
    later = machine.realtime
    machine.passes(0.3).is_set(-1800)
    list(watch.look(0))
    assert watch.ago(later) == pytest.approx(0.3, abs=0.01)
    assert watch.ago(machine.realtime) == 0
    assert watch.ago(machine.realtime + SECOND) == 0
    ended = machine.passes(0.1).realtime
    machine.passes(0.2)
    assert watch.ago(ended) == pytest.approx(0.2, abs=0.01), "a time that was said twice"


def test_a_step_that_ended_just_after_the_clock_was_set_back_is_not_long_ago() -> None:
    machine = Machine()
    watch = machine.watch()
    machine.passes(0.2).is_set(-1800)
    ended = machine.passes(0.1).realtime
    machine.passes(0.1)
    list(watch.look(0))
    assert watch.ago(ended) == pytest.approx(0.1, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_no_clock_makes_a_finding(seed: int) -> None:
    """Whatever is done to the clocks, by a daemon or by somebody with root: gaps, and the sum is right."""
    chance = random.Random(seed)
    machine = Machine()
    watch = machine.watch()
    judge = Judge(DETECTORS)
    moved = 0.0
    told = 0.0
    for step in range(60):
        machine.rate = chance.choice([0, 500, -500, 80_000])
        machine.passes(chance.choice([0.05, 0.5, 15.0]))
        by = chance.choice([0.0, 0.0, 0.0, 3600.0, -3600.0, -1.0, 86400.0])
        machine.is_set(by)
        moved += by
        for gap in watch.look(step):
            if gap.what.startswith("the clock was set"):
                words = gap.what.split()
                told += float(words[-2]) * (1 if "forward" in words else -1)
            assert list(judge.observe(gap)) == []
    assert told == pytest.approx(moved, abs=0.5)
    assert list(judge.finish()) == []


def test_the_clocks_of_this_machine() -> None:
    one, two = read_clocks(), read_clocks()
    assert one.monotonic <= two.monotonic
    assert one.boottime <= two.boottime
    assert one.boottime >= one.monotonic - CLOSE
    assert clocks.SILENCE > SECOND
