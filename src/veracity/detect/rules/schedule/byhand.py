"""Rates that a program sets by its own formula over a scheduler, from its first step on.

A warm-up written by hand is the usual one: the rate comes nearer, from step to step, to what the scheduler
gives, and reaches it or stops short of it. An edit that scales a schedule's rates stays as far away as it
began, or moves further off with each step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ....core.finding import Finding

NEARER = 1e-9


def distance(rates: Sequence[float], due: Sequence[float]) -> float:
    """How far the rates are from those due: the largest logarithm of their ratio, infinite where one is 0."""
    return max((_apart(seen, wanted) for seen, wanted in zip(rates, due, strict=True)), default=0.0)


def _apart(seen: float, wanted: float) -> float:
    if seen == wanted:
        return 0.0
    return abs(math.log(seen) - math.log(wanted)) if seen > 0.0 and wanted > 0.0 else math.inf


@dataclass(slots=True)
class ByHand:
    """The first steps of one optimizer.

    ``held``: what is to be said of the first step, until the second one shows whether the program moves its
    rates towards those due. ``sets``: it does, until the scheduler's are in force again.
    """

    begun: bool = False
    held: Finding | None = None
    apart: float = 0.0
    sets: bool = False

    def agreed(self) -> None:
        """The rates are those due: what differs from now on has begun to."""
        self.begun, self.held, self.sets = True, None, False

    def differs(self, rates: Sequence[float], due: Sequence[float], finding: Finding) -> Finding | None:
        """The rates are not those due, of which ``finding`` tells; what is to be told by now."""
        apart = distance(rates, due)
        if not self.begun:
            self.begun, self.held, self.apart = True, finding, apart
            return None
        held, self.held = self.held, None
        self.sets = self.sets or (held is not None and apart < self.apart - NEARER)
        return None if self.sets else held or finding
