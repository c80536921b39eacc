"""Rates that a program sets by its own formula over a scheduler, from its first step on.

A warm-up written by hand is the usual one: the rate comes nearer, from step to step, to what the scheduler
gives, and reaches it or stops short of it. An edit that scales a schedule's rates stays as far away as it
began, or moves further off with each step.

A schedule that is declared as the first step begins, and cannot be derived, says nothing of the rates before
its first own step: they are as the program had set them by then. Rates that move on at both of the next two
steps are set by the program, those that are others once are edited.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ....core.finding import Finding

NEARER = 1e-9


def distance(rates: Sequence[float], due: Sequence[float]) -> float:
    """How far the rates are from those due: the largest logarithm of their ratio, infinite where one is 0."""
    return max((_apart(seen, wanted) for seen, wanted in zip(rates, due, strict=False)), default=0.0)


def _apart(seen: float, wanted: float) -> float:
    if seen == wanted:
        return 0.0
    return abs(math.log(seen) - math.log(wanted)) if seen > 0.0 and wanted > 0.0 else math.inf


@dataclass(slots=True)
class ByHand:
    """The first steps of one optimizer.

    ``held``: what is to be said of the first step, until the next one shows whether the program moves its
    rates by itself. ``sets``: it does, until the scheduler's are in force again. ``found``: the first step
    had the rates that were found at it, which says nothing.
    """

    begun: bool = False
    found: bool = False
    held: Finding | None = None
    apart: float = 0.0
    rates: Sequence[float] = ()
    sets: bool = False

    def agreed(self, *, known: bool = True) -> None:
        """The rates are those due: what differs from now on has begun to. ``known`` as in ``differs``."""
        if known or self.begun or self.found:
            self.begun, self.held, self.sets = True, None, False
        self.found = True

    def differs(
        self, rates: Sequence[float], due: Sequence[float], finding: Finding, *, known: bool
    ) -> Finding | None:
        """The rates are not those due, of which ``finding`` tells; what is to be told by now.

        ``known``: those due are the schedule's, and not what was found at the first step.
        """
        apart = distance(rates, due)
        if not self.begun:
            self.begun, self.held, self.apart, self.rates = True, finding, apart, rates
            return None
        held, self.held = self.held, None
        if held is not None:
            moves = apart < self.apart - NEARER if known else distance(rates, self.rates) > NEARER
            self.sets = self.sets or moves
        return None if self.sets else held or finding
