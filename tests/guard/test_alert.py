"""Weak signals raise the guard's attention, and do not go on doing so."""

from __future__ import annotations

import random

from veracity.guard.alert import QUIET, Alert


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
