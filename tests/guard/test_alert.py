"""Weak signals raise the guard's attention, and do not go on doing so."""

from __future__ import annotations

import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast
from unittest.mock import Mock

import pytest

from veracity.guard.alert import QUIET, Alert, Asked
from veracity.guard.attention import Attention
from veracity.guard.schedule import LOOK, Schedule

if TYPE_CHECKING:
    from veracity.guard.tracked import Tracked


def test_a_loss_that_jumps_raises_it_once_for_a_while() -> None:
    alert, draw = Alert(), random.Random(2)
    raised = []
    for step in range(QUIET):
        level = 2.0 if step < 200 else 9.0 if step < 300 else 0.2
        loss = level * (1 + 0.02 * draw.gauss(0, 1))
        if alert.raised(0, step, {"loss": loss, "norm": None}):
            raised.append(step)
    assert len(raised) == 1
    assert 200 <= raised[0] < 215


def test_optimizers_and_series_are_apart() -> None:
    alert, draw = Alert(), random.Random(3)
    raised = []
    for step in range(300):
        values = [{"loss": 1 + 0.1 * draw.random(), "norm": 50 + draw.random()} for _ in range(2)]
        if step > 250:
            values[1]["norm"] = 500 + draw.random()
        raised += [(at, step) for at in range(2) if alert.raised(at, step, dict(values[at]))]
    assert [at for at, _ in raised] == [1]


def test_the_monitor_is_heard_each_time_it_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("veracity.guard.alert.time.monotonic", lambda: now[0])
    path = tmp_path / "attention"
    asked = Asked(str(path))
    assert not asked.raised()
    path.write_text("x")
    assert not asked.raised()  # looked for once a second
    now[0] += 1.5
    assert asked.raised()
    now[0] += 1.5
    assert not asked.raised()
    os.utime(path, ns=(1, 1))
    now[0] += 1.5
    assert asked.raised()
    path.unlink()
    now[0] += 1.5
    assert not asked.raised()


def test_without_a_place_nothing_is_looked_for() -> None:
    assert not Asked("").raised()


def test_a_monitor_that_asks_raises_attention(tmp_path: Path) -> None:
    path = tmp_path / "attention"
    key = b"k" * 32
    attention = Attention(key, 0.01, Schedule(key, 0.01, LOOK), str(path))
    tracked = cast("Tracked", SimpleNamespace(index=0, steps=9, close=False, looked=0, trail=Mock()))
    path.write_text("x")
    assert attention.stepped(tracked, 0.1, {"loss": 1.0})
    assert not attention.stepped(tracked, 0.1, {"loss": 1.0})
