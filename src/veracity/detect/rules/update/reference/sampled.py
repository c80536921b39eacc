"""Sampled elements of an optimizer that follows a declared reference, judged as those of torch's are.

The bound of a value is twice the error that its operations may have had in the order of the reference, for
any other order, and two roundings of what it was before, for a decay in a step of its own or a ``lerp``.
Narrow formats have one unit more, for those who round to them at random; of float16 only the direction of a
move is left. A state that is not there yet begins
with what the reference says; without that, whatever depends on it is not determined.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite

from .....core.contract import Hyper
from .....core.errors import EvidenceError
from .....core.sample import TensorSample, Values
from ..formulas import Pairs
from ..rounding import PRECISIONS, Number, Precision, Rounded, value_of
from .evaluation import evaluate
from .function import Reference

ORDERS = 2.0
BEFORE = 2.0
UNKNOWN = float("nan")
SINGLE = PRECISIONS["float32"]
_SCREENED = 0.95
_NARROW_RANGE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSettings:
    """One group of an optimizer, by its reference.

    ``lr`` and ``weight_decay`` stand for the group's where it has them, so that a diagnosis can try others,
    as it can with ``grad_scale`` and ``step_scale``. ``returned``: the names that a step gives, known once
    the count is.
    """

    reference: Reference
    hypers: Mapping[str, Hyper]
    lr: float = 0.0
    weight_decay: float = 0.0
    unscaled: bool = False
    grad_scale: float = 1.0
    step_scale: float = 1.0
    returned: frozenset[str] = frozenset()

    @property
    def before(self) -> tuple[str, ...]:
        """Names of the values before a step."""
        return ("param", "grad", *self.reference.states)

    @property
    def after(self) -> tuple[str, ...]:
        """Names of the values after one."""
        return ("param", *self.reference.states)

    @property
    def counted(self) -> bool:
        """Whether the reference takes the tensor's step count."""
        return self.reference.counted

    def state(self) -> tuple[str, ...]:
        """Names of the state that a step leaves behind."""
        return tuple(name for name in self.reference.states if name in self.returned)

    def initial(self, name: str) -> float:
        """What a state begins with when it does not exist yet; NaN where that is not known."""
        return self.reference.begins.get(name, UNKNOWN)

    def in_force(self) -> dict[str, Hyper]:
        """The hyper-parameters to compute with."""
        found = dict(self.hypers)
        for name, value in (("lr", self.lr), ("weight_decay", self.weight_decay)):
            if _is_number(found.get(name)):
                found[name] = value
        return found


def reference_settings(reference: Reference, group: Mapping[str, Hyper]) -> ReferenceSettings:
    """The settings of a step with the values that the group had at the call; see ``update-hyper-drift``."""
    numbers = {
        name: float(value)
        for name in ("lr", "weight_decay")
        if isinstance(value := group.get(name), (int, float)) and isfinite(value)
    }
    return ReferenceSettings(
        reference=reference,
        hypers=group,
        lr=numbers.get("lr", 0.0),
        weight_decay=numbers.get("weight_decay", 0.0),
    )


def _is_number(value: Hyper) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def count_of(settings: ReferenceSettings, sample: TensorSample) -> float:
    """The step count that the reference sees, 1 where it takes none. Raises EvidenceError without one.

    At the first step, a count that is not there yet begins with what the step leaves.
    """
    if not settings.counted:
        return 1.0
    count = sample.step_after if sample.step_before is None else sample.step_before + 1.0
    if "grad" not in sample.before:
        return 1.0 if count is None else count
    if count is None:
        raise EvidenceError("the reference takes step, and the optimizer keeps none for each tensor")
    if sample.step_before is None and any(name in sample.before for name in settings.reference.states):
        raise EvidenceError("the optimizer's own step count was not read")
    if not 1.0 <= count <= 2.0**53:
        raise EvidenceError("the optimizer's own step count is not a count")
    return count


def returned_of(settings: ReferenceSettings, count: float, sample: TensorSample) -> frozenset[str]:
    """What the reference gives at this step. Raises EvidenceError for a state that there is not.

    A state of another shape is not sampled, which looks alike: only one that was there, or that the reference
    lets begin with a number, is missed when it is gone.
    """
    nothing: dict[str, list[Number]] = {name: [] for name in settings.before}
    returned = frozenset(evaluate(settings.reference, settings.in_force(), count, nothing, SINGLE).values)
    if not returned:
        raise EvidenceError("the reference says nothing about this parameter group")
    for name in returned - {"param"}:
        known = name in sample.before or name in settings.reference.begins
        if "grad" in sample.before and name not in sample.after and not known:
            raise EvidenceError(
                f"the optimizer has no {name[:80]} as the reference does, or not in its parameter's shape"
            )
    return returned


def elements(
    settings: ReferenceSettings,
    count: float,
    before: Sequence[Values],
    positions: Sequence[int],
    precision: Precision,
) -> list[Pairs]:
    """The values of each position after the step and their bounds, in the order of ``settings.after``."""
    columns = {
        name: [_known(column[position], precision) for position in positions]
        for name, column in zip(settings.before, before, strict=True)
    }
    for grad in columns["grad"]:
        if settings.unscaled and isinstance(grad, Rounded):
            grad.error += 2.0 * precision.unit * abs(grad.value) + precision.floor
    if settings.grad_scale != 1.0:
        columns["grad"] = [grad * settings.grad_scale for grad in columns["grad"]]
    found = evaluate(settings.reference, settings.in_force(), count, columns, precision)
    result: list[Pairs] = []
    for place, position in enumerate(positions):
        pairs = [
            _pair(found.at(name, place), before[_place(settings, name)][position], precision)
            for name in settings.after
        ]
        if settings.step_scale != 1.0:
            (value, bound), was, scale = pairs[0], before[0][position], settings.step_scale
            pairs[0] = was + scale * (value - was), bound * max(1.0, abs(scale))
        result.append(tuple(pairs))
    return result


def _place(settings: ReferenceSettings, name: str) -> int:
    return settings.before.index(name)


def _known(value: float, precision: Precision) -> Number:
    """A value before the step; not determined where its square may leave the format, in whatever order."""
    usable = value * value < precision.largest / 8.0  # false for NaN
    return Rounded(value, 0.0, precision) if usable else Rounded(0.0, inf, precision)


def _pair(number: Number | None, was: float, precision: Precision) -> tuple[float, float]:
    if not isinstance(number, Rounded) or not number.error < inf:
        return (value_of(number) if number is not None else 0.0), inf
    value, unit = number.value, precision.unit
    # A decay by a factor is as wrong as its scalar, which may be a float32 tensor.
    apart = BEFORE * max(unit, SINGLE.unit) * (abs(was) if isfinite(was) else 0.0)
    bound = ORDERS * number.error + apart + unit * abs(value)
    if precision.weak:
        bound += unit * abs(value)
    if precision.largest < _NARROW_RANGE and isfinite(was):
        bound += abs(value - was)  # what another order makes of it on the way may leave float16's range
    return value, bound + precision.floor


def suspects(
    settings: ReferenceSettings,
    count: float,
    before: Sequence[Values],
    after: Mapping[str, Values],
    precision: Precision,
) -> list[int]:
    """Positions whose values after the step are not plainly right, by plain floats: fewer need a bound.

    Raises ArithmeticError or ValueError where the formula has no value for some element.
    """
    columns: dict[str, list[Number]] = {
        name: list(column) for name, column in zip(settings.before, before, strict=True)
    }
    found = evaluate(settings.reference, settings.in_force(), count, columns)
    unit = _SCREENED * precision.unit
    result = [] if "param" in settings.returned else list(range(len(before[0])))
    for name in settings.returned if not result else ():
        column, place = after.get(name), _place(settings, name)
        if column is None:
            continue
        for position, (was, seen) in enumerate(zip(before[place], column, strict=True)):
            value = value_of(found.at(name, position) or 0.0)
            if not abs(seen - value) <= unit * (BEFORE * abs(was) + abs(value)):
                result.append(position)
    return sorted(set(result))


def narrow_format(after: Mapping[str, Values]) -> Precision | None:
    """The format of the narrowest state, where all values of some state would fit into a narrow one.

    A program may keep its states in bfloat16 beside float32 weights; the record does not say so.
    """
    found: list[Precision] = []
    for name, column in after.items():
        values = [value for value in column if value and isfinite(value)]
        if name == "param" or len(values) < 2:
            continue
        for kind in ("float16", "bfloat16"):
            if all(_fits(value, kind) for value in values):
                found.append(PRECISIONS[kind])
                break
    return max(found, key=lambda one: one.unit, default=None)


def _fits(value: float, kind: str) -> bool:
    """Whether a float32 number has no more digits than the narrow format, in whose range it lies."""
    bits = int.from_bytes(array("f", [value]).tobytes(), sys.byteorder)
    if kind == "bfloat16":
        return not bits & 0xFFFF
    return not bits & 0x1FFF and 2.0**-24 <= abs(value) <= 65504.0
