"""Intervals of proportions, and percentiles of few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z = 1.959964


def wilson(events: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion; (0, 1) without trials.

    Raises ValueError unless 0 <= events <= trials.
    """
    if not 0 <= events <= trials:
        raise ValueError(f"{events} of {trials} is no share")
    if trials == 0:
        return 0.0, 1.0
    share = events / trials
    middle = share + Z * Z / (2 * trials)
    spread = Z * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    scale = 1 + Z * Z / trials
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def rule_of_three(trials: int) -> float:
    """The 95 % upper bound of a rate of which no event was seen in ``trials``; 1 without trials."""
    return min(1.0, 1 - 0.05 ** (1 / trials)) if trials else 1.0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all are not above (nearest rank); NaN without values."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
