"""The kernel's clocks, read together.

``CLOCK_REALTIME`` can be set; ``CLOCK_MONOTONIC`` and ``CLOCK_BOOTTIME`` cannot, and only the latter counts
while the machine is suspended (clock_gettime(2)). All three run at the rate that time daemons steer: slewing
and a smeared leap second change none against another, a step changes the first alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

TRIES = 5
CLOSE = 1_000_000
"""Nanoseconds within which the readings of one look should lie."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Three clocks at one moment, in ns. ``spread``: between the first reading and the last."""

    realtime: int
    monotonic: int
    boottime: int
    spread: int = 0


def read_clocks() -> Clocks:
    """All three, as close to each other as a few tries give: the reader may be interrupted in between."""
    found = [_read()]
    while found[-1].spread > CLOSE and len(found) < TRIES:
        found.append(_read())
    return min(found, key=lambda one: one.spread)


def _read() -> Clocks:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    boottime = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    realtime = time.clock_gettime_ns(time.CLOCK_REALTIME)
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return Clocks(realtime, before, boottime, after - before)
