"""Saved tensors that are one multiple of the parameters in memory.

What a program saves beside its parameters is of many kinds: an average, an older state, another model of the
same names. None of them is the parameter times one number, to the last bits, in all of its elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ....core.observation import TensorCopy

ENOUGH = 6
DISTINCT = 4
# Two or three roundings in a format, as a share of a value.
_ROUNDINGS = {"float64": 1e-6, "float32": 1e-6, "float16": 1.5e-3, "bfloat16": 1.2e-2}
_APART = 1.5


@dataclass(frozen=True, slots=True)
class Multiples:
    """Tensors of one part of a checkpoint that are multiples of the live ones, each with its factor."""

    prefix: str
    found: list[tuple[TensorCopy, float]]


def factor_of(copy: TensorCopy) -> float | None:
    """What the live values were multiplied by, 1.0 for rounding alone, None when it is no one number.

    NaN when too few values say anything.
    """
    tolerance = max(_ROUNDINGS.get(copy.saved_dtype, math.inf), _ROUNDINGS.get(copy.live_dtype, math.inf))
    ratios = []
    for saved, live in zip(copy.saved, copy.live, strict=False):
        if not (math.isfinite(saved) and math.isfinite(live)):
            return None
        if live == 0.0 or abs(live) < 1e-30:
            if saved != live:
                return None
        else:
            ratios.append(saved / live)
    if tolerance == math.inf or len(ratios) < ENOUGH or len(set(copy.live)) < DISTINCT:
        return math.nan
    middle = sorted(ratios)[len(ratios) // 2]
    if max(ratios) - min(ratios) > tolerance * abs(middle):
        # Older by a hair, or rounded in more than one place: each value is near to the live one.
        return 1.0 if all(abs(ratio - 1.0) <= tolerance for ratio in ratios) else None
    return 1.0 if abs(middle - 1.0) <= _APART * tolerance else middle


def multiples(copies: Sequence[TensorCopy]) -> list[Multiples]:
    """The parts of a checkpoint in which tensors are multiples, and none is anything else."""
    parts: dict[str, list[tuple[TensorCopy, float | None]]] = {}
    for copy in copies:
        parts.setdefault(copy.prefix, []).append((copy, factor_of(copy)))
    result = []
    for prefix, judged in parts.items():
        factors = [factor for _, factor in judged]
        if None in factors:
            continue  # an average, or another state of the weights
        found = [(copy, factor) for copy, factor in judged if factor is not None and factor != 1.0]
        found = [(copy, factor) for copy, factor in found if not math.isnan(factor)]
        if found:
            result.append(Multiples(prefix, found))
    return result
