"""Two readings of the same gradients compared, element by element: what changed, and how it looks.

Readings are float32. A factor that torch applies is computed in the number format of the gradients: its
division, the sum below it and the product each round once, so an honest product lies within four units in
the last place of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, isfinite, lgamma

from ....core.contract import TensorDeclaration
from ....core.gradients import Reading

ROUNDINGS = 4.0
RATIO_ROUNDINGS = 16.0
UNITS = {"float32": 2.0**-24, "float64": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
"""Half of the distance from 1 to the next number; float64 is recorded in float32."""
SMALLEST = {"float16": 2.0**-24}
"""Numbers about this small are rounded to multiples of it, or to nothing."""
SUBNORMAL = 2.0**-126


@dataclass(frozen=True, slots=True)
class Format:
    """How the gradients of one optimizer round: its weakest number format counts for all of them."""

    unit: float
    smallest: float

    @staticmethod
    def of(tensors: Iterable[TensorDeclaration]) -> Format:
        """From the types its parameters were declared with."""
        kinds = {tensor.dtype for tensor in tensors}
        unit = max((UNITS.get(kind, 2.0**-8) for kind in kinds), default=2.0**-24)
        return Format(unit, max((SMALLEST.get(kind, SUBNORMAL) for kind in kinds), default=SUBNORMAL))


@dataclass(frozen=True, slots=True)
class Part:
    """The sampled elements of one tensor: how many are as they must be, and the others' values.

    Elements that must be zero and are, and those that are not finite, count in neither.
    """

    tensor: int
    same: int
    pairs: tuple[tuple[float, float], ...]

    @property
    def whole(self) -> bool:
        """Whether every element that could show a change did change."""
        return bool(self.pairs) and not self.same


@dataclass(slots=True)
class Comparison:
    """All tensors of one link of the way, those that changed and those that did not."""

    parts: dict[int, Part] = field(default_factory=dict)
    invalid: int = 0
    given_up: dict[int, Part] = field(default_factory=dict)

    @property
    def changed(self) -> list[Part]:
        """The tensors with elements that are not what they must be."""
        return [part for part in self.parts.values() if part.pairs]

    @property
    def everywhere(self) -> bool:
        """Whether no tensor is left in which an element shows that it was not changed."""
        return not any(part.same for part in self.parts.values())

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """Expected and seen value of every element that changed."""
        return [pair for part in self.changed for pair in part.pairs]


def compare(
    was: Reading,
    now: Reading,
    numels: Sequence[int],
    rounding: Format,
    factor_of: Callable[[int], float] | None = None,
) -> Comparison:
    """``now`` against ``was`` times a factor for each tensor; without factors it must be the same bits.

    A tensor whose gradient was given up in between (set to None) takes no part; it is noted apart.
    """
    result = Comparison()
    left = was.by_tensor()
    for tensor, seen in now.by_tensor().items():
        before = left.get(tensor)
        size = min(now.count, numels[tensor]) if 0 <= tensor < len(numels) else now.count
        values = list(before[:size]) if before is not None else [0.0] * size
        factor = factor_of(tensor) if factor_of is not None else 1.0
        result.parts[tensor] = _part(result, tensor, values, list(seen[:size]), factor, rounding)
    for tensor, before in left.items():
        if tensor not in result.parts and any(before):
            result.given_up[tensor] = Part(tensor, 0, tuple((value, 0.0) for value in before))
    return result


def _part(
    result: Comparison, tensor: int, values: list[float], seen: list[float], factor: float, rounding: Format
) -> Part:
    if factor == 1.0 and values == seen:  # never so where a value is not a number
        return Part(tensor, len(values) - values.count(0.0), ())
    pairs = []
    same = 0
    near, least = (ROUNDINGS * rounding.unit, rounding.smallest) if factor != 1.0 else (0.0, 0.0)
    for value, found in zip(values, seen, strict=True):
        due = value * factor
        if not isfinite(due):
            result.invalid += 1
        elif abs(found - due) <= near * abs(due) + least * (1.0 + abs(value)):  # the factor is rounded too
            same += due != 0.0
        else:
            pairs.append((due, found))
    return Part(tensor, same, tuple(pairs))


def clamped(was: Reading, now: Reading, limit: float, outside: Collection[int]) -> Comparison:
    """``now`` against ``was`` with every element of the tensors concerned held within ± ``limit``."""
    result = Comparison()
    left = was.by_tensor()
    for tensor, seen in now.by_tensor().items():
        before = left.get(tensor, seen)
        pairs, same = [], 0
        for value, found in zip(before, seen, strict=True):
            due = value if tensor in outside else max(-limit, min(limit, value))
            if not isfinite(value):
                result.invalid += 1
            elif found == due or (abs(value) > limit and abs(found - due) <= 2.0**-8 * limit):
                same += due != 0.0  # the limit itself is rounded to the gradients' format
            else:
                pairs.append((due, found))
        result.parts[tensor] = Part(tensor, same, tuple(pairs))
    return result


def ratio_of(pairs: Iterable[tuple[float, float]], rounding: Format) -> float | None:
    """The one factor by which all elements differ from what they must be; None when there is none."""
    ratios = [seen / due for due, seen in pairs if due and isfinite(seen)]
    if not ratios or len(ratios) < sum(1 for _ in pairs):
        return None
    middle = sorted(ratios)[len(ratios) // 2]
    near = RATIO_ROUNDINGS * rounding.unit
    return middle if all(abs(one - middle) <= near * abs(middle) for one in ratios) else None


def shrunk(pairs: Iterable[tuple[float, float]]) -> bool:
    """Whether every element kept its sign and grew smaller, but not zero: what clipping of any kind does."""
    return all(due and 0.0 < seen / due <= 1.0 for due, seen in pairs)


def zeroed(pairs: Iterable[tuple[float, float]]) -> bool:
    """Whether every element became zero."""
    return all(seen == 0.0 for _, seen in pairs)


def chance(affected: int, sampled: int, affected_before: int, sampled_before: int) -> float:
    """How likely it is to find so many elements affected now, if the same share of them always is.

    Beta-binomial, with a share of which nothing is known but the elements sampled before: a habit of the
    program that concerns a few elements of a tensor is met late, and is no change when it is.
    """
    alpha, beta = affected_before + 1.0, sampled_before - affected_before + 1.0
    return sum(
        exp(
            lgamma(sampled + 1.0) - lgamma(some + 1.0) - lgamma(sampled - some + 1.0)
            + _log_beta(some + alpha, sampled - some + beta) - _log_beta(alpha, beta)
        )
        for some in range(affected, sampled + 1)
    )  # fmt: skip


def _log_beta(one: float, other: float) -> float:
    return lgamma(one) + lgamma(other) - lgamma(one + other)


def words_of(comparison: Comparison, rounding: Format) -> str:
    """What was done to the elements that changed, in words."""
    pairs = comparison.pairs
    ratio = ratio_of(pairs, rounding)
    if zeroed(pairs):
        partly = any(part.same for part in comparison.changed)
        return "some of their elements were set to zero" if partly else "they were set to zero"
    if ratio is not None:
        if abs(ratio + 1.0) <= RATIO_ROUNDINGS * rounding.unit:
            return "their sign was turned"
        return f"they were multiplied by {ratio:.6g}"
    if shrunk(pairs):
        return "they were made smaller, each by another factor"
    return "something was added to them, or they were replaced"


def named(tensors: Iterable[int], declared: Sequence[TensorDeclaration], most: int = 4) -> str:
    """The names of tensors, the first few of them."""
    names = [declared[at].name if 0 <= at < len(declared) else f"tensor {at}" for at in tensors]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def tallied(tally: Mapping[int, list[int]], tensor: int) -> tuple[int, int]:
    """Affected and sampled elements of a tensor so far."""
    affected, sampled = tally.get(tensor, (0, 0))
    return affected, sampled
