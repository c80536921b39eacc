"""Adafactor on sampled elements, as far as they determine it.

Source: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018, in the form
that torch documents (relative step sizes, clipped updates, no momentum).

The second moments of a matrix are kept as means over rows and columns, and the step is scaled by the root
mean squares of the whole parameter and of the whole update. A few elements determine neither. So of a tensor
whose elements are all in the sample (32 of them, more where there are few tensors) everything is derived; of
a larger one only that

- each element moves by one common factor times ``g / sqrt(v)``, with the sign of the formula, ``v`` being
  derived (vectors) or taken from the row and column statistics that the step left (matrices);
- row and column statistics are at least what decay of the old ones and the sampled gradients give.

The common factor is read from the element that determines it best. A learning rate that is scaled for all
elements of a large tensor alike is not seen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, sqrt
from typing import ClassVar

from .adaptive import SINGLE, Adaptive, Numbers
from .rounding import Number, Precision, Rounded, at_least, known, larger, mix, root, value_of

_PARAM, _GRAD, _VARIANCE, _ROW, _COL, _NEW_ROW, _NEW_COL, _MEAN = range(8)
GIVEN = ">"
"""Begins the name of a value *after* the step that the formula takes as given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdafactorSettings(Adaptive):
    """One group of ``torch.optim.Adafactor``, for a tensor of ``rows`` by ``columns`` (0 for a vector).

    ``scale`` and ``scale_error`` are the common factor of all updates once it is known; see :func:`fitted`.
    """

    before: ClassVar[tuple[str, ...]] = (
        "param", "grad", "variance", "row_var", "col_var", ">row_var", ">col_var", ">row_mean",
    )  # fmt: skip
    after: ClassVar[tuple[str, ...]] = ("param", "variance", "row_var", "col_var")
    near: ClassVar[tuple[float, ...]] = (2.0, 6.0, 0.0, 0.0)

    beta2_decay: float
    eps1: float
    eps2: float
    threshold: float
    rows: int
    columns: int
    numel: int
    scale: float = 0.0
    scale_error: float = inf

    def state(self) -> tuple[str, ...]:
        """Names of the state that a step leaves behind."""
        return ("row_var", "col_var") if self.columns else ("variance",)

    def needed(self) -> tuple[str, ...]:
        """The statistics of a matrix, which the formula takes as given."""
        return ("row_var", "col_var", "row_mean") if self.columns else ()

    def derive(self, count: float, values: Numbers) -> tuple[Number, ...]:
        """The values after step ``count``, by the common factor in ``scale``."""
        param = values[_PARAM]
        update, variance, row, col = self.parts(count, values)
        factor: Number = self.scale * self.step_scale
        if isinstance(param, Rounded):
            factor = Rounded(self.scale * self.step_scale, self.scale_error, param.precision)
        return self.kept(param) - factor * update, variance, row, col

    def parts(self, count: float, values: Numbers) -> tuple[Number, Number, Number, Number]:
        """``g / sqrt(v)``, and the statistics after step ``count`` (matrices: the least that they can be)."""
        grad = self.gradient(values[_PARAM], values[_GRAD])
        weight = count**self.beta2_decay
        square = grad * grad
        if not self.columns:
            variance = mix(values[_VARIANCE], square, weight)
            return grad / root(at_least(variance, self.eps1 * self.eps1)), variance, 0.0, 0.0
        row = larger(mix(values[_ROW], square / float(self.columns), weight), values[_NEW_ROW])
        col = larger(mix(values[_COL], square / float(self.rows), weight), values[_NEW_COL])
        mean = at_least(known(grad, value_of(values[_MEAN]), _unit_of(grad)), self.eps1)
        variance = values[_NEW_ROW] * values[_NEW_COL] / mean
        return grad / root(at_least(variance, self.eps1 * self.eps1)), 0.0, row, col


def _unit_of(number: Number) -> float:
    return 2.0 * number.precision.unit if isinstance(number, Rounded) else 0.0


def fitted(
    settings: AdafactorSettings,
    count: float,
    elements: Sequence[Sequence[Number]],
    observed: Sequence[float],
    precision: Precision,
) -> AdafactorSettings:
    """``settings`` with the common factor: derived when all elements are there, else read from one of them.

    ``elements`` are the values before the step, per element; ``observed`` the parameters after it.
    """
    updates = [settings.parts(count, values)[0] for values in elements]
    if len(elements) == settings.numel:
        scale, error = _derived(settings, count, elements, updates, precision)
    else:
        scale, error = _read(settings, elements, updates, observed, precision)
    return replace(settings, scale=scale, scale_error=error)


def _derived(
    settings: AdafactorSettings,
    count: float,
    elements: Sequence[Sequence[Number]],
    updates: Sequence[Number],
    precision: Precision,
) -> tuple[float, float]:
    """The factor from the root mean squares of parameter and update, and its error.

    Sums of ``n`` squares carry at most ``n`` roundings in the format of the accumulation, which is float32
    or wider; a norm in a narrow format is then rounded to it.
    """
    size = float(len(elements))
    own = size * min(precision.unit, SINGLE) + 2.0 * precision.unit
    param_mean = sqrt(sum(value_of(values[_PARAM]) ** 2 for values in elements) / size)
    update_mean = sqrt(sum(value_of(update) ** 2 for update in updates) / size)
    update_error = max((update.error for update in updates if isinstance(update, Rounded)), default=0.0)
    rate = min(settings.lr, 1.0 / sqrt(count))
    clipped = max(1.0, update_mean / settings.threshold)
    scale = max(settings.eps2, param_mean) * rate / clipped
    relative = 2.0 * own + 4.0 * precision.unit
    if update_mean:
        relative += update_error / update_mean if clipped + update_error > 1.0 else 0.0
    return scale, abs(scale) * relative if isfinite(relative) else inf


def _read(
    settings: AdafactorSettings,
    elements: Sequence[Sequence[Number]],
    updates: Sequence[Number],
    observed: Sequence[float],
    precision: Precision,
) -> tuple[float, float]:
    """The factor from the element that determines it best; none below zero is accepted."""
    best = 0.0, inf
    for values, update, seen in zip(elements, updates, observed, strict=True):
        kept = settings.kept(values[_PARAM])
        if not isinstance(update, Rounded) or not isinstance(kept, Rounded) or not update.value:
            continue
        moved = kept - seen
        ratio = moved / update
        # What rounding the parameter after the step has hidden counts as well.
        error = ratio.error + (precision.unit * abs(seen) + precision.floor) / abs(update.value)
        if error < best[1]:
            best = ratio.value, error
    scale, error = best
    if scale < -error:
        return 0.0, 0.0
    return scale, error
