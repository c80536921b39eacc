"""One tensor's sampled elements around one step, compared with the formula.

Four questions, each a *kind*: did the values move as the formula says (``arithmetic``), did the tensor's own
step count advance by one (``count``), is the state there that the formula keeps (``state``), and did a tensor
without a gradient stay as it was, bit for bit (``untouched``)?
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite

from ....core.errors import EvidenceError
from ....core.sample import TensorSample, Values
from .adaptive import Adaptive
from .factored import GIVEN, AdafactorSettings, fitted
from .formulas import AdamSettings, Pairs, SgdSettings, adam_element, sgd_element
from .reference.sampled import ReferenceSettings, count_of, elements, narrow_format, returned_of, suspects
from .rounding import PRECISIONS, Number, Precision, Rounded
from .screening import adam_suspects, adaptive_suspects, sgd_suspects
from .settings import Settings

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
    before: list[Values]
    after: dict[str, Values]
    checked: int = 0
    skipped: int = 0
    deviations: list[Deviation] = field(default_factory=list)
    fits: dict[AdafactorSettings, AdafactorSettings] = field(default_factory=dict)
    dtype: str = ""

    @property
    def narrowed(self) -> bool:
        """Whether it is judged by the format of a state, which is narrower than the parameter's."""
        return self.precision.weak and not PRECISIONS.get(self.dtype, self.precision).weak

    @property
    def partial(self) -> bool:
        """Whether the sample determines the step only up to a factor."""
        settings = self.settings
        return isinstance(settings, AdafactorSettings) and self.sample.count < settings.numel

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the values after a step, in the order in which the formula gives them."""
        return self.settings.after


def prepare(sample: TensorSample, settings: Settings, dtype: str, scale: float = 1.0) -> Case:
    """The case of ``sample``, whose gradient is divided by ``scale`` within the step.

    Raises EvidenceError with the reason when it cannot be judged.
    """
    precision = PRECISIONS.get(dtype)
    if precision is None:
        raise EvidenceError(f"parameters of type {dtype} are not checked")
    before, after = sample.before, sample.after
    if "param" not in before or "param" not in after:
        raise EvidenceError("the parameter's own values were not sampled")
    if dtype == "float64" and (after["param"].typecode == "f" or _float32_scalars(settings)):
        # The record itself was rounded, or what it is compared with was computed with float32 scalars.
        precision = replace(precision, unit=PRECISIONS["float32"].unit)
    if isinstance(settings, ReferenceSettings):
        count = count_of(settings, sample)
        settings = replace(settings, returned=returned_of(settings, count, sample))
    else:
        count = _count(sample, settings)
    state = settings.state()
    if isinstance(settings, Adaptive) and "grad" in before:
        for name in settings.needed():
            if name not in after:
                raise EvidenceError(f"the optimizer's {name} was not read")
    columns = [_column(sample, settings, name) for name in settings.before]
    if scale != 1.0:
        columns[1] = array("d", [value / scale for value in columns[1]])
        settings = replace(settings, unscaled=True)
    seen = ("param", *state)
    return Case(
        sample,
        settings,
        count,
        precision,
        columns,
        {name: after[name] for name in seen if name in after},
        dtype=dtype,
    )


def _count(sample: TensorSample, settings: AdamSettings | SgdSettings | Adaptive) -> float:
    """The number of the step, from 1; of those that do not count, 1 or more."""
    before, state = sample.before, settings.state()
    if settings.counted:
        kept = any(name in before for name in state)
        if sample.step_before is None and kept:
            raise EvidenceError("the optimizer's own step count was not read")
        if sample.step_before and not kept:
            raise EvidenceError("the optimizer's state was not read")
        count = (sample.step_before or 0.0) + 1.0
        if "grad" in before and not 1.0 <= count <= 2.0**53:
            raise EvidenceError("the optimizer's own step count is not a count")
        return count
    return 2.0 if state and state[0] in before else 1.0


def _column(sample: TensorSample, settings: Settings, name: str) -> Values:
    """The values that the formula takes under ``name``; what does not exist yet as it will begin."""
    if name.startswith(GIVEN):
        found = sample.after.get(name[len(GIVEN) :])
    else:
        found = sample.before.get(name)
    return array("d", [settings.initial(name)]) * sample.count if found is None else found


def _float32_scalars(settings: Settings) -> bool:
    """Whether scalars may have been float32 tensors: by flags, or as a rate such as ``torch.tensor(1e-3)``.

    A rate that float32 can hold may as well be a Python number; the check is then less sharp than it could.
    """
    if isinstance(settings, ReferenceSettings):
        return False  # its errors allow for that by themselves
    single = settings.single if isinstance(settings, Adaptive) else False
    return single or array("f", [min(max(settings.lr, -3e38), 3e38)])[0] == settings.lr


def judge(case: Case, *, skipped: bool = False) -> Case:
    """Fill ``checked``, ``skipped`` and ``deviations`` of ``case``; ``skipped``: the step changes nothing."""
    sample = case.sample
    if skipped or "grad" not in sample.before:
        _judge_untouched(case)
        if case.deviations and not skipped and isinstance(case.settings, ReferenceSettings):
            _judge_without_gradient(case)
        return case
    if case.settings.counted:
        before, after = sample.step_before or 0.0, sample.step_after
        # Where a class that is not torch's begins to count is its own matter.
        begins = isinstance(case.settings, ReferenceSettings) and sample.step_before is None
        if after is not None and before < _LARGEST_COUNT and after != before + 1.0 and not begins:
            case.deviations.append(Deviation(COUNT, "step", 0, before + 1.0, after, 0.0))
    for name in case.settings.state():
        if name not in case.after:
            case.deviations.append(Deviation(STATE, name, 0, 0.0, 0.0, 0.0))
    _judge_values(case)
    if case.deviations and isinstance(case.settings, ReferenceSettings):
        narrow = narrow_format(sample.after)
        if narrow is not None and narrow.unit > case.precision.unit:
            case.precision = narrow
            case.deviations = [item for item in case.deviations if item.kind != ARITHMETIC]
            _judge_values(case)
    return case


def _judge_values(case: Case) -> None:
    passed_over = 0
    positions = _suspects(case)
    for position, pairs in zip(positions, _expected(case, positions), strict=True):
        found = judge_element(case, position, pairs)
        if found is None:
            passed_over += 1
        else:
            case.deviations += found
    case.skipped = passed_over
    case.checked = case.sample.count - passed_over


def _judge_without_gradient(case: Case) -> None:
    """A class may take a missing gradient for zeros, which its reference then allows as well."""
    zeros = array("d", [0.0]) * case.sample.count
    before = {**case.sample.before, "grad": zeros}
    try:
        other = prepare(replace(case.sample, before=before), case.settings, case.dtype)
    except EvidenceError:
        return
    if not judge(other).deviations and other.checked:
        case.checked, case.skipped, case.deviations = other.checked, other.skipped, []


def _expected(case: Case, positions: Sequence[int]) -> Iterable[Pairs]:
    """What each of these elements should be; a reference is interpreted once for all of them."""
    if isinstance(case.settings, ReferenceSettings):
        return _referred(case.settings, case, positions) if positions else ()
    return (expected_element(case.settings, case, position) for position in positions)


def expected_element(settings: Settings, case: Case, position: int) -> Pairs:
    """What ``settings`` make of one element; all bounds inf when a value is not finite or overflows."""
    if isinstance(settings, ReferenceSettings):
        return _referred(settings, case, [position])[0]
    values = [column[position] for column in case.before]
    grad = values[1]
    if not all(map(isfinite, values)) or grad * grad > case.precision.largest / 8.0:
        return ((0.0, inf),) * 4
    try:
        if isinstance(settings, AdamSettings):
            return adam_element(settings, case.count, values, case.precision)
        if isinstance(settings, SgdSettings):
            return sgd_element(settings, case.count, values, case.precision)
        return _adaptive_element(settings, case, position)
    except (ArithmeticError, ValueError):
        return ((0.0, inf),) * 4  # the formula has no value here: a division by zero, an overflow


def _referred(settings: ReferenceSettings, case: Case, positions: Sequence[int]) -> list[Pairs]:
    try:
        return elements(settings, case.count, case.before, positions, case.precision)
    except (ArithmeticError, ValueError, EvidenceError):
        return [((0.0, inf),) * len(case.fields)] * len(positions)


def _adaptive_element(settings: Adaptive, case: Case, position: int) -> Pairs:
    values = _rounded(settings, case, position)
    return tuple(
        (number.value, number.error) if isinstance(number, Rounded) else (number, 0.0)
        for number in _fit(settings, case).derive(case.count, values)
    )


def _rounded(settings: Adaptive, case: Case, position: int) -> list[Number]:
    """The values before the step; exact, but for a gradient that was divided by a loss scale."""
    precision = case.precision
    values = [Rounded(column[position], 0.0, precision) for column in case.before]
    if settings.unscaled:
        values[1].error = 2.0 * precision.unit * abs(values[1].value) + precision.floor
    return list(values)


def _fit(settings: Adaptive, case: Case) -> Adaptive:
    """Adafactor's settings with the factor that this tensor's updates have in common, worked out once."""
    if not isinstance(settings, AdafactorSettings):
        return settings
    if settings not in case.fits:
        elements = [_rounded(settings, case, position) for position in range(case.sample.count)]
        case.fits[settings] = fitted(settings, case.count, elements, case.after["param"], case.precision)
    return case.fits[settings]


def moves(case: Case) -> bool:
    """Whether any of the sampled weights was moved."""
    return case.after["param"].tobytes() != case.sample.before["param"].tobytes()


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
    names = ("param", *settings.state())
    everything = range(case.sample.count)
    if len(after) != len(names):
        return everything
    seen = [after[name] for name in names]
    try:
        if isinstance(settings, AdamSettings):
            return adam_suspects(settings, case.count, case.before, seen, case.precision)
        if isinstance(settings, SgdSettings):
            return sgd_suspects(settings, case.count, case.before, seen, case.precision)
        if isinstance(settings, ReferenceSettings):
            return suspects(settings, case.count, case.before, after, case.precision)
        return adaptive_suspects(_fit(settings, case), case.count, case.before, after, case.precision)
    except (ArithmeticError, ValueError):
        return everything  # the formula has no value for some element: look at each by itself


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
