"""Readings are rarer where they cost training more than the budget, and come each second elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.monitor.thrift import LEAST_SECONDS, MOST_SECONDS, PART, Thrift

seconds = st.floats(0, 10, allow_nan=False)


@dataclass
class Machine:
    """A monitor whose readings take ``each`` seconds, and ``steady`` of each second goes elsewhere."""

    each: float
    steady: float = 0.0
    busy: bool = True
    now: float = 100.0
    used: float = 3.0
    waited: float = 5.0

    def thrift(self, overhead: float) -> Thrift:
        return Thrift(overhead, lambda: self.used, lambda: self.waited)

    def goes_on(self, thrift: Thrift, readings: int = 30) -> tuple[float, float]:
        """The last interval, and the part of a core that was used from the tenth reading on."""
        begun = spent = 0.0
        every = 0.0
        for number in range(readings):
            every = thrift.after(self.now)
            took = self.each + self.steady * every
            self.now += every
            self.used += took
            self.waited += every * 0.9 if self.busy else took * 0.1
            if number >= 10:
                begun, spent = begun + every, spent + took
        return every, spent / begun if begun else 0.0


def test_where_a_processor_is_free_it_reads_each_second() -> None:
    machine = Machine(each=0.5, busy=False)
    assert machine.goes_on(machine.thrift(0.01))[0] == LEAST_SECONDS


def test_where_none_is_free_it_keeps_to_its_part_of_the_budget() -> None:
    machine = Machine(each=0.006)
    thrift = machine.thrift(0.01)
    assert thrift.stretch == 1
    every, part = machine.goes_on(thrift)
    assert LEAST_SECONDS < every < MOST_SECONDS
    assert thrift.stretch == every / LEAST_SECONDS
    assert part == pytest.approx(0.01 * PART, rel=0.05)


def test_a_cheap_reading_comes_each_second() -> None:
    machine = Machine(each=0.002)
    assert machine.goes_on(machine.thrift(0.01))[0] == LEAST_SECONDS


@pytest.mark.parametrize("overhead", [0.0, 0.01])
def test_it_never_sleeps_longer_than_the_longest_interval(overhead: float) -> None:
    machine = Machine(each=0.3, steady=0.5)
    assert machine.goes_on(machine.thrift(overhead))[0] == MOST_SECONDS


def test_it_comes_back_when_a_processor_is_free_again() -> None:
    machine = Machine(each=0.3)
    thrift = machine.thrift(0.01)
    machine.goes_on(thrift)
    machine.busy = False
    assert machine.goes_on(thrift, 3)[0] == LEAST_SECONDS


def test_what_it_used_while_the_guards_looked_does_not_count() -> None:
    machine = Machine(each=0.002)
    thrift = machine.thrift(0.01)
    machine.goes_on(thrift)
    machine.used, machine.waited, machine.now = machine.used + 60, machine.waited + 90, machine.now + 100
    thrift.forget()
    assert machine.goes_on(thrift, 2)[0] == LEAST_SECONDS


@given(st.floats(0, 1), st.lists(st.tuples(seconds, seconds, seconds), max_size=20))
def test_whatever_the_clocks_say_the_interval_stays_in_bounds(
    overhead: float, turns: list[tuple[float, float, float]]
) -> None:
    now = used = waited = 0.0
    thrift = Thrift(overhead, lambda: used, lambda: waited)
    for span, ran, stood in turns:
        now, used, waited = now + span, used + ran, waited + stood
        assert LEAST_SECONDS <= thrift.after(now) <= MOST_SECONDS
