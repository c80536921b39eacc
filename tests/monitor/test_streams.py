from __future__ import annotations

from dataclasses import replace

import pytest

from veracity.core.observation import Hello
from veracity.core.origin import Origin, Trust
from veracity.monitor import streams
from veracity.monitor.streams import SILENCE_FACTOR, SILENCE_FLOOR, Source

HELLO = Hello(Origin("guard", Trust.USERLAND, 7, -1, 0, 0), 1, "rank", "", "", "", 0, {}, {})


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(streams, "time", made)
    return made


def rank(clock: Clock) -> Source:
    source = Source("7-00000abc", 7, last_heard=clock.now)
    source.greeted(HELLO)
    return source


@pytest.mark.parametrize(
    ("role", "ids", "number"),
    [
        ("rank", {"RANK": "3"}, 3),
        ("rank", {}, 0),
        ("launcher", {"RANK": "3"}, -1),
        ("child", {}, -1),
        ("rank", {"RANK": "-1"}, -1),
        ("rank", {"RANK": "x"}, -1),
        ("rank", {"RANK": "²"}, -1),
        ("rank", {"RANK": "٣"}, -1),
        ("rank", {"RANK": ""}, -1),
        ("rank", {"RANK": "9" * 5000}, -1),
    ],
)
def test_role_and_rank_come_from_the_hello(role: str, ids: dict[str, str], number: int) -> None:
    source = Source("7-00000abc", 7)
    source.greeted(replace(HELLO, role=role, ids=ids))
    assert (source.role, source.rank) == (role, number)


def test_a_rank_that_trains_falls_silent_once(clock: Clock) -> None:
    source = rank(clock)
    source.last_step = 3
    clock.now += SILENCE_FLOOR - 1
    assert not source.falls_silent()
    clock.now += 2
    assert [source.falls_silent() for _ in range(3)] == [True, False, False]
    source.heard(step=False)
    assert not source.falls_silent()
    clock.now += SILENCE_FLOOR + 1
    assert source.falls_silent()


def test_a_rank_with_long_steps_has_more_time(clock: Clock) -> None:
    source = rank(clock)
    source.last_step = 3
    clock.now += 10
    source.heard(step=True)
    clock.now += SILENCE_FACTOR * 10 - 1
    assert not source.falls_silent()
    clock.now += 2
    assert source.falls_silent()
    assert source.records == 1


@pytest.mark.parametrize("change", [{"role": "launcher"}, {"said_goodbye": True}, {"last_step": -1}])
def test_whoever_does_not_train_is_not_waited_for(clock: Clock, change: dict[str, object]) -> None:
    source = rank(clock)
    source.last_step = 3
    for name, value in change.items():
        setattr(source, name, value)
    clock.now += 10**6
    assert not source.falls_silent()
