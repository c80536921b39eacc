"""One tensor's sampled elements around one step, compared with the formula.

Four questions, each a *kind*: did the values move as the formula says (``arithmetic``), did the tensor's own
step count advance by one (``count``), is the state there that the formula keeps (``state``), and did a tensor
without a gradient stay as it was, bit for bit (``untouched``)?
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite

from ....core.errors import EvidenceError
from ....core.sample import TensorSample
from .formulas import (
    ADAM_AFTER,
    ADAM_BEFORE,
    PRECISIONS,
    SGD_AFTER,
    SGD_BEFORE,
    AdamSettings,
    Pairs,
    Precision,
    Settings,
    adam_element,
    sgd_element,
)
from .screening import adam_suspects, sgd_suspects

ARITHMETIC, COUNT, STATE, UNTOUCHED = "arithmetic", "count", "state", "untouched"

# Above this a float32 step count no longer changes when one is added.
_LARGEST_COUNT = 2.0**24

# One element alone breaks a step only when it lies this many bounds away: a bound that is missed by a hair on
# one element of thousands is a defect of the bound.
ONE_ELEMENT_RATIO = 8.0


@dataclass(frozen=True, slots=True)
class Deviation:
    """One value after the step that the law does not allow. ``ratio`` is its distance in rounding bounds."""

    kind: str
    name: str
    position: int
    expected: float
    observed: float
    bound: float

    @property
    def ratio(self) -> float:
        """Distance over bound; inf for a value that is not a number or allowed no distance at all."""
        apart = abs(self.observed - self.expected)
        return apart / self.bound if isfinite(apart) and self.bound else inf


@dataclass(slots=True)
class Case:
    """A tensor's sample with the settings, step count and number format it is judged by."""

    sample: TensorSample
    settings: Settings
    count: float
    precision: Precision
    before: list[array[float]]
    after: dict[str, array[float]]
    checked: int = 0
    skipped: int = 0
    deviations: list[Deviation] = field(default_factory=list)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the values after a step, in the order in which the formula gives them."""
        return ADAM_AFTER if isinstance(self.settings, AdamSettings) else SGD_AFTER


def prepare(sample: TensorSample, settings: Settings, dtype: str) -> Case:
    """The case of ``sample``; raises EvidenceError with the reason when it cannot be judged."""
    precision = PRECISIONS.get(dtype)
    if precision is None:
        raise EvidenceError(f"parameters of type {dtype} are not checked")
    before, after = sample.before, sample.after
    if "param" not in before or "param" not in after:
        raise EvidenceError("the parameter's own values were not sampled")
    if after["param"].typecode == "f" and dtype == "float64":
        precision = PRECISIONS["float32"]  # the record itself was rounded
    names: tuple[str, ...] = SGD_BEFORE
    seen: tuple[str, ...] = SGD_AFTER
    momentum_state = "momentum_buffer"
    count = 1.0 if momentum_state not in before else 2.0
    if isinstance(settings, AdamSettings):
        names, seen = ADAM_BEFORE, ADAM_AFTER
        if not settings.amsgrad:
            seen = ADAM_AFTER[:3]
        if sample.step_before is None and "exp_avg" in before:
            raise EvidenceError("the optimizer's own step count was not read")
        if sample.step_before and "exp_avg" not in before:
            raise EvidenceError("the optimizer's state was not read")
        count = (sample.step_before or 0.0) + 1.0
        if "grad" in before and not 1.0 <= count <= 2.0**53:
            raise EvidenceError("the optimizer's own step count is not a count")
    zeros = array("d", bytes(8 * sample.count))
    columns = [before.get(name, zeros) for name in names]
    return Case(
        sample, settings, count, precision, columns, {name: after[name] for name in seen if name in after}
    )


def judge(case: Case) -> Case:
    """Fill ``checked``, ``skipped`` and ``deviations`` of ``case``."""
    sample = case.sample
    if "grad" not in sample.before:
        _judge_untouched(case)
        return case
    if isinstance(case.settings, AdamSettings):
        before, after = sample.step_before or 0.0, sample.step_after
        if after is not None and before < _LARGEST_COUNT and after != before + 1.0:
            case.deviations.append(Deviation(COUNT, "step", 0, before + 1.0, after, 0.0))
    for name in _state_of(case.settings):
        if name not in case.after:
            case.deviations.append(Deviation(STATE, name, 0, 0.0, 0.0, 0.0))
    passed_over = 0
    for position in _suspects(case):
        found = judge_element(case, position, expected_element(case.settings, case, position))
        if found is None:
            passed_over += 1
        else:
            case.deviations += found
    case.skipped = passed_over
    case.checked = sample.count - passed_over
    return case


def _state_of(settings: Settings) -> tuple[str, ...]:
    """Names of the state that a step of these settings leaves behind."""
    if isinstance(settings, AdamSettings):
        return ADAM_AFTER[1:] if settings.amsgrad else ADAM_AFTER[1:3]
    return SGD_AFTER[1:] if settings.momentum else ()


def expected_element(settings: Settings, case: Case, position: int) -> Pairs:
    """What ``settings`` make of one element; all bounds inf when a value is not finite or overflows."""
    values = [column[position] for column in case.before]
    grad = values[1]
    if not all(map(isfinite, values)) or grad * grad > case.precision.largest / 8.0:
        return ((0.0, inf),) * 4
    try:
        if isinstance(settings, AdamSettings):
            return adam_element(settings, case.count, values, case.precision)
        return sgd_element(settings, case.count, values, case.precision)
    except (ArithmeticError, ValueError):
        return ((0.0, inf),) * 4  # the formula has no value here: a division by zero, an overflow


def judge_element(case: Case, position: int, pairs: Pairs) -> list[Deviation] | None:
    """Deviations of one element, None when its parameter cannot be checked."""
    largest = case.precision.largest / 2.0
    found: list[Deviation] = []
    for name, (expected, bound) in zip(case.fields, pairs, strict=False):
        column = case.after.get(name)
        if column is None or bound == inf or not abs(expected) < largest:
            continue
        observed = column[position]
        if not abs(observed - expected) <= bound:
            found.append(Deviation(ARITHMETIC, name, position, expected, observed, bound))
    if not found and pairs[0][1] == inf:
        return None
    return found


def broken_kinds(cases: list[Case]) -> dict[str, list[Case]]:
    """Kinds of deviation by which the step counts as broken, with the tensors concerned."""
    broken: dict[str, list[Case]] = {}
    for kind in (ARITHMETIC, COUNT, STATE, UNTOUCHED):
        items = [(case, item) for case in cases for item in case.deviations if item.kind == kind]
        elements = {(id(case), item.position) for case, item in items}
        if items and (
            kind != ARITHMETIC
            or len(elements) >= 2
            or max(item.ratio for _, item in items) > ONE_ELEMENT_RATIO
        ):
            broken[kind] = [case for case in cases if any(item.kind == kind for item in case.deviations)]
    return broken


def _suspects(case: Case) -> Sequence[int]:
    settings, after = case.settings, case.after
    everything = range(case.sample.count)
    try:
        if isinstance(settings, AdamSettings):
            names = ADAM_AFTER if settings.amsgrad else ADAM_AFTER[:3]
            if len(after) == len(names):
                seen = [after[name] for name in names]
                return adam_suspects(settings, case.count, case.before, seen, case.precision)
        elif "momentum_buffer" in after or not settings.momentum:
            seen = [after[name] for name in SGD_AFTER if name in after]
            return sgd_suspects(settings, case.count, case.before, seen, case.precision)
    except (ArithmeticError, ValueError):
        return everything  # the formula has no value for some element: look at each by itself
    return everything


def _judge_untouched(case: Case) -> None:
    """Nothing that was there before may differ in a single bit."""
    sample = case.sample
    case.checked = sample.count
    for name, was in sample.before.items():
        now = sample.after.get(name)
        if now is None or now.tobytes() == was.tobytes():
            continue
        size = was.itemsize
        old, new = was.tobytes(), now.tobytes()
        for position in range(sample.count):
            here = slice(position * size, (position + 1) * size)
            if old[here] != new[here]:
                case.deviations.append(
                    Deviation(UNTOUCHED, name, position, was[position], now[position], 0.0)
                )
    before, after = sample.step_before, sample.step_after
    if before is not None and after is not None and before != after:
        case.deviations.append(Deviation(UNTOUCHED, "step", 0, before, after, 0.0))
