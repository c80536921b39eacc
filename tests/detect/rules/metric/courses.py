"""Simulated runs: what a training's loss and gradient norm are like, from one seed to another."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

from veracity.core.windows import Windows

Noise = Callable[[random.Random], Iterator[float]]
STEPS = 300


def plain(draw: random.Random) -> Iterator[float]:
    while True:
        yield 0.1 * draw.gauss(0, 1)


def sticky(draw: random.Random) -> Iterator[float]:
    value = 0.0
    while True:
        value = 0.9 * value + 0.05 * draw.gauss(0, 1)
        yield value


def wandering(draw: random.Random) -> Iterator[float]:
    value = 0.0
    while True:
        value += 0.005 * draw.gauss(0, 1)
        yield value + 0.1 * draw.gauss(0, 1)


def heavy(draw: random.Random) -> Iterator[float]:
    while True:
        yield 0.05 * draw.gauss(0, 1) / max(0.02, abs(draw.gauss(0, 1)))


def scaled(draw: random.Random) -> Iterator[float]:
    """Some runs are far noisier than others."""
    size = 0.02 * 10 ** draw.uniform(0, 2)
    while True:
        yield size * draw.gauss(0, 1)


NOISES: dict[str, Noise] = {
    "plain": plain,
    "sticky": sticky,
    "wandering": wandering,
    "heavy": heavy,
    "scaled": scaled,
}


def course(
    draw: random.Random, noise: Noise, *, speed: float = 1.0, steps: int = STEPS, looked: float = 1.0
) -> dict[str, dict[int, float]]:
    """Windows of a run that learns at ``speed``; from step 64 on a share ``looked`` of its steps is known."""
    offset = 0.01 * draw.gauss(0, 1)
    found: dict[str, dict[int, float]] = {}
    for name, slope in (("loss", 0.5), ("norm", 0.2)):
        windows, means = Windows(), found.setdefault(name, {})
        values = noise(draw)
        for step in range(steps):
            value = offset - slope * math.log1p(speed * step / 10) + next(values)
            seen = step < 64 or draw.random() < looked
            complete = windows.add(step, value) if seen else None
            if complete is not None:
                means[complete[0]] = complete[1]
    return found


def is_odd(earlier: list[dict[str, dict[int, float]]], run: dict[str, dict[int, float]]) -> bool:
    """Whether the rule's test, asked window by window as they come, ever calls ``run`` odd."""
    from veracity.detect.rules.metric.standing import Standing

    standing = Standing(earlier)
    order = sorted((window, name) for name, windows in run.items() for window in windows)
    return any(standing.add(name, window, run[name][window]) for window, name in order)
