"""A loss-spike detector: the logged loss against a rolling median, in units of its median deviation.

Nothing but the logged losses is looked at. The threshold is set per training script so that at most one in a
hundred clean runs of that script has an alarm (none, while there are fewer than a hundred).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

WINDOW = 15
WARM = 8
MAD_OF_NORMAL = 1.4826
FALSE_ALARMS = 0.01


def scores(losses: Sequence[float]) -> list[float]:
    """How far each loss lies from the median of the ``WINDOW`` before it, in estimated standard deviations.

    0 for the first ``WARM``; infinite for a loss that is not finite.
    """
    found = []
    for position, loss in enumerate(losses):
        before = [one for one in losses[max(0, position - WINDOW) : position] if math.isfinite(one)]
        if not math.isfinite(loss):
            found.append(math.inf)
        elif len(before) < WARM:
            found.append(0.0)
        else:
            middle = median(before)
            deviation = MAD_OF_NORMAL * median(abs(one - middle) for one in before)
            found.append(abs(loss - middle) / max(deviation, 1e-6))
    return found


def threshold(clean: Iterable[Sequence[float]]) -> float:
    """The score that at most ``FALSE_ALARMS`` of the clean runs exceed anywhere; infinite without runs."""
    highest = sorted(max(scores(losses), default=0.0) for losses in clean)
    if not highest:
        return math.inf
    return highest[len(highest) - 1 - int(FALSE_ALARMS * len(highest))]


def first_alarm(losses: Sequence[float], limit: float, start: int) -> int | None:
    """The first step at or after ``start`` whose score exceeds ``limit``; None when none does."""
    for step, score in enumerate(scores(losses)):
        if step >= start and score > limit:
            return step
    return None


def thresholds(rows: Iterable[Mapping[str, object]]) -> dict[str, float]:
    """The limit for each training script, from the rows of clean runs that logged losses."""
    logged: dict[str, list[list[float]]] = {}
    for row in rows:
        losses = row.get("losses")
        if isinstance(losses, list) and losses:
            logged.setdefault(str(row.get("program")), []).append(losses)
    return {name: threshold(runs) for name, runs in logged.items()}
