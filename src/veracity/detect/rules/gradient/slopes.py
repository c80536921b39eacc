"""What the trials of one check say: slopes of the loss against the gradient, each with its own error.

A trial moves one tensor by ``reach`` along a unit direction. With a = L(+reach) - L, b = L(-reach) - L and
c = L(+reach/2) - L the central difference is (a - b) / 2. A cubic through the four points gives c exactly, so
the residue c - (a - b) / 4 - (a + b) / 8 is -1/16 of the third-order term, and 8/3 of it the truncation error
of the central difference. Where the loss has kinks, or rounding is in the way, the residue grows with them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from statistics import median

from ....core.observation import GradientChecked, GradientTrial, LossChecked

GRADIENT = "gradient"
# How many errors apart, and by which share of what the gradient lets expect, a slope must be to differ.
ERRORS = 8.0
SHARES = {GRADIENT: 0.02, "random": 0.25}
# A loss function alone is shorter than a model, and its noise less.
LOSS_SHARES = {GRADIENT: 0.02, "random": 0.03}
ROUNDINGS = 4.0
# Beyond that an error leaves nothing to be seen.
BLUR = 0.5
FAINT = 64.0
ALIKE = 0.025
# What rounding may leave of gradients that cancel, of the size of these: some hundred units of float32.
ROUNDED = 1e-4
CERTAIN = 3.0
STEADY = 0.25


class Agreement(enum.Enum):
    """Whether a gradient is the slope of the loss along one direction."""

    AGREES = "agrees"
    DIFFERS = "differs"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Slope:
    """One trial per unit of length: the loss's slope, its error, and what the gradient says it is.

    ``expected`` is the size that the gradient's norm lets expect along such a direction, ``share`` that of it
    by which a slope may be off.
    """

    tensor: int
    direction: str
    slope: float
    error: float
    inner: float
    expected: float
    signal: float
    share: float

    def agreement(self, factor: float) -> Agreement:
        """Compare, when the gradient was multiplied by ``factor`` since the backward pass."""
        slope, error = self.slope * factor, self.error * abs(factor)
        if not all(map(isfinite, (slope, error, self.inner, self.expected, self.signal))):
            return Agreement.UNSEEN
        largest = max(abs(slope), self.expected)
        if self.signal < FAINT or ERRORS * error > BLUR * largest:
            return Agreement.UNSEEN
        allowed = ERRORS * error + self.share * self.expected
        return Agreement.AGREES if abs(slope - self.inner) <= allowed else Agreement.DIFFERS

    def persists_in(self, closer: Slope, factor: float) -> bool:
        """Whether a difference is still there at a smaller reach; what bends or kinks make of it shrinks."""
        apart, still = (one.slope * factor - one.inner for one in (self, closer))
        certain = abs(still) > CERTAIN * closer.error * abs(factor)
        return certain and apart * still > 0 and abs(still) >= abs(apart) / 2

    @property
    def ratio(self) -> float:
        """The gradient as a multiple of the slope; 0 where the loss does not change."""
        return self.inner / self.slope if self.slope else 0.0

    @property
    def ratios(self) -> tuple[float, float] | None:
        """Least and largest multiple of the slope that the gradient can be; None when that is anything."""
        if not all(map(isfinite, (self.slope, self.error, self.inner))):
            return None
        margin = ERRORS * self.error + ALIKE * abs(self.slope)
        if margin > BLUR * abs(self.slope) or not self.slope:
            return None
        ends = self.inner / (self.slope - margin), self.inner / (self.slope + margin)
        return min(ends), max(ends)


@dataclass(frozen=True, slots=True)
class Check:
    """One step's check of one optimizer, over all ranks that made it.

    ``first`` is the trial that was drawn, ``closer`` the same with a smaller reach, ``others`` further
    tensors along their gradients. ``lone``: there is no other tensor that could be tried. ``through``: what
    of ``surrogates`` all of the first tensor's gradient passed. ``held`` is ``first`` with all that the
    forward pass takes out of the graph held constant.
    """

    step: int
    ranks: int
    factor: float
    first: Slope
    closer: Slope | None
    others: tuple[Slope, ...]
    surrogates: tuple[str, ...]
    through: tuple[str, ...]
    lone: bool
    held: Slope | None = None

    @property
    def is_rounding(self) -> bool:
        """Whether the loss does not change, and the gradient is what rounding leaves of larger ones.

        So it is with a bias before a normalisation: its derivative is zero, and its gradient a sum of terms
        as large as other tensors' gradients.
        """
        largest = max((one.expected for one in self.others), default=0.0)
        still = abs(self.first.slope) <= ERRORS * self.first.error
        return still and max(abs(self.first.inner), self.first.expected) <= ROUNDED * largest


def merged(records: Sequence[GradientChecked], numels: Mapping[int, int]) -> Check | None:
    """The check that all ``records`` of one step describe; None when they have no trial in common.

    Losses of data-parallel ranks are averaged, as their gradients are, so slopes are too.
    """
    lists = [_keyed(record, numels) for record in records]
    common = [key for key in lists[0] if all(key in other for other in lists)]
    if not common:
        return None
    means = {key: _mean([other[key] for other in lists]) for key in common}
    tensor, direction, _ = common[0]
    again = (tensor, direction, 1)
    held = [_slopes(record.held, record, numels, 0.0).get((tensor, direction, 0)) for record in records]
    constant = [one for one in held if one is not None]
    places = dict.fromkeys(place for record in records for place in record.surrogates)
    return Check(
        records[0].step,
        len(records),
        records[0].clip,
        means[common[0]],
        means.get(again),
        tuple(means[key] for key in common[1:] if key != again and key[0] != tensor),
        tuple(places),
        tuple(place for place in records[0].through if all(place in record.through for record in records)),
        records[0].tensors == 1,
        _mean(constant) if len(constant) == len(records) else None,
    )


@dataclass(frozen=True, slots=True)
class Series:
    """One direction at several reaches, the largest first."""

    slopes: tuple[Slope, ...]

    def agreement(self) -> Agreement:
        """Whether the gradient is the slope; it differs only if it does so by the same at each reach.

        Kinks that a displacement crosses make of it another thing at each reach.
        """
        first, closer = self.slopes[0], self.slopes[1:]
        found = first.agreement(1.0)
        if found is not Agreement.DIFFERS:
            return found
        steady = bool(closer) and all(_as_far_apart(first, one) for one in closer)
        return found if steady else Agreement.UNSEEN


def _as_far_apart(first: Slope, closer: Slope) -> bool:
    apart, still = first.slope - first.inner, closer.slope - closer.inner
    margin = STEADY * abs(apart) + CERTAIN * (first.error + closer.error)
    return first.persists_in(closer, 1.0) and abs(still - apart) <= margin


def of_loss(record: LossChecked) -> tuple[Series, Series] | None:
    """The trials of one check of a protected loss: as they are, and with what it cuts off held constant.

    None when there is none; the second may be empty.
    """
    numels = {record.input: record.numel}
    both = [
        Series(tuple(_slopes(trials, record, numels, 0.0).values()))
        for trials in (record.trials, record.held)
    ]
    return (both[0], both[1]) if both[0].slopes else None


def _keyed(record: GradientChecked, numels: Mapping[int, int]) -> dict[tuple[int, str, int], Slope]:
    """A record's slopes by tensor, direction and how often that pair came before."""
    # One residue can be small by chance; what noise there is, all evaluations of a step have in common.
    usual = median(trial.error for trial in record.trials) if len(record.trials) > 2 else 0.0
    return _slopes(record.trials, record, numels, usual)


def _slopes(
    trials: Sequence[GradientTrial],
    record: GradientChecked | LossChecked,
    numels: Mapping[int, int],
    usual: float,
) -> dict[tuple[int, str, int], Slope]:
    found: dict[tuple[int, str, int], Slope] = {}
    shares = LOSS_SHARES if isinstance(record, LossChecked) else SHARES
    for trial in trials:
        numel = numels.get(trial.tensor, 0)
        if numel < 1 or trial.direction not in SHARES or not 0 < trial.reach < inf:
            continue
        times = 0
        while (trial.tensor, trial.direction, times) in found:
            times += 1
        found[trial.tensor, trial.direction, times] = _slope(trial, numel, record.rounding, usual, shares)
    return found


def _slope(
    trial: GradientTrial, numel: int, rounding: float, usual: float, shares: Mapping[str, float]
) -> Slope:
    steep = trial.norm if trial.direction == GRADIENT else trial.norm / numel**0.5
    error = max(trial.error, usual) + ROUNDINGS * rounding
    largest = max(abs(trial.slope), steep * trial.reach)
    return Slope(
        trial.tensor,
        trial.direction,
        trial.slope / trial.reach,
        error / trial.reach,
        trial.inner / trial.reach,
        steep,
        largest / rounding if rounding > 0 else 0.0,
        shares[trial.direction],
    )


def _mean(slopes: Sequence[Slope]) -> Slope:
    count = len(slopes)

    def mean(values: Iterable[float]) -> float:
        return sum(values) / count

    first = slopes[0]
    return Slope(
        first.tensor,
        first.direction,
        mean(one.slope for one in slopes),
        mean(one.error for one in slopes),
        mean(one.inner for one in slopes),
        mean(one.expected for one in slopes),
        mean(one.signal for one in slopes),
        first.share,
    )


def telling(slopes: Iterable[Slope]) -> list[Slope]:
    """Those along a gradient whose ratio to the slope is known."""
    return [one for one in slopes if one.direction == GRADIENT and one.ratios is not None]


def common_ratio(slopes: Sequence[Slope]) -> float | None:
    """The one multiple of the slopes that all these gradients can be; None when there is none."""
    ranges = [one.ratios for one in slopes if one.ratios is not None]
    low = max((least for least, _ in ranges), default=0.0)
    high = min((most for _, most in ranges), default=0.0)
    usual = median(one.ratio for one in slopes) if slopes else 0.0
    return min(max(usual, low), high) if ranges and low <= high else None
