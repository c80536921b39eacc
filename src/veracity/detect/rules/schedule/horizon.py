"""Whether a schedule that is no longer stepped had a way to go: is its declared end ahead, and would it move?

Only schedules that declare where they end are answered for. Many programs stop stepping on purpose when a
rate has become small enough, so a fall that is nearly over counts as over.
"""

from __future__ import annotations

from bisect import bisect_right
from math import inf

from ....core.contract import SchedulerDeclaration
from ....core.errors import EvidenceError
from .course import Schedule
from .formulas import Leaf
from .warmups import Warmup

NEARLY_OVER = 0.2
_LENGTHS = {"CosineAnnealingLR": "T_max", "LinearLR": "total_iters", "PolynomialLR": "total_iters"}


def has_way_to_go(declaration: SchedulerDeclaration, position: int) -> bool:
    """Whether the rates would still move by the next step, and not only over the last part of a fall."""
    try:
        schedule = Schedule.of(declaration)
        if schedule.milestones is None or position < 0:
            return False
        active = bisect_right(schedule.milestones, position)
        last = active == len(schedule.milestones)
        start = schedule.milestones[active - 1] if active else 0
        if last and position - start >= _end(schedule.leaves[active]):
            return False
        now, then = schedule.at(position), schedule.at(position + 1)
    except (EvidenceError, ArithmeticError, ValueError):
        return False
    largest = max((rate for leaf in schedule.leaves for rate in (*leaf.base_lrs, *leaf.peaks)), default=0.0)
    rises = any(b > a for a, b in zip(now, then, strict=True))
    return now != then and (rises or max(now) > NEARLY_OVER * largest)


def _end(leaf: Leaf) -> float:
    """The position at which a schedule declares to be over; 0 for those that do not say."""
    if leaf.kind in _LENGTHS:
        return leaf.numbers[_LENGTHS[leaf.kind]]
    if leaf.kind == "OneCycleLR":
        return leaf.ends[-1]
    return max(map(_end_of_function, leaf.functions), default=0.0)


def _end_of_function(function: Warmup) -> float:
    number = function.number
    if function.kind == "stable":
        return number["num_warmup_steps"] + number["num_stable_steps"] + number["num_decay_steps"]
    if function.kind == "inverse root":
        return inf
    return number.get("num_training_steps", number.get("num_warmup_steps", 0.0))
